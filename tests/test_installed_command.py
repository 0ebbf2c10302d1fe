"""The installed `ds2edge` command, in a process of its own, with the embedded bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ds2edge import Transcriber
from ds2edge.audio_file import read_audio

SPEECH = Path(__file__).parent / "data" / "speech"
RECORDING = str(SPEECH / "2428-83705-0017.mp3")
OTHER = str(SPEECH / "LJ001-0011.opus")


def ds2edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("ds2edge"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_installed_command_tells_its_version():
    done = ds2edge("--version")
    assert done.stdout.startswith("ds2edge 0.")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_installed_command_transcribes_in_silence():
    done = ds2edge("transcribe", RECORDING)
    assert (done.returncode, done.stderr) == (0, "")
    said = "i found that as a woman of business she was beyond all my expectations"
    assert len(set(said.split()) & set(done.stdout.split())) >= 7  # of 14


def test_the_installed_command_reads_standard_input():
    samples = (read_audio(RECORDING, 16_000) * 2**15).astype("<i2").tobytes()
    command = [Path(sys.executable).with_name("ds2edge"), "transcribe"]
    raw = subprocess.run(
        [*command, "--sample-rate", "16000", "-"], input=samples, capture_output=True, check=False
    )
    with open(RECORDING, "rb") as file:
        headed = subprocess.run([*command, "-"], stdin=file, capture_output=True, check=False)
    # Rounded to int16, a recording may be heard a little otherwise.
    rounded = Transcriber().transcribe(np.frombuffer(samples, "<i2"), 16_000).text
    text = ds2edge("transcribe", RECORDING).stdout
    assert (raw.returncode, raw.stderr, raw.stdout.decode()) == (0, b"", f"{rounded}\n")
    assert (headed.returncode, headed.stderr, headed.stdout.decode()) == (0, b"", text)


@pytest.mark.parametrize(
    ("arguments", "samples", "message"),
    [
        (["-"], b"abc", "1 of 2 bytes are left"),
        (["--dtype", "int7", "-"], b"", "invalid choice: 'int7'"),
        (["--dtype", "uint8", "-"], b"abc", "invalid choice: 'uint8'"),
        (["--channels", "0", "-"], b"", "--channels must be 1 or more"),
        ([RECORDING], b"", "FILE must be -"),
        (["--srt", "-"], b"", "recordings with a header"),
    ],
)
def test_bad_raw_samples(arguments, samples, message):
    command = [Path(sys.executable).with_name("ds2edge"), "transcribe", "--sample-rate", "16000"]
    done = subprocess.run([*command, *arguments], input=samples, capture_output=True, check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert message in done.stderr.decode()


def test_the_installed_command_hears_boosts():
    flags = ("--boost", "a Woman of busness=40", "--display", "--alternatives", "1")
    assert "a woman of busness" in ds2edge("transcribe", *flags, RECORDING).stdout
    done = ds2edge("transcribe", "--boost", "woman", RECORDING)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "needed PHRASE=NUMBER, got 'woman'" in done.stderr


def test_the_installed_command_on_bad_input(tmp_path):
    done = ds2edge("transcribe", str(tmp_path / "missing.wav"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Traceback" not in done.stderr
