"""Opens the window of examples/captions.py and prints what it shows, for test_examples_system.py.

A line of JSON each: when the first array of samples has been heard, when the second has, after a
long day, and when it is closed.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ds2edge import Transcriber

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from captions import Captions

BLOCK = 1600


def print_shown(window: Captions) -> None:
    text = window.text
    last = text.dlineinfo("end-1c")  # None where it is not in sight
    shown: dict[str, Any] = {
        "text": text.get("1.0", "end-1c"),
        "partial": [text.get(*text.tag_ranges("partial")) if text.tag_ranges("partial") else ""],
        "colours": [text.cget("foreground"), text.tag_cget("partial", "foreground")],
        "status": window.status.cget("text"),
        "viewable": bool(window.winfo_viewable()),
        "last_line_in_sight": bool(last) and last[1] + last[3] <= text.winfo_height(),
    }
    print(json.dumps(shown), flush=True)


def main() -> None:
    speech, rate = [np.load(sys.argv[1]), np.load(sys.argv[2])], float(sys.argv[3])
    heard, go_on = threading.Semaphore(0), threading.Event()

    def blocks() -> Iterator[np.ndarray[Any, Any]]:
        for samples in speech:
            for start in range(0, len(samples), BLOCK):
                yield samples[start : start + BLOCK]
            heard.release()  # all that was said until now is in the queue
            go_on.wait(60)
        while True:  # as a microphone
            time.sleep(0.02)
            yield np.zeros(round(0.02 * rate), np.float32)

    window = Captions(Transcriber(), blocks(), rate, "Desk")

    def show_what_was_heard() -> None:
        while not heard.acquire(blocking=False):
            window.update()
        while not window.news.empty():
            window.update()
        print_shown(window)

    show_what_was_heard()
    go_on.set()
    show_what_was_heard()
    for number in range(1000):
        window.show(f"{number} and more", final=True)
    window.update()
    print_shown(window)
    window.tk.call(window.protocol("WM_DELETE_WINDOW"))  # as a click on its cross does
    window.mainloop()  # returns when the window is closed
    print(json.dumps({"still_listening": window.worker.is_alive()}))


if __name__ == "__main__":
    main()
