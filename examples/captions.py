"""Live captions in a small window that stays above all others; what may still change is dim.

A thread listens and transcribes. What it hears passes through a queue to Tk's thread, which looks
into it 20 times a second.

sudo apt-get install python3-tk
python examples/captions.py                                       the microphone (ds2edge[mic])
python examples/captions.py tests/data/speech/LJ001-0011.opus     a recording, as it was spoken
"""

import argparse
import itertools
import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator

import numpy as np

from ds2edge import Ds2edgeError, Final, Microphone, Partial, Transcriber
from ds2edge.audio_file import AudioFile, open_audio

try:
    import tkinter as tk
    from tkinter.font import nametofont
except ImportError:
    raise SystemExit("captions: needs Tk; on Debian: sudo apt-get install python3-tk") from None

NIGHT, DIM, BRIGHT, RED = "#14171c", "#8b95a5", "#ffffff", "#ff7b72"


class Captions(tk.Tk):
    """A window with what is said in `blocks` of samples, that come from a device called `name`."""

    def __init__(
        self, transcriber: Transcriber, blocks: Iterable[np.ndarray], rate: float, name: str
    ) -> None:
        super().__init__()
        self.make_widgets(name)
        self.news: queue.SimpleQueue[Partial | Final | Ds2edgeError] = queue.SimpleQueue()
        self.closing = threading.Event()  # set by whoever wants the window to close
        self.protocol("WM_DELETE_WINDOW", self.closing.set)
        arguments = (transcriber, blocks, rate)
        self.worker = threading.Thread(target=self.listen, args=arguments, daemon=True)
        self.worker.start()
        self.look()

    def make_widgets(self, name: str) -> None:
        self.title("ds2edge captions")
        self.attributes("-topmost", True)
        self.configure(background=NIGHT, padx=20, pady=10)
        font = nametofont("TkDefaultFont", self).actual("family")  # one that there is
        self.text = tk.Text(self, width=58, height=3, wrap="word", font=(font, 20), cursor="arrow")
        self.text.configure(background=NIGHT, foreground=BRIGHT, borderwidth=0, spacing1=4)
        self.text.configure(highlightthickness=0, state="disabled")
        self.text.tag_configure("partial", foreground=DIM)
        self.text.mark_set("open", "1.0")  # where the segment begins that may still change
        self.text.mark_gravity("open", "left")
        self.text.pack(fill="both", expand=True)
        self.status = tk.Label(self, text=name, font=(font, 10), background=NIGHT, foreground=DIM)
        self.status.pack(anchor="w", pady=(6, 0))
        self.update_idletasks()  # so that its width is known
        self.geometry(f"+{(self.winfo_screenwidth() - self.winfo_reqwidth()) // 2}-60")

    def listen(self, transcriber: Transcriber, blocks: Iterable, rate: float) -> None:
        """In a thread of its own, which never touches the window."""
        heard = itertools.takewhile(lambda _: not self.closing.is_set(), blocks)
        try:
            for event in transcriber.events(heard, rate):
                self.news.put(event)
        except Ds2edgeError as error:  # the microphone was unplugged
            self.news.put(error)

    def look(self) -> None:
        """Show what is new; close when the thread has ended."""
        if self.closing.is_set() and not self.worker.is_alive():
            return self.destroy()
        while not self.news.empty():
            news = self.news.get()
            if isinstance(news, Ds2edgeError):
                self.status.configure(text=str(news), foreground=RED)
            else:
                self.show(news.display, isinstance(news, Final))
        self.after(50, self.look)

    def show(self, text: str, final: bool) -> None:
        """Put it in the place of the text that may still change."""
        self.text.configure(state="normal")
        self.text.delete("open", "end-1c")
        above = "\n" if text and self.text.get("1.0", "open") else ""
        self.text.insert("open", above + text, () if final else "partial")
        if final:
            self.text.mark_set("open", "end-1c")
            self.text.delete("1.0", "end-100l")  # or a long day would fill the memory
        self.text.configure(state="disabled")
        self.text.see("end")


def as_spoken(file: AudioFile, fast: bool) -> Iterator[np.ndarray]:
    start, seconds = time.monotonic(), 0.0
    for block in file.blocks(0.1):
        seconds += len(block) / file.sample_rate
        time.sleep(0 if fast else max(0.0, start + seconds - time.monotonic()))
        yield block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", nargs="?", help="[the microphone]")
    parser.add_argument("--fast", action="store_true", help="the recording as fast as possible")
    arguments = parser.parse_args()

    path, transcriber = arguments.recording, Transcriber()
    with open_audio(path) if path else Microphone() as source:
        blocks = as_spoken(source, arguments.fast) if path else source
        window = Captions(transcriber, blocks, source.sample_rate, path or source.device_name)
        signal.signal(signal.SIGINT, lambda *_: window.closing.set())
        window.mainloop()


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, tk.TclError) as error:  # TclError: there is no screen
        raise SystemExit(f"captions: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
