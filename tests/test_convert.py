"""Conversion: the step graph is the checkpoint's model, and a bundle says so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS, SPEECH, tiny_checkpoint

from ds2edge import Bundle, Transcriber, load_bundle
from ds2edge.acoustic import StepModel, run_chunks
from ds2edge.backends import load_backend
from ds2edge.bundle import CARD, LANGUAGE_MODEL, LEXICON, write_bundle
from ds2edge.cli import main as cli
from ds2edge.convert.artefacts import Converted, Form, convert_model, log_probs_of
from ds2edge.convert.card import model_card
from ds2edge.convert.converter import Told, compare, convert, probe_frames
from ds2edge.convert.footprint import measure_footprint
from ds2edge.convert.parity import (
    LIMITS,
    Difference,
    check_error_rates,
    check_gate,
    difference,
)
from ds2edge.errors import BackendError, BundleError, ConfigError, DataError
from ds2edge.language_model import LanguageModel
from ds2edge.runtimes.compiled_model import load_compiled_model
from ds2edge.runtimes.stderr import captured_stderr
from ds2edge.runtimes.weight_cache import IN_MEMORY
from ds2edge.text import english_characters
from ds2edge.training.checkpoint import Checkpoint, assign, save_checkpoint
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.evaluation.outputs import open_recogniser
from ds2edge.training.evaluation.prior import label_prior, subtract_prior
from ds2edge.training.evaluation.split import read_log
from ds2edge.training.network.model import AcousticModel, build_model

DATA = Path(__file__).parent / "data"
SMALL = Form(batches=(1,))  # quick to make
FLOAT_LIMIT = LIMITS["fp32"].largest


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> AcousticModel:
    model = build_model(checkpoint.config.model, checkpoint.config.features)
    assign(model, checkpoint.weights)
    return model


@pytest.fixture(scope="module")
def converted(model: AcousticModel, checkpoint: Checkpoint) -> Converted:
    """All formats, for one, three and four streams."""
    form = Form(("int8", "fp16", "fp32", "int8-static"), batches=(1, 3, 4))
    return convert_model(model, form, [probe_frames(checkpoint.config.features, 12)])


def frames(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, 20)).astype(np.float32)


# Around the grid of 12 frames a chunk and 3 an output, and the look-ahead of 5 outputs.
@pytest.mark.parametrize("count", [1, 2, 3, 4, 11, 12, 13, 15, 16, 24, 30, 100, 301])
def test_streaming_float_graph_equals_the_whole_utterance_model(
    model: AcousticModel, converted: Converted, count: int
) -> None:
    recording = frames(count, seed=count)
    (found,) = log_probs_of(converted, "fp32", [recording])
    (expected,) = model_log_probs(model, [recording])
    assert found.shape == (-(-count // 3), 29)
    np.testing.assert_allclose(found, expected, atol=FLOAT_LIMIT)


def test_outputs_come_as_early_as_the_look_ahead_allows(tiny_bundle: Bundle) -> None:
    backend = load_backend(tiny_bundle).backend
    state = backend.start()
    counts = [len(backend.step(state, frames(12))) for _ in range(3)]
    assert counts == [0, 3, 4]  # 4 outputs a chunk, 5 of look-ahead


@pytest.mark.parametrize(
    ("weights", "mean", "same_best"),
    [("fp16", 0.01, 0.99), ("int8", 0.1, 0.95), ("int8-static", 0.2, 0.8)],
)
def test_smaller_weights_are_close(
    model: AcousticModel, converted: Converted, weights: str, mean: float, same_best: float
) -> None:
    recordings = [frames(200, seed) for seed in range(3)]
    found = list(log_probs_of(converted, weights, recordings))
    apart = difference(found, model_log_probs(model, recordings))
    assert 0 < apart.mean < mean
    assert apart.same_best > same_best
    assert len(converted.files[weights]) < 0.9 * len(converted.float32)
    np.testing.assert_allclose(np.exp(found[0]).sum(axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("weights", ["int8", "fp16", "fp32"])
def test_streams_side_by_side_answer_as_alone_to_the_last_bit(
    converted: Converted, weights: str, tmp_path: Path
) -> None:
    """Seven streams in batches of four and three, of different lengths, some at their end."""
    (tmp_path / "m.tflite").write_bytes(converted.files[weights])
    with captured_stderr():
        runtime = load_compiled_model(tmp_path / "m.tflite", IN_MEMORY)
        model = StepModel(runtime, converted.grid)
    assert model.largest_batch == 4
    recordings = [frames(20 + 7 * i, seed=i) for i in range(7)]
    alone = [run_chunks(model, one, 12) for one in recordings]
    states = [model.start() for _ in recordings]
    blocks: list[list[np.ndarray]] = [[] for _ in recordings]
    for begin in range(0, max(map(len, recordings)), 12):
        going = [i for i, one in enumerate(recordings) if begin < len(one)]
        pieces = [recordings[i][begin : begin + 12] for i in going]
        found = model.step_together([states[i] for i in going], pieces)
        for i, block in zip(going, found, strict=True):
            blocks[i].append(block)
    for i, expected in enumerate(alone):
        got = np.concatenate([*blocks[i], model.flush(states[i])])
        np.testing.assert_array_equal(got, expected)


def test_batches_share_the_weights(converted: Converted, model: AcousticModel) -> None:
    alone = convert_model(model, Form(("fp32",), batches=(1,)))
    weights = 4 * sum(int(np.prod(variable.shape)) for variable in model.variables)
    assert len(converted.float32) - len(alone.float32) < weights  # of two more batches


def test_gate_refuses_another_model(converted: Converted) -> None:
    other = tiny_checkpoint(seed=2)
    model = build_model(other.config.model, other.config.features)
    assign(model, other.weights)
    with pytest.raises(BundleError, match=r"fp32 differs .* the conversion is wrong; --force"):
        compare(model, converted, [frames(50)])
    assert compare(model, converted, [frames(50)], force=True)["fp32"]["largest"] > 1


def test_gate_refuses_what_hears_worse() -> None:
    worse = {"greedy": {"points": 9, "interval": [8, 10]}}
    check_error_rates("int8", {**worse, "lm": {"points": 0.9, "interval": [0.5, 1.3]}})
    check_error_rates("int8", {**worse, "lm": {"points": 1.5, "interval": [-0.2, 3.0]}})
    check_error_rates("int8", {**worse, "lm": {"points": 1.5, "interval": None}})
    with pytest.raises(BundleError, match=r"int8 has a word error rate 1\.50 points above"):
        check_error_rates("int8", {"lm": {"points": 1.5, "interval": [0.2, 3.0]}})


def test_gate_refuses_other_likeliest_tokens_and_nan() -> None:
    fine = {"largest": 0.1, "mean": 0.01, "largest_probability": 0.1, "same_best": 1.0}
    check_gate("int8", Difference(**fine))
    with pytest.raises(BundleError, match=r"same likeliest token .* in 90\.00 %"):
        check_gate("int8", Difference(**{**fine, "same_best": 0.9}))
    with pytest.raises(BundleError, match="nan"):
        check_gate("int8", Difference(**{**fine, "mean": float("nan")}))


def test_what_an_artefact_costs_is_measured(converted: Converted) -> None:
    found = measure_footprint(converted.files["int8"], "stream", converted.grid, 100)
    assert found.megabytes == pytest.approx(len(converted.files["int8"]) / 1e6, abs=1e-3)
    assert 0 < found.real_time_factor < 1
    assert found.first_output_seconds > 0
    with pytest.raises(BackendError, match="measuring the model failed"):
        measure_footprint(b"no model", "stream", converted.grid, 100)


def test_bundle_is_whole_and_transcribes(tiny_bundle: Bundle) -> None:
    assert set(tiny_bundle.manifest.members) == {
        "LICENSE.txt",
        "MODEL_CARD.md",
        "check.npz",
        "int8.tflite",
    }
    assert tiny_bundle.manifest.parity["fp32"]["largest"] <= FLOAT_LIMIT
    assert Transcriber(tiny_bundle).transcribe(RECORDINGS[0]).duration > 1


def test_artefact_of_another_checkpoint_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Even with a manifest that fits it: the stored answer does not."""
    other = convert(tiny_checkpoint(seed=2), tmp_path / "other", Told("other"), SMALL)
    members: dict[str, bytes | Path] = {
        name: tiny_bundle.folder / name for name in tiny_bundle.manifest.members
    }
    file = other.folder / "int8.tflite"
    mixed = write_bundle(tmp_path / "mixed", tiny_bundle.manifest, {**members, "int8.tflite": file})
    with pytest.raises(BundleError, match="does not reproduce"):
        Transcriber(mixed)


