"""`ds2edge transcribe --jobs`: the same as without, in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RECORDINGS, interruptible
from stand_in_recogniser import COMMAND, DEADLY_RATE

from ds2edge.arguments import INTERRUPTED, PIPE_CLOSED, SOME_FAILED

DS2EDGE = str(Path(sys.executable).with_name("ds2edge"))
HEARD = "32 None True"  # by the stand-in


def run(command: list[str], *arguments: object, **settings: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [*command, "transcribe", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        **settings,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Of 5, 1, 2 and 1 seconds."""
    paths = [tmp_path / f"{number}.wav" for number in range(4)]
    for path, seconds in zip(paths, (5, 1, 2, 1), strict=True):
        soundfile.write(path, np.zeros(8_000 * seconds), 8_000)
    return paths


def lines(paths: list[Path]) -> str:
    return "".join(f"{path}: {HEARD}\n" for path in paths)


def test_results_are_those_of_one_job() -> None:
    arguments = ("--json", "--display", "--boost", "a woman of business=8", *RECORDINGS)
    one, two = run([DS2EDGE], *arguments), run([DS2EDGE], "--jobs", 2, *arguments)
    assert one == two
    assert one[0] == 0
    assert one[1].count("\n") == len(RECORDINGS)


def test_the_order_is_that_of_the_files(recordings: list[Path]) -> None:
    environment = {**os.environ, "FAKE_DELAY": "0.1"}  # the first takes longer than all others
    done = run(COMMAND, "--jobs", 3, *recordings, env=environment)
    assert done == (0, lines(recordings), "")


def test_a_process_that_dies_fails_its_file_alone(recordings: list[Path], tmp_path: Path) -> None:
    deadly = tmp_path / "deadly.wav"
    soundfile.write(deadly, np.zeros(DEADLY_RATE), DEADLY_RATE)
    bad = tmp_path / "missing.wav"
    files = [deadly, recordings[0], deadly, bad, *recordings[1:]]
    code, out, err = run(COMMAND, "--jobs", 2, *files)
    assert (code, out) == (SOME_FAILED, lines(recordings))
    killed = "the process that transcribed it was killed by SIGKILL; was memory short?"
    assert err.splitlines() == [
        f"ds2edge: {deadly}: {killed}",
        f"ds2edge: {deadly}: {killed}",
        f"ds2edge: cannot read {bad}: No such file or directory",
    ]


def test_what_is_no_file_is_read_by_the_command_itself(recordings: list[Path]) -> None:
    with recordings[1].open("rb") as file:
        done = run(COMMAND, "--jobs", 2, "-", recordings[2], stdin=file)
    assert done == (0, f"-: {HEARD}\n{recordings[2]}: {HEARD}\n", "")
    program = '"$@" <(cat "$FILE") <(cat "$FILE")'
    shell = ["/bin/bash", "-c", program, "bash", *COMMAND]
    environment = {**os.environ, "FILE": str(recordings[1])}
    code, out, err = run(shell, "--jobs", 2, env=environment)
    assert (code, out.count(HEARD), err) == (0, 2, "")


@pytest.mark.parametrize("jobs", ["-1", "many"])
def test_an_impossible_number(jobs: str) -> None:
    code, out, err = run(COMMAND, "--jobs", jobs, RECORDINGS[0])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--jobs" in err


@pytest.mark.parametrize("ending", [INTERRUPTED, PIPE_CLOSED])
def test_no_process_outlives_the_command(recordings: list[Path], ending: int) -> None:
    with subprocess.Popen(
        [*COMMAND, "transcribe", "--jobs", "2", *map(str, [recordings[1], *[recordings[0]] * 9])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FAKE_DELAY": "0.2"},
        preexec_fn=interruptible,
        process_group=0,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == lines([recordings[1]])
        if ending == INTERRUPTED:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of it
        else:
            process.stdout.close()
            process.stdout = None
        # Standard error ends when nobody has it any more.
        out, err = process.communicate(timeout=30)
    assert process.returncode == ending
    if ending == INTERRUPTED:
        assert 0 < out.count(HEARD) <= 3  # what was heard of the two that were under way
        assert err.startswith("ds2edge: interrupted after ")
        assert err.count("\n") == 1
    else:
        assert err == ""
