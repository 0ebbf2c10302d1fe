"""`ds2edge data synth`: what is said is what the manifest says, whatever happens on the way."""

from __future__ import annotations

import json
import lzma
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from stand_in_speech import HERTZ, SECONDS_PER_LETTER, StandIns

from ds2edge import cli
from ds2edge.errors import DataError
from ds2edge.text import english_characters, normalise
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.processes import AHEAD
from ds2edge.training.synthesis import corpus, speak
from ds2edge.training.synthesis.corpus import SynthesisOptions, synthesise
from ds2edge.training.synthesis.engines import Espeak, Festival, Flite, Voice, find_voices

SENTENCES = ["The cat sat.", "Don't go - now!", "-v evil", '(system "touch x")', "<speak>Hi & bye"]


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    made = StandIns(tmp_path / "engines")
    monkeypatch.setenv("PATH", str(made.folder))
    return made


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(SENTENCES) + "\n")
    return path


def synth(*arguments: object) -> int:
    return cli.main(["data", "synth", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- What is said


def test_what_is_said_is_the_transcript_and_never_an_argument(
    engines: StandIns, text: Path, tmp_path: Path
) -> None:
    with lzma.open(tmp_path / "more.txt.xz", "wt") as file:
        file.write("Ein Café.\n\n42!\nlast one")
    assert synth(text, tmp_path / "more.txt.xz", "-o", tmp_path / "out", "--jobs", "1") == 0
    made = read_manifest(tmp_path / "out" / "manifest.tsv")
    lines = [*SENTENCES, "Ein Café.", "last one"]
    assert [u.text for u in made] == [normalise(line, english_characters()) for line in lines]
    calls = engines.calls()
    assert [call[2] for call in calls] == [u.text for u in made]
    for _, arguments, said in calls:
        assert not any(said in argument for argument in arguments)
    for utterance in made:
        info = soundfile.info(utterance.path)
        assert (info.format, info.samplerate, info.channels) == ("FLAC", 16_000, 1)
        assert info.duration == pytest.approx(utterance.seconds, abs=1e-3)
        assert utterance.split == "train"


@pytest.mark.parametrize("engine", [Flite(), Festival(), Espeak()])
def test_text_reaches_an_engine_as_it_is(engine: Any, engines: StandIns) -> None:
    for tricky in ("-o /etc/x", '(system "rm")', "<speak>'\"`$(id)", "@file"):
        samples = speak.speak(engine.voices("en")[0], tricky, 1.0, 1.0)
        assert len(samples) > 0
        ((_, _, said),) = engines.calls()
        assert said == tricky


def test_accents_are_kept_for_the_engine_that_knows_them(engines: StandIns) -> None:
    for engine in (Flite(), Espeak()):
        speak.speak(engine.voices("en")[0], "café", 1.0, 1.0)
    assert [call[2] for call in engines.calls()] == ["cafe", "café"]


@pytest.mark.parametrize("engine", [Flite(), Festival()])
@pytest.mark.parametrize(("pitch", "rate"), [(1.0, 1.0), (1.25, 1.0), (0.8, 1.3)])
def test_pitch_and_rate_are_those_asked_for(
    engine: Any, pitch: float, rate: float, engines: StandIns
) -> None:
    samples = speak.speak(engine.voices("en")[0], "a" * 30, pitch, rate)
    assert len(samples) / 16_000 == pytest.approx(30 * SECONDS_PER_LETTER / rate, rel=0.01)
    peak = np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples)
    assert peak == pytest.approx(HERTZ * pitch, abs=1)


def test_espeak_is_told_pitch_rate_and_variant(engines: StandIns) -> None:
    voice = Voice(Espeak(), "gmw/en-US", "Mr serious")
    speak.speak(voice, "hello", 1.33, 0.8)
    ((_, arguments, _),) = engines.calls()
    assert arguments[:6] == ["-v", "gmw/en-US+Mr serious", "-p", "80", "-s", "140"]
    assert voice.speaker == "espeak-ng-en-US+Mr_serious"


def test_loud_speech_is_not_clipped(engines: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speak, "read_audio", lambda *_: np.array([2.0, -1.0], np.float32))
    assert speak.speak(Flite().voices("en")[0], "hello", 1.0, 1.0).tolist() == [1.0, -0.5]


# ---- Who says it


def test_voices_are_those_the_engines_list(
    engines: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synth("--list-voices") == 0
    assert capsys.readouterr().out.split() == [
        *("flite-kal", "flite-slt"),
        *("espeak-ng-en-US", "espeak-ng-en-US+f2", "espeak-ng-en-US+Mr_serious"),
        "festival-kal_diphone",
    ]
    assert synth("--list-voices", "--voices", "flite-s*", "*f2", "--engine", "espeak-ng") == 2
    assert synth("--list-voices", "--voices", "flite-s*", "*f2") == 0
    assert capsys.readouterr().out.split() == ["flite-slt", "espeak-ng-en-US+f2"]


def test_engines_share_the_sentences_whatever_their_voices(
    engines: StandIns, tmp_path: Path
) -> None:
    voices, _ = find_voices([], "en", [])
    options = SynthesisOptions(pitch=(0.9, 1.1))
    plans = list(corpus.plan(map(str, range(900)), tmp_path, voices, options))
    counts = Counter(plan.voice.engine.name for plan in plans)
    assert all(230 < count < 370 for count in counts.values())
    assert {plan.voice.speaker for plan in plans} == {voice.speaker for voice in voices}
    pitches = np.array([plan.pitch for plan in plans])
    assert 0.9 <= pitches.min() < 0.91
    assert 1.09 < pitches.max() <= 1.1
    others = corpus.plan(map(str, range(900)), tmp_path, voices, replace(options, seed=1))
    assert sum(a.path == b.path for a, b in zip(plans, others, strict=True)) < 9


def test_another_language(engines: StandIns, tmp_path: Path) -> None:
    (tmp_path / "zh.txt").write_text("你好,世界。\n")
    tokens = ("--language", "cmn", "--tokens", "mandarin_characters")
    assert synth(tmp_path / "zh.txt", "-o", tmp_path / "out", *tokens) == 0
    (made,) = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert made.text == "你好世界"
    assert made.speaker.startswith("espeak-ng-cmn")
    assert [call[2] for call in engines.calls()] == ["你好世界"]


def test_a_missing_engine_is_named_with_its_package(
    engines: StandIns, text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engines.remove("text2wave")
    both = ("--engine", "flite", "--engine", "festival")
    assert synth(text, "-o", tmp_path / "out", *both) == 0
    expected = "festival is not installed: sudo apt-get install festival festvox-kallpc16k"
    assert caplog.messages == [expected]
    caplog.clear()
    assert synth(text, "-o", tmp_path / "other") == 0  # nobody asked for it
    assert caplog.messages == []


def test_an_engine_that_does_not_answer_is_done_without(
    engines: StandIns, text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (engines.folder / "flite").write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    assert synth(text, "-o", tmp_path / "out", "--engine", "flite", "--engine", "espeak-ng") == 0
    assert caplog.messages == ["flite does not list its voices (exit code 3): broken"]
    assert {call[0] for call in engines.calls()} == {"espeak-ng"}


# ---- How it ends


def test_the_result_does_not_depend_on_the_jobs(
    engines: StandIns, text: Path, tmp_path: Path
) -> None:
    for jobs in (1, 3):
        assert synth(text, "-o", tmp_path / str(jobs), "--jobs", jobs, "--seed", "7") == 0
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_what_is_there_whole_is_kept(engines: StandIns, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert synth(text, "-o", out) == 0
    before = contents(out)
    engines.calls()
    first, second, third, *_ = sorted((out / "audio").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:10])
    (out / "audio" / "x.flac.99.part").write_bytes(b"of a process that was killed")
    (out / "manifest.tsv").unlink()
    kept = third.stat().st_mtime_ns
    assert synth(text, "-o", out) == 0
    assert contents(out) == before
    assert third.stat().st_mtime_ns == kept
    assert len(engines.calls()) == 2


def test_a_sentence_that_fails_is_left_out_and_counted(
    engines: StandIns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = ("this fails", "empty", "silent", "nothing", "this fails too", "so long " * 50)
    (tmp_path / "text.txt").write_text("\n".join(("good one", *bad, "good two")))
    out = tmp_path / "out"
    assert synth(tmp_path / "text.txt", "-o", out, "--engine", "flite") == 0
    assert [u.text for u in read_manifest(out / "manifest.tsv")] == ["good one", "good two"]
    assert len(list((out / "audio").iterdir())) == 2
    expected = {
        "flite failed (exit code 1)": 2,
        "flite wrote no audio": 2,
        "flite was silent": 1,
        "longer than 20 s": 1,
    }
    assert json.loads((out / "synthesis.json").read_text())["left_out"] == expected
    said = capsys.readouterr().out
    assert "2 sentences" in said
    assert "2 times flite failed (exit code 1)" in said


def test_an_engine_that_hangs_is_killed(
    engines: StandIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speak, "TIME_LIMIT", 0.2)
    with pytest.raises(speak.NotSpokenError, match=r"flite took more than 0.2 s"):
        speak.speak(Flite().voices("en")[0], "it hangs", 1.0, 1.0)


def test_it_gives_up_when_nothing_can_be_spoken(
    engines: StandIns,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corpus, "HOPELESS", 5)
    (tmp_path / "text.txt").write_text("it fails\n" * 2 * AHEAD)
    out = tmp_path / "out"
    assert synth(tmp_path / "text.txt", "-o", out, "--engine", "flite") == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert error == "ds2edge: no sentence was spoken: 5 times flite failed (exit code 1)"
    assert not (out / "manifest.tsv").exists()
    assert len(engines.calls()) < 2 * AHEAD


def test_hours_end_it_without_a_surplus(
    engines: StandIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tmp_path / "text.txt"
    texts.write_text("".join(f"sentence {'abcdefghij'[i]}\n" for i in range(10)))
    pace = ("--rate", 1, 1, "--pitch", 1, 1)
    assert synth(texts, "-o", tmp_path / "out", "--hours", 2.1 / 3600, *pace, "--jobs", 2) == 0
    made = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert [u.text[-1] for u in made] == ["a", "b", "c", "d"]  # of 0.66 s each
    assert len(list((tmp_path / "out" / "audio").iterdir())) == 4
    assert synth(texts, "-o", tmp_path / "out", "--limit", "2", *pace) == 0
    assert len(read_manifest(tmp_path / "out" / "manifest.tsv")) == 2


def test_a_text_is_in_one_split(engines: StandIns, tmp_path: Path) -> None:
    voices, _ = find_voices([], "en", [])
    texts = [f"text {i % 400}" for i in range(800)]
    plans = list(corpus.plan(texts, tmp_path, voices, SynthesisOptions(dev_share=0.25)))
    dev, train = ({p.text for p in plans if p.split == name} for name in ("dev", "train"))
    assert not dev & train
    assert 60 < len(dev) < 140


def test_interrupted_it_leaves_what_is_whole(
    engines: StandIns, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices, _ = find_voices(["flite"], "en", [])
    whole = threading.Event()

    def stop(*_: object) -> None:
        whole.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus.Synthesis, "take", stop)
    with pytest.raises(KeyboardInterrupt):
        synthesise([text], tmp_path / "out", english_characters(), voices, SynthesisOptions())
    assert whole.is_set()
    assert not (tmp_path / "out" / "manifest.tsv").exists()
    for path in (tmp_path / "out" / "audio").iterdir():
        assert soundfile.info(path).frames > 0


def test_another_corpus_is_not_replaced(engines: StandIns, text: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_text("mine")
    with pytest.raises(DataError, match="is another corpus's, which this one would replace"):
        synthesise([text], tmp_path, english_characters(), [], SynthesisOptions())
    assert (tmp_path / "manifest.tsv").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{text}"], "needed: TEXT and -o FOLDER, or --list-voices"),
        (["{text}", "-o", "{out}", "--pitch", "1.2", "0.8"], "--pitch needs two numbers from 0.5"),
        (["{text}", "-o", "{out}", "--rate", "0", "1"], "--rate needs two numbers from 0.5 to 2"),
        (["{text}", "-o", "{out}", "--limit", "0"], "need more than 0"),
        (["{text}", "-o", "{out}", "--dev-share", "1"], "--dev-share needs 0 or more and less"),
        (["{text}", "-o", "{out}", "--voices", "nobody"], "no voice is called 'nobody'"),
        (["{text}", "-o", "{out}", "--language", "xx"], "has no voice that speaks 'xx'"),
        (["{text}x", "-o", "{out}"], "cannot read text"),
        (["{text}", "-o", "{out}", "--engine", "loud"], "invalid choice: 'loud'"),
    ],
)
def test_bad_use_is_one_line(
    arguments: list[str],
    message: str,
    engines: StandIns,
    text: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code: object
    try:
        code = synth(*(a.format(text=text, out=tmp_path / "out") for a in arguments))
    except SystemExit as end:
        code = end.code
    assert code == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert error.startswith("ds2edge: ")
    assert message in error


def test_without_any_engine_the_packages_are_named(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert synth(text, "-o", tmp_path / "out") == 2
    (error,) = capfd.readouterr().err.splitlines()
    for package in ("flite", "espeak-ng", "festival festvox-kallpc16k"):
        assert f"sudo apt-get install {package}" in error


def test_help_has_examples(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        synth("--help")
    assert "ds2edge data synth sentences.txt -o speech/synthetic" in capfd.readouterr().out
