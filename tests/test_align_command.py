"""`ds2edge data align`: real recordings, texts that differ from them, and what it writes."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SPEECH, interruptible
from long_recording import LongRecording, make_long

from ds2edge import cli
from ds2edge.errors import DataError
from ds2edge.text import english_characters, mandarin_characters
from ds2edge.training.construction.align_command import normalised_lines, output_names
from ds2edge.training.construction.alignment import Alignment, read_alignment, to_json
from ds2edge.training.construction.hearing import LONGEST, SHORTEST, hear, pieces
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation.listener import open_listener

EXACT = 0.1  # s


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> LongRecording:
    return make_long(tmp_path_factory.mktemp("long"), times=2)


@pytest.fixture(scope="module")
def aligned(long: LongRecording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes of it."""
    folder = tmp_path_factory.mktemp("aligned")
    arguments = ["data", "align", str(long.path), "-o", str(folder), "--jobs", "1"]
    assert cli.main([*arguments, "--speaker", "many", "--split", "dev"]) == 0
    return folder


def assert_cuts_between(alignment: Alignment, cuts: list[float]) -> None:
    """Each true cut lies after the words of the lines before it, before those after it."""
    for line, cut in enumerate(cuts):
        before = [word.end for word in alignment.found if word.line <= line]
        after = [word.start for word in alignment.found if word.line > line]
        assert max(before) - EXACT <= cut <= min(after) + EXACT


def test_every_word_lies_where_it_was_said(aligned: Path, long: LongRecording):
    alignment = read_alignment(aligned / "long.json")
    assert [word.text for word in alignment.words] == long.words
    assert [word.line for word in alignment.words] == sorted(w.line for w in alignment.words)
    assert alignment.share_found() > 0.95
    assert alignment.share_explained() > 0.95
    assert_cuts_between(alignment, long.cuts)
    for first, second in pairwise(alignment.found):
        assert 0 <= first.start <= first.end <= second.start <= alignment.seconds
    assert all(0 <= word.score <= 1 for word in alignment.words)
    assert (alignment.speaker, alignment.split) == ("many", "dev")


def test_a_word_starts_where_it_is_heard(aligned: Path, long: LongRecording):
    alignment = read_alignment(aligned / "long.json")
    samples, rate = soundfile.read(long.path)
    loudness = np.sqrt(np.convolve(samples**2, np.ones(320) / 320, "same"))
    for line, (start, end) in enumerate(pairwise([0.0, *long.cuts, alignment.seconds])):
        own = loudness[int(start * rate) : int(end * rate)]
        (loud,) = np.nonzero(own > own.max() / 20)
        words = [word for word in alignment.found if word.line == line]
        assert abs(words[0].start - start - loud[0] / rate) < EXACT
        assert abs(words[-1].end - start - loud[-1] / rate) < 3 * EXACT  # it may ring on


def test_pauses_are_between_words(aligned: Path, long: LongRecording):
    alignment = read_alignment(aligned / "long.json")
    for cut in long.cuts:
        assert any(pause.start <= cut <= pause.end for pause in alignment.pauses)
    for pause in alignment.pauses:
        for word in alignment.found:
            assert word.end <= pause.start + EXACT or word.start >= pause.end - EXACT


def test_words_that_were_not_said_are_left_out(
    long: LongRecording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """One line more, one line less than what is said."""
    lines = [
        *long.lines[:3],
        "zebras quickly paint blue violins",
        *long.lines[3:7],
        *long.lines[8:],
    ]
    text = tmp_path / "rough.txt"
    text.write_text("\n".join(lines))
    arguments = ["data", "align", str(long.path), "--text", str(text), "-o", str(tmp_path / "out")]
    assert cli.main([*arguments, "--jobs", "1"]) == 0
    alignment = read_alignment(tmp_path / "out" / "long.json")
    by_line = [
        [word.found for word in alignment.words if word.line == i] for i in range(len(lines))
    ]
    assert not any(by_line[3])
    assert all(np.mean(found) > 0.7 for i, found in enumerate(by_line) if i != 3)
    assert any(
        stretch.seconds > 1 and long.cuts[6] - 1 < stretch.start < long.cuts[7]
        for stretch in alignment.foreign
    )
    assert "% of what is said" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("der schnelle braune fuchs springt ueber den faulen hund und schläft " * 9, "belong"),
        ("北京欢迎你", "no word that the model can spell"),
        ("\n", "no word that the model can spell"),
    ],
)
def test_another_text_is_refused(
    long: LongRecording, tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "other.txt").write_text(text)
    out = tmp_path / "out"
    arguments = ["data", "align", str(long.path), "--text", str(tmp_path / "other.txt")]
    assert cli.main([*arguments, "-o", str(out), "--jobs", "1"]) == 2
    assert said in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert not list(out.iterdir())


