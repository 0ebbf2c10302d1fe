"""The programs in examples/ that need ffmpeg, a screen or a sound server."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SPEECH
from example_programs import command, interrupt, line_with, microphone_of, run, started
from screen import Screen, screen
from sound_server import sound_server, until
from terminal import Terminal

from ds2edge import Final, Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.results import Event
from ds2edge.subtitles import to_srt

pytestmark = pytest.mark.system

WOMAN = SPEECH / "2428-83705-0017.mp3"
LET_HIM_ENTER = SPEECH / "2902-9008-0016.mp3"
RATE = 16_000
NIGHT, DIM, BRIGHT, RED = "#14171c", "#8b95a5", "#ffffff", "#ff7b72"  # of the window


def likeness(said: str, expected: str) -> float:
    return difflib.SequenceMatcher(None, said.split(), expected.split()).ratio()


# microphone.py


def test_a_real_microphone_that_goes_and_comes_back(
    tmp_path: Path, transcriber: Transcriber
) -> None:
    wav = tmp_path / "speech.wav"
    soundfile.write(wav, read_audio(WOMAN, 48_000), 48_000)
    expected = transcriber.transcribe(WOMAN).text
    with sound_server() as server, started("microphone", environment=server.environment) as process:
        for _ in range(2):
            assert line_with("listening to", process.stderr)
            server.wait_for_recorder()
            server.play(wav)
            assert likeness(line_with("", process.stdout), expected) >= 0.8
            server.stop()
            assert "'default' is gone" in line_with("waiting for it", process.stderr)
            server.start()
        assert line_with("listening to", process.stderr)
        assert interrupt(process)[0] == 0


# captions.py


@pytest.fixture(scope="module")
def display() -> Iterator[Screen]:
    with screen() as shown:
        yield shown


def test_the_window_shows_what_is_said(
    display: Screen, tmp_path: Path, transcriber: Transcriber
) -> None:
    speech = [read_audio(recording, RATE) for recording in (WOMAN, LET_HIM_ENTER, WOMAN)]
    samples = np.concatenate([np.pad(each, (0, RATE)) for each in speech])
    first, second = np.split(samples, [len(samples) - 4 * RATE])
    np.save(tmp_path / "first.npy", first)
    np.save(tmp_path / "second.npy", second)
    program = Path(__file__).with_name("captions_window.py")
    done = subprocess.run(
        [sys.executable, program, tmp_path / "first.npy", tmp_path / "second.npy", str(RATE)],
        env={**os.environ, **display.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    meanwhile, at_last, long_after, closed = map(json.loads, done.stdout.splitlines())

    events: list[Event] = []
    with transcriber.stream(RATE) as stream:
        for start in range(0, len(first), 1600):
            events += stream.feed(first[start : start + 1600])
    finals = [event.display for event in events if isinstance(event, Final)]
    assert len(finals) == 2
    assert not isinstance(events[-1], Final)
    assert meanwhile["partial"] == ["\n" + events[-1].display]
    assert meanwhile["text"] == "\n".join([*finals, events[-1].display])

    segments = transcriber.transcribe(samples, RATE).segments
    assert at_last["partial"] == [""]
    assert at_last["text"] == "\n".join(each.display for each in segments if each.words)
    *_, before_last, last = lines = long_after["text"].split("\n")
    assert (before_last, last) == ("998 and more", "999 and more")
    assert 50 < len(lines) <= 100  # or they would fill the memory
    assert closed == {"still_listening": False}
    for shown in (meanwhile, at_last, long_after):
        assert shown["colours"] == [BRIGHT, DIM]
        assert shown["status"] == "Desk"
        assert shown["viewable"]
        assert shown["last_line_in_sight"]


def test_the_window_is_drawn_and_ctrl_c_closes_it(display: Screen) -> None:
    with started("captions", WOMAN, environment=display.environment) as process:
        until(lambda: display.colours().get(NIGHT, 0) > 50_000)
        before = display.pixels()
        assert (before == 0xFFFFFF).sum() == 0  # nothing has been said
        until(lambda: display.colours().get(BRIGHT, 0) > 300)
        colours = display.colours()
        assert colours[NIGHT] > 50_000
        assert colours[DIM] > 20  # the name below
        assert (display.pixels() != before).sum() > 2_000
        assert interrupt(process) == (0, "", "")
    until(lambda: NIGHT not in display.colours())


def test_a_window_closes_while_a_microphone_is_heard(display: Screen) -> None:
    environment = {**display.environment, **microphone_of(WOMAN)}
    with started("captions", environment=environment) as process:
        until(lambda: display.colours().get(BRIGHT, 0) > 300)
        assert interrupt(process) == (0, "", "")


def test_the_window_says_that_the_microphone_is_gone(display: Screen) -> None:
    environment = {**display.environment, **microphone_of(WOMAN, WOMAN)}  # unplugged in between
    with started("captions", environment=environment) as process:
        until(lambda: display.colours().get(RED, 0) > 20)
        assert display.colours()[NIGHT] > 50_000
        assert interrupt(process) == (0, "", "")


def test_captions_of_nothing(display: Screen, tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    said = f"captions: cannot read {missing}: No such file or directory\n"
    assert run("captions", missing, environment=display.environment) == (1, "", said)
    said = 'captions: couldn\'t connect to display ":77777"\n'
    assert run("captions", WOMAN, environment={"DISPLAY": ":77777"}) == (1, "", said)
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    environment = {**display.environment, "PYTHONPATH": str(tmp_path)}
    code, out, err = run("captions", environment=environment)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.endswith("sudo apt-get install libportaudio2\n")


# video_subtitles.py


def make_video(file: Path, samples: np.ndarray, *options: str, delay: float = 0.0) -> None:
    """A blue picture, and sound that begins after `delay` seconds."""
    wav = file.with_suffix(".wav")
    soundfile.write(wav, samples, RATE)
    picture = ["-f", "lavfi", "-i", f"color=blue:size=64x64:rate=10:duration={len(samples) / RATE}"]
    sound = ["-itsoffset", str(delay), "-i", str(wav)]
    command = ["ffmpeg", "-nostdin", "-v", "error", *picture, *sound, *options, str(file)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two sentences, int16."""
    samples = [np.pad(read_audio(each, RATE), (0, RATE)) for each in (WOMAN, LET_HIM_ENTER)]
    return (np.concatenate(samples) * 32767).astype(np.int16)


