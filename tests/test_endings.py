"""How `ds2edge transcribe` ends before its end: Ctrl-C, closed pipes, full disks, bad input.

Each in a process of its own; nothing that was heard or written is lost.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SPEECH, interruptible
from stand_in_recogniser import COMMAND

from ds2edge.arguments import FAILED, INTERRUPTED, PIPE_CLOSED, SOME_FAILED
from ds2edge.audio_file import read_audio
from ds2edge.commands.interrupt import Interrupt

DS2EDGE = str(Path(sys.executable).with_name("ds2edge"))
RECORDING = str(SPEECH / "2428-83705-0017.mp3")
RATE = 16_000


def start(command: list[str], *arguments: object, delay: float = 0, **settings: object):
    """A process that Ctrl-C ends; `delay` is what the stand-in takes for a second of audio."""
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        env={**os.environ, "FAKE_DELAY": str(delay), "TERM": "xterm"},
        preexec_fn=interruptible,
        **{"stderr": subprocess.PIPE, **settings},
    )


def run(command: list[str], *arguments: object, **settings: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [*command, *map(str, arguments)],
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings},
    )
    return done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode()


# ---- Ctrl-C ----


def test_ctrl_c_leaves_what_was_heard_of_the_file_under_way():
    with start(COMMAND, "transcribe", "--json", *[RECORDING] * 20, delay=0.1) as process:
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == INTERRUPTED
    assert len(lines) <= 3  # another file at most, and one that was begun
    cut = [line["duration"] for line in lines if line["duration"] < first["duration"]]
    after = f" after {cut[0]:.1f} s of {RECORDING}" if cut else ""
    assert err.decode() == f"ds2edge: interrupted{after}\n"


def test_ctrl_c_of_a_long_file(tmp_path, transcriber):
    long = tmp_path / "long.wav"
    samples = np.tile(read_audio(RECORDING, RATE), 200)  # 16 minutes, half a minute of work
    soundfile.write(long, samples, RATE)
    terminal, end = pty.openpty()
    with start([DS2EDGE], "transcribe", long, stderr=end) as process:
        os.close(end)
        shown = b""
        while not re.search(rb"[1-9]%", shown):  # the progress bar
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read().decode()
    while b"interrupted" not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert process.returncode == INTERRUPTED
    seconds = float(re.search(rb"interrupted after ([\d.]+) s of ", shown).group(1))
    assert 0 < seconds < len(samples) / RATE
    read = soundfile.read(long, round(seconds * RATE), dtype="float32")[0]
    assert out == transcriber.transcribe(read, RATE).text + "\n"


def test_ctrl_c_of_raw_standard_input(transcriber):
    spoken = np.pad(read_audio(RECORDING, RATE), (0, RATE))
    begun = spoken[: 2 * RATE]
    arguments = ("transcribe", "--sample-rate", RATE, "--dtype", "float32", "-")
    with start([DS2EDGE], *arguments, stdin=subprocess.PIPE) as process:
        for samples in (spoken, begun):
            process.stdin.write(samples.tobytes())
            process.stdin.flush()
        first = process.stdout.readline().decode()
        while bytes_in(process.stdin.fileno()):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)  # the pipe stays open
        process.wait(20)
        out, err = process.stdout.read().decode(), process.stderr.read().decode()
    assert process.returncode == INTERRUPTED
    assert err == f"ds2edge: interrupted after {len(spoken) / RATE + 2:.1f} s\n"
    both = transcriber.transcribe(np.concatenate([spoken, begun]), RATE)
    assert first + out == "".join(f"{each.text}\n" for each in both.segments if each.words)
    assert out  # of the segment that was open


def bytes_in(pipe: int) -> int:
    """How much nobody has read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