def test_textgrid_covers_the_recording(aligned: Path):
    alignment = read_alignment(aligned / "long.json")
    content = (aligned / "long.TextGrid").read_text()
    tiers = content.split("item [")[2:]
    assert len(tiers) == 2
    for tier in tiers:
        size = int(re.search(r"intervals: size = (\d+)", tier)[1])
        edges = re.findall(r"xmin = ([\d.]+)\n +xmax = ([\d.]+)\n +text", tier)
        assert len(edges) == size
        assert [float(edges[0][0]), float(edges[-1][1])] == [0, alignment.seconds]
        assert all(a[1] == b[0] for a, b in pairwise(edges))
    texts = [text for text in re.findall(r'text = "(.*)"', tiers[0]) if text]
    assert texts == [word.text for word in alignment.found]


def test_page_and_subtitles_have_all_words(aligned: Path, long: LongRecording):
    subtitles = (aligned / "long.srt").read_text()
    said = " ".join(line for line in subtitles.splitlines() if line and not re.match(r"\d", line))
    alignment = read_alignment(aligned / "long.json")
    assert {word.text for word in alignment.found} <= set(said.split())
    page = (aligned / "long.html").read_text()
    shown = re.findall(r'data-start="([\d.]+)"[^>]*>([a-z\']+)<', page)
    assert shown == [(str(word.start), word.text) for word in alignment.found]
    linked = re.search(r'<audio id="audio"[^>]* src="([^"]+)"', page)[1]
    assert (aligned / linked).resolve() == long.path.resolve()


def test_manifest_names_the_alignment(aligned: Path, long: LongRecording):
    header, row = (aligned / "manifest.tsv").read_text().splitlines()
    values = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert values["alignment"] == "long.json"
    assert (aligned / values["path"]).resolve() == long.path.resolve()
    assert values["text"].split() == long.words


def test_a_second_call_keeps_what_is_there(
    aligned: Path, long: LongRecording, monkeypatch: pytest.MonkeyPatch
):
    def never(*_: object) -> None:
        raise AssertionError("it was heard again")

    command = sys.modules["ds2edge.training.construction.align_command"]
    monkeypatch.setattr(command, "hear", never)
    arguments = ["data", "align", str(long.path), "-o", str(aligned), "--jobs", "1"]
    assert cli.main([*arguments, "--speaker", "many", "--split", "dev"]) == 0
    with pytest.raises(AssertionError, match="again"):
        cli.main([*arguments, "--speaker", "other"])


def test_several_recordings_of_a_folder_and_one_that_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    for utterance in read_manifest(SPEECH / "manifest.tsv")[:2]:
        shutil.copy(utterance.path, tmp_path)
        (tmp_path / utterance.path.name).with_suffix(".txt").write_text(utterance.text)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    (tmp_path / "broken.txt").write_text("no sound")
    out = tmp_path / "out"
    assert cli.main(["data", "align", str(tmp_path), "-o", str(out), "--jobs", "2"]) == 1
    assert "broken.wav is not a readable recording" in caplog.text
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert len(list(out.glob("*.json"))) == 2
    assert len((out / "manifest.tsv").read_text().splitlines()) == 3


def test_pieces_are_the_recording_cut_where_it_is_quiet(long: LongRecording):
    listener = open_listener("en")
    samples, _ = soundfile.read(long.path, dtype="float32")
    found = list(pieces(long.path, listener))
    assert len(found) > 1
    np.testing.assert_array_equal(np.concatenate(found), samples)
    at = 0
    for piece in found[:-1]:
        at += len(piece)
        assert len(piece) % listener.step_samples == 0
        assert SHORTEST <= len(piece) / listener.sample_rate <= LONGEST
        assert np.abs(samples[at - 400 : at + 400]).max() < 0.01


