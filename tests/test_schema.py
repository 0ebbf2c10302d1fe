"""The JSON Schema of what ds2edge writes as JSON, against what it really writes."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS, SPEECH
from jsonschema import Draft202012Validator

from ds2edge import StreamOptions, Transcriber, cli
from ds2edge.audio_file import read_audio
from ds2edge.commands import mic
from ds2edge.errors import ConfigError
from ds2edge.results import SCHEMA, json_schema

WOMAN = SPEECH / "2428-83705-0017.mp3"
KINDS = ("file", "event", "transcript")


def validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(json_schema(kind))


def printed(*arguments: object) -> list[Any]:
    """The lines of JSON of the installed command."""
    command = [Path(sys.executable).with_name("ds2edge"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Recording:
    """Plays as a microphone: speech, silence, and speech that Ctrl-C breaks off."""

    device_name, sample_rate, level, lag_seconds, dropped_seconds = "Desk", 16_000, 0.1, 0.0, 0.0

    def __init__(self, device: object) -> None:
        speech = read_audio(WOMAN, 16_000)
        self.samples = np.concatenate([speech, np.zeros(32_000, np.float32), speech[:32_000]])

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    def __next__(self) -> np.ndarray[Any, Any]:
        if not len(self.samples):
            raise StopIteration
        block, self.samples = self.samples[:1600], self.samples[1600:]
        return block


@pytest.fixture(scope="module")
def transcript(transcriber: Transcriber) -> dict[str, Any]:
    options = StreamOptions(alternatives=2)
    return json.loads(transcriber.transcribe(WOMAN, options=options).to_json(display=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_are_schemas_and_shipped(kind: str) -> None:
    Draft202012Validator.check_schema(json_schema(kind))
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_there_is_no_other_schema() -> None:
    with pytest.raises(ConfigError, match="of file, event, transcript, got 'word'"):
        json_schema("word")


@pytest.mark.parametrize(("command", "kind"), [("transcribe", "file"), ("mic", "event")])
def test_the_commands_print_their_schema(
    command: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--schema"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out) == json_schema(kind)


@pytest.mark.parametrize("flags", [(), ("--display", "--alternatives", "2")])
def test_what_transcribe_prints_fits(flags: tuple[str, ...]) -> None:
    lines = printed("transcribe", "--json", *flags, *RECORDINGS)
    assert len(lines) == len(RECORDINGS)
    for line in lines:
        validator("file").validate(line)
        assert ("display" in line) == bool(flags)
        assert len(line["segments"][0]["alternatives"]) == (2 if flags else 0)


@pytest.mark.parametrize("flags", [(), ("--display", "--alternatives", "2")])
def test_what_mic_prints_fits(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mic, "Microphone", Recording)
    assert cli.main(["mic", "--json", *flags]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["type"] for event in events].count("final") == 2
    assert len(events) > 10
    for event in events:
        validator("event").validate(event)
        assert ("display" in event) == bool(flags)


@pytest.mark.parametrize("display", [False, True])
def test_what_to_json_writes_fits(transcriber: Transcriber, display: bool) -> None:
    for path in RECORDINGS:
        written = json.loads(transcriber.transcribe(path).to_json(display))
        validator("transcript").validate(written)
        assert ("display" in written) == display
    nothing = transcriber.transcribe(np.zeros(1600), 16_000)
    validator("transcript").validate(json.loads(nothing.to_json()))


def test_the_kinds_differ(transcript: dict[str, Any]) -> None:
    written = {
        "transcript": transcript,
        "file": {"file": "a.wav", **transcript},
        "event": {"type": "final", **transcript["segments"][0]},
    }
    for kind in KINDS:
        fitting = [name for name, value in written.items() if validator(kind).is_valid(value)]
        assert fitting == [kind]


WRONG: dict[str, Callable[[Any], object]] = {
    "a word without its end": lambda t: t["segments"][0]["words"][0].pop("end"),
    "a word without confidence": lambda t: t["segments"][0]["words"][0].pop("confidence"),
    "a confidence above 1": lambda t: t["segments"][0]["words"][0].update(confidence=1.01),
    "a confidence below 0": lambda t: t["segments"][0]["words"][0].update(confidence=-0.01),
    "a time that is text": lambda t: t["segments"][0]["words"][0].update(start="0.5"),
    "a time before the start": lambda t: t["segments"][0]["words"][0].update(start=-0.5),
    "an empty word": lambda t: t["segments"][0]["words"][0].update(text=""),
    "an unknown key of a word": lambda t: t["segments"][0]["words"][0].update(speaker=1),
    "an unknown key of a segment": lambda t: t["segments"][0].update(speaker=1),
    "an unknown key of all": lambda t: t.update(language="en"),
    "an unknown key of a reading": lambda t: t["segments"][0]["alternatives"][0].update(x=1),
    "a reading without score": lambda t: t["segments"][0]["alternatives"][0].pop("score"),
    "a segment without number": lambda t: t["segments"][0].pop("segment"),
    "half a segment": lambda t: t["segments"][0].update(segment=0.5),
    "no segments": lambda t: t.pop("segments"),
    "no duration": lambda t: t.pop("duration"),
    "display that is no text": lambda t: t.update(display=None),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused(name: str, transcript: dict[str, Any]) -> None:
    wrong = copy.deepcopy(transcript)
    assert validator("transcript").is_valid(wrong)
    WRONG[name](wrong)
    assert not validator("transcript").is_valid(wrong)
    assert not validator("file").is_valid({"file": "a.wav", **wrong})


WRONG_EVENTS = {
    "no type": {"type": None},
    "another type": {"type": "word"},
    "no stable words": {"stable_words": None},
    "less than no stable words": {"stable_words": -1},
    "times of a final": {"start": 0.0, "end": 1.0},
    "an unknown key": {"language": "en"},
}


@pytest.mark.parametrize("name", WRONG_EVENTS)
def test_wrong_events_are_refused(name: str, transcript: dict[str, Any]) -> None:
    words = transcript["segments"][0]["words"]
    right = {"type": "partial", "text": "x", "segment": 0, "words": words, "stable_words": 1}
    assert validator("event").is_valid(right)
    changed = {**right, **WRONG_EVENTS[name]}
    wrong = {key: value for key, value in changed.items() if value is not None}
    assert not validator("event").is_valid(wrong)
