"""Long recordings cut in pauses: never in a word, nothing twice, about as long as asked for."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from long_recording import LongRecording, make_long

from ds2edge import cli
from ds2edge.audio_file import read_audio
from ds2edge.training.construction.alignment import AlignedWord, Alignment, Stretch, to_json
from ds2edge.training.construction.segments import SegmentOptions, segment, spoken_words
from ds2edge.training.data.manifest import read_manifest

LETTERS = "abcdefgh"


@st.composite
def alignments(draw: st.DrawFn) -> Alignment:
    """Words, some not found, with pauses and speech without text between some of them."""
    words, pauses, foreign, at = [], [], [], 0  # ms
    for number in range(draw(st.integers(1, 40))):
        kind = draw(st.sampled_from(["word", "word", "word", "missing", "pause", "foreign"]))
        text = LETTERS[number % 8] * draw(st.integers(1, 8))
        if kind == "missing":
            words.append(AlignedWord(text, 0))
            continue
        begin, at = at, at + draw(st.integers(100, 1500))
        if kind == "word":
            words.append(AlignedWord(text, 0, begin / 1000, at / 1000, 0.5))
        else:
            (pauses if kind == "pause" else foreign).append(Stretch(begin / 1000, at / 1000))
    return Alignment(
        "long.flac", at / 1000 + 0.5, "en", "", "train", tuple(words), tuple(pauses), tuple(foreign)
    )


OPTIONS = st.builds(
    SegmentOptions,
    target=st.floats(2, 7),
    longest=st.floats(7, 12),
    pause=st.floats(0.1, 0.6),
    margin=st.floats(0, 0.5),
)


@given(alignments(), OPTIONS)
def test_segments_end_in_pauses_and_have_all_their_words(found: Alignment, options: SegmentOptions):
    kept, dropped = segment(found, options)
    every = sorted([*kept, *dropped], key=lambda one: one.start)
    for first, second in itertools.pairwise(every):
        assert first.end <= second.start + 1e-3
    edges = [edge for one in kept for edge in (one.start, one.end)]
    for edge in edges:
        assert edge in (0, round(found.seconds, 3)) or any(
            pause.start - 1e-3 <= edge <= pause.end + 1e-3 and pause.seconds >= options.pause
            for pause in found.pauses
        )
        assert not any(word.start + 1e-3 < edge < word.end - 1e-3 for word in found.found)
    inside = [word for word in found.found if any(s.start <= word.start < s.end for s in kept)]
    assert [word for one in kept for word in one.words if word.score] == inside
    for one in kept:
        assert options.shortest <= one.seconds <= options.longest + 1e-3
        assert one.foreign <= options.foreign
    lost = [w for w in found.found if not any(s.start <= w.start < s.end for s in kept)]
    assert all(any(d.start - 1e-3 <= word.start < d.end for d in dropped) for word in lost)


def evenly(count: int, word: float, pause: float) -> Alignment:
    """Words of one length with pauses of one length between them."""
    each = word + pause
    words = [AlignedWord("a", 0, i * each, i * each + word, 0.9) for i in range(count)]
    pauses = [Stretch(i * each + word, (i + 1) * each) for i in range(count)]
    return Alignment("x.wav", count * each, "en", "", "", tuple(words), tuple(pauses), ())


@pytest.mark.parametrize("target", [3.0, 5.0, 7.0])
def test_lengths_are_near_the_target(target: float):
    kept, dropped = segment(evenly(100, 0.5, 0.5), SegmentOptions(target=target))
    assert not dropped
    assert abs(np.mean([one.seconds for one in kept]) - target) < 0.3
    assert sum(len(one.words) for one in kept) == 100


def test_no_shorter_pause_is_cut_in():
    assert len(segment(evenly(13, 0.5, 0.4), SegmentOptions(pause=0.4))[0]) == 2
    kept, dropped = segment(evenly(30, 0.5, 0.4), SegmentOptions(pause=0.41))
    assert not kept
    assert dropped[0].reason == "no pause within 15 s"


def test_silence_beyond_the_margin_is_left_out():
    kept, _ = segment(evenly(2, 5.0, 4.0), SegmentOptions(margin=0.25))
    assert [(one.start, one.end) for one in kept] == [(0.0, 5.25), (8.75, 14.25)]


def test_a_missing_word_counts_where_something_was_said():
    words = (
        AlignedWord("one", 0, 0.0, 0.5, 0.9),
        AlignedWord("two", 0),
        AlignedWord("three", 0, 1.0, 1.5, 0.9),
        AlignedWord("four", 0),
        AlignedWord("five", 0, 2.0, 2.5, 0.9),
    )
    found = Alignment("x", 3.0, "en", "", "", words, (), (Stretch(0.6, 0.95),))
    assert [word.text for word in spoken_words(found)] == ["one", "two", "three", "five"]
    guessed = spoken_words(found)[1]
    assert (guessed.start, guessed.end, guessed.score) == (0.6, 0.95, 0.0)
    (only,), _ = segment(found, SegmentOptions())
    assert only.text == "one two three five"
    assert only.foreign == 0


def test_speech_without_text_makes_no_segment():
    words = (AlignedWord("one", 0, 0.0, 2.0, 0.9), AlignedWord("two", 0, 8.0, 10.0, 0.9))
    pauses = (Stretch(2.0, 3.0), Stretch(7.0, 8.0))
    found = Alignment("x", 10.0, "en", "", "", words, pauses, (Stretch(3.0, 7.0),))
    kept, dropped = segment(found, SegmentOptions())
    assert [one.text for one in kept] == ["one", "two"]
    assert [one.reason for one in dropped] == ["speech without text"]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[LongRecording, Path]:
    """A recording, and the folder of its alignment, by hand: each sample is a word."""
    folder = tmp_path_factory.mktemp("aligned")
    recording = make_long(folder)
    seconds = soundfile.info(recording.path).duration
    edges = [0.0, *recording.cuts, seconds]
    words, pauses = [], []
    for i, (start, end) in enumerate(itertools.pairwise(edges)):
        words.append(AlignedWord(f"{'abcde'[i]}", i, start + 0.25, end - 0.25, 0.9))
        pauses.append(Stretch(end - 0.25, min(end + 0.25, seconds)))
    found = Alignment("long.flac", seconds, "en", "she", "dev", tuple(words), tuple(pauses), ())
    (folder / "long.json").write_text(to_json(found))
    return recording, folder


def run(folder: Path, out: Path, *more: str) -> int:
    return cli.main(["data", "segment", str(folder / "long.json"), "-o", str(out), *more])


def test_command_writes_the_samples_of_each_segment(
    long: tuple[LongRecording, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recording, folder = long
    assert run(folder, tmp_path, "--target", "4") == 0
    rows = read_manifest(tmp_path / "manifest.tsv", "dev")
    whole = read_audio(recording.path, 16_000)
    assert "".join(row.text for row in rows).replace(" ", "") == "abcde"
    for row in rows:
        samples = read_audio(row.path, 16_000)
        start = round(int(row.path.stem.split("-")[-2]) * 16)
        np.testing.assert_allclose(samples, whole[start : start + len(samples)], atol=1e-4)
        assert len(samples) / 16_000 == pytest.approx(row.seconds, abs=0.01)
        assert row.speaker == "she"
    assert (tmp_path / "lengths.png").read_bytes().startswith(b"\x89PNG")
    assert f"{len(rows)} segments" in capsys.readouterr().out
    before = {row.path: row.path.stat().st_mtime_ns for row in rows}
    assert run(folder, tmp_path, "--target", "4") == 0
    assert before == {row.path: row.path.stat().st_mtime_ns for row in rows}


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_rate_and_channels_of_the_recording_may_be_any(
    long: tuple[LongRecording, Path], tmp_path: Path, rate: int
):
    recording, folder = long
    mono = read_audio(recording.path, rate)
    soundfile.write(tmp_path / "long.flac", np.stack([mono, mono], axis=1), rate)
    (tmp_path / "long.json").write_text((folder / "long.json").read_text())
    assert run(tmp_path, tmp_path / "out") == 0
    for row in read_manifest(tmp_path / "out" / "manifest.tsv"):
        assert soundfile.info(row.path).samplerate == rate
        assert soundfile.info(row.path).channels == 1
        assert soundfile.info(row.path).duration == pytest.approx(row.seconds, abs=0.01)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--target", "0.5"], "need 0 < shortest <= target <= longest"),
        (["--pause", "-1"], "pause needs 0 s or more"),
        (["--longest", "nan"], "longest needs 0 s or more"),
        (["--target", "1", "--longest", "1.5"], "nothing is left of 1 recordings: 5"),
    ],
)
def test_bad_options_are_one_line(
    long: tuple[LongRecording, Path],
    tmp_path: Path,
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
):
    assert run(long[1], tmp_path, *more) == 2
    assert said in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert not (tmp_path / "manifest.tsv").exists()


def test_audio_of_another_recording_is_never_taken(
    long: tuple[LongRecording, Path], tmp_path: Path
):
    recording, folder = long
    samples = read_audio(recording.path, 16_000)
    alignment = (folder / "long.json").read_text()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "long.json").write_text(alignment)
    soundfile.write(tmp_path / "a" / "long.flac", samples, 16_000)
    soundfile.write(tmp_path / "b" / "long.flac", -samples, 16_000)
    both = [str(tmp_path / name / "long.json") for name in ("a", "b")]
    out = tmp_path / "out"
    assert cli.main(["data", "segment", *both, "-o", str(out)]) == 0
    rows = read_manifest(out / "manifest.tsv")
    half = len(rows) // 2
    for one, other in zip(rows[:half], rows[half:], strict=True):
        np.testing.assert_allclose(
            read_audio(one.path, 16_000), -read_audio(other.path, 16_000), atol=1e-4
        )
    whole = rows[0].path.read_bytes()
    rows[0].path.write_bytes(whole[: len(whole) // 2])  # a loss of power
    assert cli.main(["data", "segment", *both, "-o", str(out)]) == 0
    assert rows[0].path.read_bytes() == whole


def test_a_word_that_reaches_into_the_pause_is_whole():
    words = (AlignedWord("one", 0, 0.0, 2.05, 0.9), AlignedWord("two", 0, 9.0, 16.0, 0.9))
    found = Alignment("x", 16.5, "en", "", "", words, (Stretch(2.0, 9.0),), ())
    kept, _ = segment(found, SegmentOptions(margin=0.0))
    assert [(one.start, one.end) for one in kept] == [(0.0, 2.05), (9.0, 16.5)]


def test_a_recording_that_is_gone_or_another_one_is_named(
    long: tuple[LongRecording, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "long.json").write_text((long[1] / "long.json").read_text())
    assert run(tmp_path, tmp_path / "out") == 2
    assert f"cannot read {tmp_path / 'long.flac'}" in capsys.readouterr().err
    soundfile.write(tmp_path / "long.flac", read_audio(long[0].path, 16_000)[:80_000], 16_000)
    assert run(tmp_path, tmp_path / "out") == 2
    assert "align it again" in capsys.readouterr().err
    assert not (tmp_path / "out" / "manifest.tsv").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert cli.main(["data", "segment", str(empty), "-o", str(tmp_path / "out")]) == 2
    assert "has no .json file" in capsys.readouterr().err
