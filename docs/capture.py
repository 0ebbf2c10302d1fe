"""Captures of the commands as a terminal shows them, written to docs/images/ as SVG.

    sudo apt-get install tmux pulseaudio pulseaudio-utils libasound2-plugins libportaudio2
    sudo apt-get install chromium chromium-driver
    .venv/test/bin/python docs/capture.py [NAME...]

Nothing is staged: each command runs in a terminal of tmux, and what that shows is drawn; the
server's page is seen in a browser, as PNG. What is spoken into the microphone are recordings of
tests/data/speech. Without a NAME all are made: transcribe, progress, train, mic, serve; and, of the
bundle and the held-out sentences of training/mandarin.mk in build/mandarin, mandarin and
mandarin-serve, for which the browser needs a font (fonts-wqy-zenhei).
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from html import unescape
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from browser import browser, speak_into
from served import served
from sound_server import RATE, sound_server, until

from ds2edge import Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.training.data.manifest import read_manifest

ROOT = Path(__file__).parent.parent
SPEECH = ROOT / "tests" / "data" / "speech"
IMAGES = ROOT / "docs" / "images"
MANDARIN = ROOT / "build" / "mandarin"
WIDTH = 84  # characters
SPOKEN = ("LJ001-0011.opus", "2902-9008-0016.mp3", "84-121123-0028.mp3")


def transcribe() -> None:
    """Text, words, subtitles."""
    with Terminal(26, SPEECH) as terminal:
        for flag in ("", "--words ", "--srt "):
            terminal.run(f"ds2edge transcribe {flag}LJ001-0011.opus")
        terminal.draw("transcribe")


def progress() -> None:
    """The bar, while a folder is worked off."""
    with tempfile.TemporaryDirectory() as folder:
        lectures = Path(folder) / "lectures"
        lectures.mkdir()
        speech = np.concatenate([read_audio(SPEECH / name, 16_000) for name in SPOKEN])
        for number in (1, 2, 3):
            soundfile.write(lectures / f"lecture-{number}.flac", np.tile(speech, 20), 16_000)
        with Terminal(3, Path(folder)) as terminal:
            terminal.type("ds2edge transcribe --vtt --output subtitles lectures")
            until(lambda: re.search(r"[4-6]\d%", terminal.shown()) is not None, seconds=300)
            terminal.draw("progress")


def train() -> None:
    """A first run, while it learns."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DS2EDGE_CACHE": folder}
        with Terminal(12, ROOT, environment) as terminal:
            terminal.type("ds2edge train training/configs/tiny.toml")
            shown = r"epoch 4 of 10 .* 1\d/20"
            until(lambda: re.search(shown, terminal.shown()) is not None, seconds=300)
            terminal.draw("train")


def mic() -> None:
    """Finals that scroll, and a partial in the last line."""
    with sound_server() as server, tempfile.TemporaryDirectory() as folder:
        gap = np.zeros(RATE, np.float32)
        pieces = [piece for name in SPOKEN for piece in (read_audio(SPEECH / name, RATE), gap)]
        wave = Path(folder) / "spoken.wav"
        soundfile.write(wave, np.concatenate(pieces), RATE)
        with Terminal(5, Path(folder), server.environment) as terminal:
            terminal.type("ds2edge mic --display")
            server.wait_for_recorder()
            speaker = threading.Thread(target=server.play, args=(wave,))
            speaker.start()
            until(lambda: _words_after_finals(terminal.shown(), finals=2) >= 9, seconds=30)
            terminal.draw("mic")
            speaker.join()


def serve() -> None:
    """The page, with finals and a partial."""
    _draw_page("serve", Transcriber(), [SPEECH / name for name in SPOKEN])