@pytest.fixture
def interrupt():
    """One that takes Ctrl-C, even if what runs the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with Interrupt() as interrupt:
        yield interrupt
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_ctrl_c_ends_waiting_but_no_work(interrupt):
    assert interrupt.wait(lambda: 1) == 1
    signal.raise_signal(signal.SIGINT)
    assert interrupt.asked
    assert interrupt.wait(lambda: 1) is None


def test_ctrl_c_while_waiting(interrupt):
    assert interrupt.wait(lambda: signal.raise_signal(signal.SIGINT)) is None
    assert interrupt.asked


def test_ctrl_c_twice_ends_everything(interrupt):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_stays_ignored_where_it_was():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
    assert not interrupt.asked
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


# ---- output that cannot be written ----


def test_a_closed_pipe_is_quiet():
    with start(COMMAND, "transcribe", *[RECORDING] * 20, delay=0.01) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == PIPE_CLOSED


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["transcribe", "--schema"], ["info"]])
def test_a_pipe_that_nobody_reads_is_quiet(arguments, unbuffered):
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = run([DS2EDGE], *arguments, stdout=write, env=environment)
    os.close(write)
    assert done == (PIPE_CLOSED, "", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["transcribe", RECORDING]])
def test_a_full_disk_is_one_line(arguments, unbuffered):
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        done = run(COMMAND, *arguments, stdout=full, env=environment)
    assert done == (FAILED, "", "ds2edge: No space left on device\n")


def test_a_disk_that_is_full_for_one_file(tmp_path):
    long_name = tmp_path / f"{'n' * 200}.mp3"
    long_name.write_bytes(Path(RECORDING).read_bytes())
    line = run(COMMAND, "transcribe", "--json", RECORDING)[1]
    out = tmp_path / "out"

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(line) + 50, len(line) + 50))

    arguments = ("transcribe", "--json", "--output", out, RECORDING, long_name, RECORDING)
    done = run(COMMAND, *arguments, preexec_fn=small_files)
    failed = out / f"{long_name.stem}.json"
    assert done == (SOME_FAILED, "", f"ds2edge: cannot write {failed}: File too large\n")
    stem = Path(RECORDING).stem
    assert sorted(path.name for path in out.iterdir()) == [f"{stem}-2.json", f"{stem}.json"]
    assert (out / f"{stem}.json").read_text() == line


def test_without_standard_error_an_error_is_silent(tmp_path):
    program = f"exec {DS2EDGE} transcribe {tmp_path}/none.wav 2>&-"
    assert run(["/bin/sh", "-c", program]) == (FAILED, "", "")


# ---- input that cannot be read ----


@pytest.mark.parametrize("arguments", [["-"], ["--sample-rate", "16000", "-"]])
def test_standard_input_is_closed_or_a_terminal(arguments):
    program = f'exec {DS2EDGE} transcribe "$@" <&-'
    code, out, err = run(["/bin/sh", "-c", program, "sh"], *arguments)
    assert (code, out) == (FAILED, "")
    assert err.startswith("ds2edge: standard input is closed: needed is")
    assert err.count("\n") == 1
    terminal, end = pty.openpty()
    code, out, err = run([DS2EDGE], "transcribe", *arguments, stdin=end)
    os.close(terminal)
    os.close(end)
    assert (code, out) == (FAILED, "")
    assert err.startswith("ds2edge: standard input is a terminal: needed is")


def test_raw_samples_that_end_in_the_middle_leave_what_was_said(transcriber):
    samples = read_audio(RECORDING, RATE)
    arguments = ("transcribe", "--sample-rate", RATE, "--dtype", "float32", "-")
    code, out, err = run([DS2EDGE], *arguments, input=samples.tobytes() + b"abc")
    assert (code, out) == (FAILED, transcriber.transcribe(samples, RATE).text + "\n")
    assert err == "ds2edge: the samples end in the middle: 3 of 4 bytes are left\n"


def test_a_file_that_vanishes(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.mp3").write_bytes(Path(RECORDING).read_bytes())
    with start(COMMAND, "transcribe", tmp_path, delay=0.2) as process:
        first = process.stdout.readline().decode()
        (tmp_path / "c.mp3").unlink()
        out, err = process.communicate(timeout=20)
    assert process.returncode == SOME_FAILED
    assert (
        first + out.decode() == f"{tmp_path}/a.mp3: 32 None True\n{tmp_path}/b.mp3: 32 None True\n"
    )
    assert err.decode() == f"ds2edge: cannot read {tmp_path}/c.mp3: No such file or directory\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_boost_that_cannot_be_spelled_is_one_line_for_all_files(jobs):
    arguments = ("transcribe", "--jobs", jobs, "--boost", "Zürich=4", RECORDING, RECORDING)
    code, out, err = run([DS2EDGE], *arguments)
    assert (code, out, err.count("\n")) == (FAILED, "", 1)
    assert err.startswith("ds2edge: the phrase 'zürich' has 'ü'")