@pytest.fixture
def language_model(tmp_path: Path) -> LanguageModel:
    """The toy model of tests/data with its own words."""
    folder = tmp_path / "lm"
    folder.mkdir()
    shutil.copy(DATA / "tiny.arpa", folder / LANGUAGE_MODEL)
    unigrams = (DATA / "tiny.arpa").read_text().split("\\1-grams:")[1].split("\\2-grams")[0]
    words = [line.split()[1] for line in unigrams.splitlines() if len(line.split()) >= 2]
    words = [word for word in words if word.isalpha()]
    (folder / LEXICON).write_text("\n".join(words) + "\n")
    description = {
        "tokens": english_characters().digest,
        "order": 2,
        "words": len(words),
        "sources": ["tiny.arpa"],
        "text_words": 10,
    }
    (folder / "language_model.json").write_text(json.dumps(description))
    return LanguageModel(folder, description)


def test_whole_conversion_tunes_measures_and_writes_the_card(
    checkpoint: Checkpoint, language_model: LanguageModel, tmp_path: Path
) -> None:
    spoken = [Utterance(path, 3.0, "some words", "x", "test") for path in RECORDINGS[:2]]
    bundle = convert(
        checkpoint,
        tmp_path / "full.ds2",
        Told("full", "Trained on nothing.", "CC0-1.0"),
        Form(("int8", "fp32"), batches=(1,)),
        language_model=language_model,
        dev=spoken[:1],
        test=spoken,
    )
    manifest = bundle.manifest
    assert manifest.accuracy["test"]["utterances"] == 2
    for row in ("model", "fp32", "int8"):
        assert manifest.parity[row]["language_model"]["wer"] > 0
    assert manifest.parity["int8"]["real_time_factor"] > 0
    card = (bundle.folder / CARD).read_text()
    parts = ("Trained on nothing.", "CC0-1.0", "2 utterances", "| int8 weights |", "(formats.png)")
    assert [part for part in parts if part not in card] == []
    assert (bundle.folder / "formats.png").read_bytes().startswith(b"\x89PNG")
    transcriber = Transcriber(tmp_path / "full.ds2")
    words = transcriber.transcribe(RECORDINGS[0]).words
    assert {word.text for word in words} <= set(bundle.words or ())


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({}, "5-gram of 4545 words from zh.txt (752293 words of text)"),
        ({"of": "words"}, "5-gram of 4545 words from zh.txt (752293 words of text)"),
        ({"of": "tokens"}, "5-gram of 4545 characters from zh.txt (752293 characters of text)"),
    ],
)
def test_the_card_says_what_the_language_model_is_of(
    tiny_bundle: Bundle, of: dict[str, str], said: str
) -> None:
    facts = {"order": 5, "words": 4545, "sources": ["zh.txt"], "text_words": 752293}
    manifest = replace(tiny_bundle.manifest, language_model={**facts, **of})
    assert said in model_card(manifest, "", "")