def mandarin() -> None:
    """Characters, each of which takes two columns: text, words and subtitles."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "zh").symlink_to(MANDARIN / "zh")
        (Path(folder) / "sentence.flac").symlink_to(_mandarin_sentences()[0])
        with Terminal(26, Path(folder), {**os.environ, "LC_ALL": "C.UTF-8"}) as terminal:
            for flags in ("", "--segment --words ", "--segment --srt "):
                terminal.run(f"ds2edge transcribe --bundle zh {flags}sentence.flac")
            terminal.draw("mandarin")


def mandarin_serve() -> None:
    """The page, with a bundle of characters."""
    _draw_page("mandarin-serve", Transcriber(MANDARIN / "zh"), _mandarin_sentences()[:3])


def _mandarin_sentences() -> list[Path]:
    """Of a synthesiser, that training has not heard: those of split test, in their order."""
    manifest = MANDARIN / "speech" / "synthetic-held" / "manifest.tsv"
    return [utterance.path for utterance in read_manifest(manifest, "test")]


def _draw_page(name: str, transcriber: Transcriber, spoken: Sequence[Path]) -> None:
    """The server's page that hears three recordings, in the midst of the third."""
    with tempfile.TemporaryDirectory() as folder, Dispatcher(transcriber) as dispatcher:
        wave = speak_into(Path(folder) / "spoken.wav", spoken)
        with served(dispatcher) as server, browser(size=(760, 560)) as page:
            page.speak(wave)
            page.open(server.url)
            page.one("#speak").click()
            page.wait(lambda: len(page.all(".finals .segment")) >= 2)
            page.wait(lambda: len(page.all(".open .word")) >= 9 and page.all(".open .unstable"))
            shown = Image.open(io.BytesIO(page.driver.get_screenshot_as_png()))
        shown.quantize(64).save(IMAGES / f"{name}.png", optimize=True)


def _words_after_finals(shown: str, finals: int) -> int:
    """Words in the last line, once so many segments stand between the command and it."""
    lines = [line for line in shown.splitlines() if line.strip()]
    _, _, partial = lines[-1].partition("behind")
    return len(partial.split()) if len(lines) == finals + 2 else 0


class Terminal:
    """A shell in a terminal of tmux, in a folder of its own."""

    def __init__(
        self, height: int, folder: Path, environment: dict[str, str] | None = None
    ) -> None:
        self._height, self._folder = height, folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**(environment or os.environ), "PATH": path, "PS1": "$ "}
        self._socket = f"ds2edge-{os.getpid()}"

    def __enter__(self) -> Terminal:
        size = ("-x", str(WIDTH), "-y", str(self._height))
        shell = ("bash", "--norc", "--noprofile")
        self._tmux("-f", os.devnull, "new-session", "-d", *size, "-c", str(self._folder), *shell)
        until(lambda: self.shown().startswith("$"))
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def type(self, command: str) -> None:
        """As if on its keyboard."""
        self._tmux("send-keys", command, "Enter")

    def run(self, command: str) -> None:
        """Type it and wait until it has ended."""
        before = self.shown()
        self.type(command)
        until(lambda: self.shown() != before and self.shown().rstrip().endswith("\n$"))

    def shown(self, *, coloured: bool = False) -> str:
        """What stands in it."""
        return self._tmux("capture-pane", "-p", *(["-e"] if coloured else []))

    def draw(self, name: str) -> None:
        """Write what it shows as an image."""
        console = Console(
            record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, legacy_windows=False
        )
        shown = self.shown(coloured=True).rstrip().removesuffix("$").rstrip()
        console.print(Text.from_ansi(shown), overflow="crop", no_wrap=True)
        drawn = console.export_svg(title="", unique_id=name)
        # The fonts that it would fetch from a network: the reader has one of equal width.
        drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
        drawn = re.sub(r'textLength="([\d.]+)"([^>]*)>([^<]*)<', _in_columns, drawn)
        (IMAGES / f"{name}.svg").write_text(drawn, encoding="utf-8")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


def _in_columns(text: re.Match[str]) -> str:
    """Rich counts characters, not the columns that they take."""
    length, attributes, escaped = text.groups()
    said = unescape(escaped)
    columns = float(length) * cell_len(said) / max(1, len(said))
    return f'textLength="{columns:g}"{attributes}>{escaped}<'


CAPTURES: dict[str, Callable[[], None]] = {
    "transcribe": transcribe,
    "progress": progress,
    "train": train,
    "mic": mic,
    "serve": serve,
    "mandarin": mandarin,
    "mandarin-serve": mandarin_serve,
}


def main() -> None:
    """Make the captures that are named."""
    if not shutil.which("tmux"):
        raise SystemExit("capture: needs tmux; on Debian: sudo apt-get install tmux")
    IMAGES.mkdir(exist_ok=True)
    there = (MANDARIN / "zh").exists()
    for name in sys.argv[1:] or [one for one in CAPTURES if there or "mandarin" not in one]:
        CAPTURES[name]()
        print(*IMAGES.glob(f"{name}.*"))


if __name__ == "__main__":
    main()
