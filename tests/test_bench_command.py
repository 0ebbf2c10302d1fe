"""`ds2edge bench`: what it measures, and how it fails."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import RECORDINGS, SPEECH, interruptible

from ds2edge import Transcriber
from ds2edge.acoustic import StepModel
from ds2edge.arguments import FAILED, INTERRUPTED
from ds2edge.audio_file import read_audio
from ds2edge.measure import STAGES, measure_delays, measure_speed, read_recordings, seconds_of

DS2EDGE = str(Path(sys.executable).with_name("ds2edge"))
WOMAN = SPEECH / "2428-83705-0017.mp3"


def bench(*arguments: object, **settings: Any) -> tuple[int, str, str]:
    command = [DS2EDGE, "bench", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
    return done.returncode, done.stdout, done.stderr


def test_the_figures_belong_together() -> None:
    began = time.monotonic()
    code, out, err = bench("--json", "--seconds", 4, WOMAN)
    took = time.monotonic() - began
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["audio"] == pytest.approx(4.0, abs=1e-3)
    speed, delays = facts["speed"], facts["delays"]
    assert set(speed["stages"]) == {*STAGES, "everything_else"}
    assert all(part >= 0 for part in speed["stages"].values())
    assert sum(speed["stages"].values()) == pytest.approx(speed["real_time_factor"])
    assert 0 < 5 * 4.0 * speed["real_time_factor"] < took
    assert 0 < delays["feed_median"] <= delays["feed_98"] < took
    assert 0 < delays["finish"] < took
    assert 0 < facts["load_bundle"] < facts["first_text"] < took
    assert 20 < facts["resident_megabytes"] < 300
    assert (facts["bundle"], facts["processors"]) == ("en", os.cpu_count())
    assert all(facts[name] for name in ("ds2edge", "runtime", "numpy", "python", "processor"))


def test_it_is_readable_and_names_every_stage() -> None:
    code, out, err = bench("--seconds", 2, SPEECH)
    assert (code, err) == (0, "")
    named = [line[:20].strip() for line in out.splitlines()]
    for stage in (*STAGES, "everything_else", "real-time factor", "resident memory"):
        assert stage.replace("_", " ") in named
    assert max(map(len, out.splitlines())) <= 80


def test_time_inside_a_stage_is_of_that_stage(
    transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = 0.01
    step = StepModel.step_together

    def slow_step(*arguments: Any) -> Any:
        time.sleep(slow)
        return step(*arguments)

    monkeypatch.setattr(StepModel, "step_together", slow_step)
    audio = read_recordings([WOMAN], 2.0)
    before = {
        (owner, name): getattr(owner, name) for each in STAGES.values() for owner, name in each
    }
    heard: list[float] = []
    speed = measure_speed(transcriber, audio, heard.append)
    steps = 2.0 / transcriber.info()["chunk_seconds"]
    assert speed.stages["acoustic_model"] * 2.0 > 0.5 * steps * slow
    assert speed.stages["acoustic_model"] > 0.5 * speed.real_time_factor
    assert sum(heard) == pytest.approx(4 * 2.0)  # three runs, and one for the stages
    assert {key: getattr(*key) for key in before} == before  # as it was
    delays = measure_delays(transcriber, audio)
    assert delays.feed_median < slow <= delays.feed_98


def test_recordings_are_cut_to_the_seconds_asked_for() -> None:
    whole = read_recordings(RECORDINGS, np.inf)
    assert len(whole) == len(RECORDINGS)
    assert seconds_of(whole) == pytest.approx(
        sum(len(read_audio(path, 16_000)) / 16_000 for path in RECORDINGS), abs=0.01
    )
    cut = read_recordings(RECORDINGS, 6.5)
    assert len(cut) == 2
    assert seconds_of(cut) == pytest.approx(6.5, abs=1e-3)


def test_recordings_without_words_have_no_first_text(tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(16_000), 16_000)
    code, out, err = bench("--json", silence)
    assert (code, err, json.loads(out)["first_text"]) == (0, "", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: FILE"),
        (["/nowhere.wav"], "cannot read /nowhere.wav"),
        (["-"], "reads a recording several times, - can be read once"),
        (["--seconds", "0", str(WOMAN)], "--seconds must be more than 0"),
        (["--bundle", "nowhere", str(WOMAN)], "no bundle 'nowhere'"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    code, out, err = bench(*arguments)
    assert (code, out, err.count("\n")) == (FAILED, "", 1)
    assert err.startswith("ds2edge: ")
    assert message in err


def test_progress_on_a_terminal_and_ctrl_c(tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    soundfile.write(long, np.tile(read_audio(WOMAN, 16_000), 100), 16_000)
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [DS2EDGE, "bench", "--seconds", "500", str(long)],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm"},
        preexec_fn=interruptible,
    ) as process:
        os.close(end)
        shown = b""
        while b"measuring" not in shown:
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    while b"interrupted" not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert (process.returncode, out) == (INTERRUPTED, b"")
    assert b"Traceback" not in shown
