"""`ds2edge mic`: what it prints of a recording that plays as a microphone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SPEECH

from ds2edge import Transcriber, cli
from ds2edge.audio_file import read_audio
from ds2edge.commands import devices, mic
from ds2edge.errors import AudioError, MissingExtraError
from ds2edge.microphone import InputDevice

WOMAN = SPEECH / "2428-83705-0017.mp3"


class FakeMicrophone:
    """Plays a recording and a second of silence, then ends as it was told."""

    ending: type[BaseException] = KeyboardInterrupt
    waiting = 0  # blocks that had not been read when it ended
    device_name = "Desk"
    sample_rate, level, lag_seconds, dropped_seconds = 44_100.0, 0.25, 0.1, 0.0

    def __init__(self, device: object) -> None:
        if device not in (None, 3, "USB"):
            raise AudioError(f"there is no microphone {device!r}")
        samples = np.pad(read_audio(WOMAN, 44_100), (0, 44_100))
        self.blocks = np.array_split(samples, 100)
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> FakeMicrophone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> np.ndarray[Any, Any]:
        if len(self.blocks) > (0 if self.closed else self.waiting):
            return self.blocks.pop(0)
        if self.closed:
            raise StopIteration
        raise self.ending("the microphone is gone")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(mic, "Microphone", FakeMicrophone)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.main(["mic", *map(str, arguments)])
        return (code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def text() -> str:
    return Transcriber().transcribe(WOMAN).text


def test_segments_are_lines_and_ctrl_c_is_how_it_ends(run: Any, text: str) -> None:
    assert run() == (0, f"{text}\n", "")
    assert run("--device", "3", "--display") == (0, f"{text.capitalize()}\n", "")


def test_a_microphone_that_goes_leaves_what_was_said(
    run: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeMicrophone, "ending", AudioError)
    assert run("--device", "USB") == (2, f"{text}\n", "ds2edge: the microphone is gone\n")


def test_what_was_said_before_ctrl_c_is_heard_even_if_it_was_behind(
    run: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeMicrophone, "waiting", 60)
    assert run() == (0, f"{text}\n", "")


def test_json_lines(run: Any, text: str) -> None:
    code, out, err = run("--json", "--display")
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert all(event["display"][:1] == event["text"][:1].upper() for event in events)
    assert {event["type"] for event in events} == {"partial", "final"}
    assert [e["text"] for e in events if e["type"] == "final" and e["text"]] == [text]
    assert events[0]["words"][0]["end"] > 0


def test_subtitles_beside(run: Any, text: str, tmp_path: Path) -> None:
    srt = tmp_path / "live.srt"
    assert run("--srt", srt)[:2] == (0, f"{text}\n")
    assert " ".join(srt.read_text().splitlines()[2:4]) == text
    code, _, err = run("--srt", tmp_path)
    assert (code, err) == (2, f"ds2edge: {tmp_path}: Is a directory\n")


def test_it_stops_after_so_much_audio(run: Any, text: str) -> None:
    out = run("--seconds", "2")[1]
    assert 0 < len(out.split()) < len(text.split())


def test_boosts_reach_the_stream(run: Any) -> None:
    assert "a woman of busness" in run("--boost", "a woman of busness=40")[1]


def test_bad_devices(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--device", "x") == (2, "", "ds2edge: there is no microphone 'x'\n")

    def missing(device: object) -> None:
        raise MissingExtraError("the microphone needs sounddevice: pip install 'ds2edge[mic]'")

    monkeypatch.setattr(mic, "Microphone", missing)
    assert run()[2].endswith("pip install 'ds2edge[mic]'\n")


def test_devices_are_listed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found = [InputDevice(0, "Inside", 2, 48_000.0, True), InputDevice(5, "USB", 1, 16_000.0, False)]
    monkeypatch.setattr(devices, "input_devices", lambda: found)
    assert cli.main(["devices"]) == 0
    assert [line.split() for line in capfd.readouterr().out.splitlines()] == [
        ["*", "0", "48000", "Hz", "2", "channels", "Inside"],
        ["5", "16000", "Hz", "1", "channel", "USB"],
    ]
    assert cli.main(["devices", "--json"]) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[1])["name"] == "USB"


def test_no_device_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "input_devices", tuple)
    assert cli.main(["devices"]) == 0
    assert capfd.readouterr() == (
        "",
        "ds2edge: there is no device that audio can be recorded from\n",
    )