@pytest.mark.parametrize("delay", [0.0, 2.0])
def test_subtitles_stand_where_it_is_said(
    speech: np.ndarray, delay: float, tmp_path: Path, transcriber: Transcriber
) -> None:
    video = tmp_path / "holiday.mkv"
    make_video(video, speech, "-c:a", "pcm_s16le", delay=delay)
    assert run("video_subtitles", video) == (0, f"{tmp_path}/holiday.srt\n", "")
    heard = np.pad(speech, (round(delay * RATE), 0))
    expected = to_srt(transcriber.transcribe(heard, RATE).segments)
    assert expected.count("-->") >= 2
    assert (tmp_path / "holiday.srt").read_text() == expected


def test_subtitles_of_compressed_sound(
    speech: np.ndarray, tmp_path: Path, transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    video, srt = Path("data:holiday.mp4"), Path("other.srt")  # which is no protocol of ffmpeg's
    make_video(video.absolute(), speech, "-c:a", "aac", "-ar", "44100", "-ac", "2")
    srt.write_text("to be replaced")
    with Terminal(command("video_subtitles", video, "-o", srt), os.environ) as terminal:
        terminal.read(60)
        assert terminal.process.wait(10) == 0
    *progress, last = filter(None, terminal.lines())
    assert last == str(srt)
    assert "10%" in progress
    assert "100%" in progress
    said = [line for line in srt.read_text().splitlines() if line[:1].isalpha()]
    assert likeness(" ".join(said), transcriber.transcribe(speech, RATE).text) >= 0.8


def test_videos_that_are_none(speech: np.ndarray, tmp_path: Path) -> None:
    silent, text = tmp_path / "silent.mkv", tmp_path / "text.mp4"
    make_video(silent, speech, "-an")
    text.write_text("this is no video")
    for video in (silent, text):
        code, out, err = run("video_subtitles", video)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("video_subtitles: ffmpeg failed: ")
        assert len(err) > 40
        assert not video.with_suffix(".srt").exists()


def test_subtitles_that_cannot_be_written(speech: np.ndarray, tmp_path: Path) -> None:
    video, srt = tmp_path / "holiday.mkv", tmp_path / "missing" / "holiday.srt"
    make_video(video, speech, "-c:a", "pcm_s16le")
    code, out, err = run("video_subtitles", video, "-o", srt)
    assert (code, out) == (1, "")
    assert err == f"video_subtitles: [Errno 2] No such file or directory: '{srt}'\n"