def test_a_prior_is_divided_out_by_the_bias(
    checkpoint: Checkpoint, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    spoken = [Utterance(path, 3.0, "some words", "x", "dev") for path in RECORDINGS[:2]]
    bundle = convert(checkpoint, tmp_path / "b", Told("b"), SMALL, dev=spoken, prior_weight=0.5)
    plain, divided = (
        list(open_recogniser(str(one.folder)).log_probs(spoken)) for one in (tiny_bundle, bundle)
    )
    prior = label_prior(plain)
    for one, other in zip(plain, divided, strict=True):
        assert np.abs(one - other).max() > 0.3
        np.testing.assert_allclose(subtract_prior(one, prior, 0.5), other, atol=0.05)
    assert "divides 0.5 of the label prior out" in (bundle.folder / CARD).read_text()
    assert "label prior" not in (tiny_bundle.folder / CARD).read_text()


def test_a_prior_needs_recordings(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--prior-weight needs --dev"):
        convert(checkpoint, tmp_path / "b", Told("b"), SMALL, prior_weight=0.5)


def test_command_logs_its_look_at_the_test_split(
    checkpoint: Checkpoint, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "c.npz", checkpoint)
    test = ["--test", str(SPEECH / "manifest.tsv")]
    assert (
        cli(
            ["convert", str(tmp_path / "c.npz"), "-o", str(tmp_path / "b"), "--batches", "1", *test]
        )
        == 0
    )
    assert "test split, speech test: looked at once" in capsys.readouterr().out
    (look,) = read_log()
    assert look.command == "convert"
    figures = load_bundle(tmp_path / "b").manifest.accuracy["test"]
    assert look.figures["greedy"]["wer"] == figures["greedy"]["wer"]


def test_language_model_of_other_tokens_is_refused(
    checkpoint: Checkpoint, language_model: LanguageModel, tmp_path: Path
) -> None:
    other = LanguageModel(language_model.folder, {**language_model.description, "tokens": "0" * 64})
    with pytest.raises(DataError, match="another token set"):
        convert(checkpoint, tmp_path / "b", Told("b"), SMALL, language_model=other)


def test_command_converts_and_reports(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "c.npz", checkpoint)
    command = ["convert", str(tmp_path / "c.npz"), "-o", str(tmp_path / "b"), "--batches", "1"]
    assert cli([*command, "--language", "de"]) == 0
    out = capsys.readouterr().out
    assert "| int8 weights |" in out
    assert "| outputs of a step |" not in out
    manifest = load_bundle(tmp_path / "b").manifest
    assert (manifest.name, manifest.language) == ("b", "de")


@pytest.mark.parametrize("name", ["recordings", "recordings/a.ds2", "app"])
def test_what_is_no_bundle_is_not_replaced(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    save_checkpoint(tmp_path / "c.npz", checkpoint)
    (tmp_path / "recordings").mkdir()
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "app", "members": ["me"]}')
    (tmp_path / "recordings" / "a.ds2").write_bytes(b"dear")
    assert cli(["convert", str(tmp_path / "c.npz"), "-o", str(tmp_path / name)]) == 2
    assert "is no bundle and would be lost" in capsys.readouterr().err
    assert (tmp_path / "recordings" / "a.ds2").read_bytes() == b"dear"
    assert (tmp_path / "app" / "manifest.json").is_file()


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_bad_checkpoint_is_one_line_and_exit_code_2(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.npz"
    if content is not None:
        path.write_bytes(content)
    assert cli(["convert", str(path), "-o", str(tmp_path / "b")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "c.npz" in error
    assert "pickle" not in error


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--formats", "int4"], "formats needs some of int8, fp16, fp32, int8-static"),
        (["--formats", "int8,int8"], "each once"),
        (["--batches", "2,4"], "1 among them"),
        (["--batches", "1,1"], "each once"),
        (["--batches", "x"], "needed sizes such as 1,2,4"),
        (["--formats", "int8-static", "--batches", "1"], "it needs --dev"),
        (["--chunk", "many"], "--chunk needs a number of outputs or auto"),
        (["--chunk", "0"], "chunk outputs needs 1 to 64"),
    ],
)
def test_impossible_forms_are_named(
    checkpoint: Checkpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    named: str,
) -> None:
    save_checkpoint(tmp_path / "c.npz", checkpoint)
    try:
        code = cli(["convert", str(tmp_path / "c.npz"), "-o", str(tmp_path / "b"), *flags])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