def test_jobs_change_nothing(long: LongRecording, tmp_path: Path):
    one, two = (hear(long.path, "en", [0, 1, 5], tmp_path, jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(one.loud, two.loud)
    assert not list(tmp_path.iterdir())
    assert 0.5 < one.loud.mean() < 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{long}", "--text", "{tmp}/none.txt"], "cannot read the text {tmp}/none.txt"),
        (["{tmp}/none.wav", "--text", "{text}"], "cannot read {tmp}/none.wav"),
        (["{long}", "--text", "{long}"], "is no UTF-8 text"),
        (["{long}", "{long}"], "named twice"),
        (["{long}", "--jobs", "0"], "--jobs needs 1 or more"),
        (["{long}", "--foreign", "-1"], "foreign needs"),
        (["{long}", "--beam", "nan"], "beam needs"),
        (["{long}", "--bundle", "{tmp}/none"], "{tmp}/none"),
        (["{long}", "--checkpoint", "{text}"], "{text}"),
    ],
)
def test_bad_input_is_one_line(
    long: LongRecording,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
):
    places = {"long": long.path, "tmp": tmp_path, "text": long.path.with_suffix(".txt")}
    given = [argument.format(**places) for argument in arguments]
    assert cli.main(["data", "align", *given, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said.format(**places) in error
    assert error.count("\n") == 1


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path):
    make_long(tmp_path / "in", times=12)
    out = tmp_path / "out"
    command = [sys.executable, "-P", "-m", "ds2edge.cli", "data", "align", str(tmp_path / "in")]
    with subprocess.Popen(
        [*command, "-o", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        while not out.exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 130
    assert error == "ds2edge: interrupted\n"
    assert not list(out.iterdir())


def test_no_tensorflow_is_needed(long: LongRecording, tmp_path: Path):
    """The extra `data` does without."""
    program = (
        "import sys; from ds2edge import cli\n"
        f"assert cli.main(['data', 'align', {str(long.path)!r}, '-o', {str(tmp_path)!r}, "
        "'--jobs', '1']) == 0\n"
        "assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules), 'it was loaded'\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, capture_output=True)
    assert (tmp_path / "long.json").exists()


def test_a_full_disk_is_one_line(
    long: LongRecording, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        code = cli.main(["data", "align", str(long.path), "-o", str(tmp_path), "--jobs", "1"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2
    assert capfd.readouterr().err == f"ds2edge: {tmp_path}: File too large\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sound", ["silence", "noise", "hardly any"])
def test_what_is_no_speech_is_refused(
    tmp_path: Path, sound: str, capsys: pytest.CaptureFixture[str]
):
    noise = np.random.default_rng(1).normal(size=80_000) * 0.1
    samples = {"silence": noise * 0, "noise": noise, "hardly any": noise[:1]}[sound]
    soundfile.write(tmp_path / "a.wav", samples, 48_000)
    (tmp_path / "a.txt").write_text("i am going sir and i do not hesitate")
    out = tmp_path / "out"
    assert cli.main(["data", "align", str(tmp_path / "a.wav"), "-o", str(out)]) == 2
    said = "is too short" if sound == "hardly any" else "do not belong together"
    assert said in capsys.readouterr().err
    assert not list(out.iterdir())


def test_a_moved_recording_is_found_and_another_one_takes_no_place(
    long: LongRecording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recording = read_manifest(SPEECH / "manifest.tsv")[0]
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    first, out = tmp_path / "a" / "one.mp3", tmp_path / "out"
    shutil.copy(recording.path, first)
    first.with_suffix(".txt").write_text(recording.text)
    command = ["data", "align", "-o", str(out)]
    assert cli.main([*command, str(first)]) == 0
    moved = Path(shutil.move(first, tmp_path / "b"))
    shutil.move(first.with_suffix(".txt"), tmp_path / "b")
    assert cli.main([*command, str(moved)]) == 0
    found = read_alignment(out / "one.json")
    assert (out / found.recording).resolve() == moved.resolve()
    other = tmp_path / "c" / "one.mp3"
    shutil.copy(read_manifest(SPEECH / "manifest.tsv")[1].path, other)
    other.with_suffix(".txt").write_text(recording.text)
    assert cli.main([*command, str(other)]) == 2
    assert "is of another recording" in capsys.readouterr().err
    assert read_alignment(out / "one.json") == found
    # What calls before have aligned stays in the manifest.
    assert cli.main([*command, str(long.path), "--jobs", "1"]) == 0
    assert len(read_manifest(out / "manifest.tsv")) == 2


def test_files_of_others_stay(long: LongRecording, tmp_path: Path):
    (tmp_path / "film.part").write_text("half of a film")
    (tmp_path / "manifest.tsv").write_text("path\tseconds\ttext\tspeaker\tsplit\n")
    command = ["data", "align", str(long.path), "-o", str(tmp_path), "--jobs", "1"]
    assert cli.main(command) == 2
    (tmp_path / "manifest.tsv").unlink()
    assert cli.main(command) == 0
    assert (tmp_path / "film.part").read_text() == "half of a film"


@pytest.mark.parametrize("damage", ["{", '{"format": 2}', '{"format": 1, "words": 3}', "[]"])
def test_damaged_alignments_are_refused(tmp_path: Path, damage: str):
    path = tmp_path / "a.json"
    path.write_text(damage)
    with pytest.raises(DataError, match=r"a\.json is not from `ds2edge data align`"):
        read_alignment(path)


def test_json_is_read_as_it_was_written(aligned: Path, tmp_path: Path):
    alignment = read_alignment(aligned / "long.json")
    (tmp_path / "again.json").write_text(to_json(alignment))
    assert read_alignment(tmp_path / "again.json") == alignment
    assert json.loads(to_json(alignment))["format"] == 1


def test_mandarin_words_are_characters():
    lines = normalised_lines(["北京 。欢迎你", ""], mandarin_characters())
    assert lines == [list("北京欢迎你"), []]
    assert normalised_lines(["Don't stop!"], english_characters()) == [["don't", "stop"]]


def test_recordings_of_one_name_keep_apart():
    paths = [Path("a/one.wav"), Path("b/one.flac"), Path("two.wav")]
    assert output_names(paths) == ["a-one.wav", "b-one.flac", "two"]
    with pytest.raises(DataError, match="both be called x-one"):
        output_names([Path("a/x/one.wav"), Path("b/x/one.wav")])
