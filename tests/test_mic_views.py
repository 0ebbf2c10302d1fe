"""Where `ds2edge mic` shows what is heard: a terminal, subtitles, and what goes wrong with them.

The processes of their own have a stand-in for sounddevice, which plays a recording.
"""

from __future__ import annotations

import io
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import SPEECH, interruptible
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live

from ds2edge import Final, Partial, Transcriber, Word
from ds2edge.arguments import FAILED, PIPE_CLOSED
from ds2edge.audio_file import read_audio
from ds2edge.commands.views import Screen, Subtitles

DS2EDGE = str(Path(sys.executable).with_name("ds2edge"))
STAND_IN = Path(__file__).parent / "stand_in"
MICROPHONE: Any = SimpleNamespace(
    level=0.25, lag_seconds=0.3, dropped_seconds=1.5, device_name="Desk"
)
STATE = "\u2588" * 5 + "\u2591" * 5 + "  0.3 s behind lost 1.5 s  "


def words(text: str, start: float = 0.0) -> tuple[Word, ...]:
    return tuple(Word(word, start + i, start + i + 0.5, 0.9) for i, word in enumerate(text.split()))


# ---- the terminal ----


@contextmanager
def screen(width: int) -> Iterator[tuple[Screen, io.StringIO]]:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=width, height=10)
    with Live(console=console, auto_refresh=False) as live:
        yield Screen(live, displayed=False), written


def test_the_last_line_has_level_delay_loss_and_text() -> None:
    with screen(100) as (view, _):
        assert str(view._last_line(MICROPHONE)) == STATE + "listening to Desk"
        view.show([Partial(0, words("so far"), 1)], MICROPHONE)
        assert str(view._last_line(MICROPHONE)) == STATE + "so far"
        view.show([Final(0, words("so far so good"), 0, 4)], MICROPHONE)
        assert str(view._last_line(MICROPHONE)) == STATE + "listening to Desk"


@pytest.mark.parametrize("word", ["word", "\u4e2d\u6587"])  # Chinese characters take two cells
@pytest.mark.parametrize("width", [1, 2, 3, 10, 40, 58, 59, 60, 100])
def test_a_long_text_stays_in_one_line_and_shows_its_end(width: int, word: str) -> None:
    text = " ".join([*[word] * 200, "end"])
    with screen(width) as (view, written):
        view.show([Partial(0, words(text), 0)], MICROPHONE)
        line = str(view._last_line(MICROPHONE))
        assert cell_len(line) < max(width, 2)
        assert line.startswith(STATE) == (width > 2 * len(STATE))
        assert line.endswith("end" if width > 4 else ("\u2026", "d"))
        assert written.getvalue().count("\n") == 0


@contextmanager
def process(*arguments: object, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    folders = [str(settings.pop("modules", STAND_IN)), os.environ.get("PYTHONPATH")]
    path = ":".join(filter(None, folders))
    environment = {**os.environ, "PYTHONPATH": path, **settings.pop("env", {})}
    with subprocess.Popen(
        [DS2EDGE, "mic", *map(str, arguments)],
        env=environment,
        text=True,
        preexec_fn=interruptible,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings},
    ) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A recording for the stand-in to play."""
    path = tmp_path_factory.mktemp("wav") / "speech.wav"
    soundfile.write(path, read_audio(SPEECH / "2428-83705-0017.mp3", 44_100), 44_100)
    return str(path)


@pytest.fixture(scope="module")
def text(spoken: str, transcriber: Transcriber) -> str:
    samples, rate = soundfile.read(spoken, dtype="float32")
    return transcriber.transcribe(np.pad(samples, (0, rate)), rate).text


def on_a_terminal(awaited: str, recording: str, **environment: str) -> str:
    """What `ds2edge mic` writes until some text is there, and Ctrl-C."""
    terminal, end = pty.openpty()
    settings = {"stdout": end, "stderr": end, "env": {"STAND_IN": recording, **environment}}
    shown = b""
    with process(**settings) as started:
        os.close(end)
        while awaited.encode() not in shown:
            shown += os.read(terminal, 4096)
        started.send_signal(signal.SIGINT)
        while True:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
        assert started.wait(20) == 0
    os.close(terminal)
    return shown.decode()


COLOUR = re.compile(r"\x1b\[[\d;]*3\dm")


@pytest.mark.parametrize(
    ("environment", "redrawn", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_a_terminal_gets_what_it_can(
    spoken: str, text: str, environment: dict[str, str], redrawn: bool, coloured: bool
) -> None:
    shown = on_a_terminal(f"{text}\r\n", spoken, COLUMNS="120", **environment)
    assert ("behind" in shown) == redrawn
    assert ("\x1b" in shown) == redrawn
    assert bool(COLOUR.search(shown)) == coloured
    if not redrawn:
        assert shown == f"{text}\r\n"


def test_a_muted_microphone_is_said_on_a_terminal(tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(11 * 8_000), 8_000)
    shown = on_a_terminal("is the microphone muted?", str(silence), TERM="xterm")
    assert shown.count("is the microphone muted?") == 1


# ---- what goes wrong ----


def test_a_full_disk_for_subtitles_is_one_line_and_loses_no_words(spoken: str, text: str) -> None:
    with process("--srt", "/dev/full", env={"STAND_IN": spoken}) as started:
        out, err = started.communicate(timeout=20)
    expected = (FAILED, f"{text}\n", "ds2edge: /dev/full: No space left on device\n")
    assert (started.returncode, out, err) == expected


def test_a_subtitle_that_does_not_fit_leaves_no_part_of_it(tmp_path: Path) -> None:
    finals = [Final(i, words("some words", 3 * i), 3 * i, 3 * i + 2) for i in range(3)]
    path = tmp_path / "live.srt"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Subtitles(path) as view:
        view.show([finals[0]], MICROPHONE)
        first = path.read_text()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(first) + 10, hard))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                view.show([finals[1]], MICROPHONE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.filename == str(path)
        assert path.read_text() == first
        view.show([finals[2]], MICROPHONE)  # the disk has room again
    assert path.read_text().startswith(f"{first}2\n00:00:06,000")


def test_a_closed_pipe_is_quiet_and_leaves_whole_subtitles(spoken: str, tmp_path: Path) -> None:
    srt = tmp_path / "live.srt"
    with process("--json", "--srt", srt, env={"STAND_IN": spoken}) as started:
        assert started.stdout
        assert started.stderr
        assert json.loads(started.stdout.readline())["type"] == "partial"
        started.stdout.close()
        assert started.stderr.read() == ""
    assert started.returncode == PIPE_CLOSED
    assert re.fullmatch(r"1\n[\d:,]+ --> [\d:,]+\n(.+\n)+\n", srt.read_text())


NO_DEVICE = """
class PortAudioError(Exception):
    pass

def query_hostapis():
    return ()

def query_devices(device=None, kind=None):
    if device is None and kind is None:
        return ()
    raise ValueError("no such device")
"""


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text(NO_DEVICE)
    srt = tmp_path / "live.srt"
    srt.write_text("of yesterday")
    for arguments, wanted in (
        ([], "no default microphone"),
        (["--device", "x"], "no microphone 'x'"),
    ):
        with process(*arguments, "--srt", srt, modules=tmp_path) as started:
            out, err = started.communicate(timeout=20)
        expected = f"ds2edge: there is {wanted}; those there are: none\n"
        assert (started.returncode, out, err) == (FAILED, "", expected)
    assert srt.read_text() == "of yesterday"
