"""Conversion: the step graph is the checkpoint's model, and a bundle says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS, SPEECH, tiny_checkpoint

from ds2edge import Bundle, Transcriber, load_bundle
from ds2edge.acoustic import LiteRT, captured_stderr, run_chunks
from ds2edge.bundle import CARD, LANGUAGE_MODEL, LEXICON, MODEL, write_bundle
from ds2edge.cli import main as cli
from ds2edge.convert.converter import Converted, convert, convert_model
from ds2edge.convert.parity import (
    FLOAT_LIMIT,
    check_gate,
    difference,
    graph_log_probs,
)
from ds2edge.errors import BundleError, ConfigError, DataError
from ds2edge.text import english_characters
from ds2edge.training.checkpoint import Checkpoint, assign, save_checkpoint
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.evaluation.outputs import open_recogniser
from ds2edge.training.evaluation.prior import label_prior, subtract_prior
from ds2edge.training.evaluation.split import read_log
from ds2edge.training.language_model import LanguageModel
from ds2edge.training.network.model import AcousticModel, build_model

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> AcousticModel:
    model = build_model(checkpoint.config.model, checkpoint.config.features)
    assign(model, checkpoint.weights)
    return model


@pytest.fixture(scope="module")
def converted(model: AcousticModel) -> Converted:
    return convert_model(model)


def frames(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, 20)).astype(np.float32)


# Around the grid of 12 frames a chunk and 3 an output, and the look-ahead of 5 outputs.
@pytest.mark.parametrize("count", [1, 2, 3, 4, 11, 12, 13, 15, 16, 24, 30, 100, 301])
def test_streaming_float_graph_equals_the_whole_utterance_model(
    model: AcousticModel, converted: Converted, count: int
) -> None:
    recording = frames(count, seed=count)
    (found,) = graph_log_probs(converted.float32, converted.grid, [recording])
    (expected,) = model_log_probs(model, [recording])
    assert found.shape == (-(-count // 3), 29)
    np.testing.assert_allclose(found, expected, atol=FLOAT_LIMIT)


def test_outputs_come_as_early_as_the_look_ahead_allows(converted: Converted) -> None:
    with captured_stderr():
        backend = LiteRT(converted.float32, converted.grid)
    state = backend.start()
    counts = [len(backend.step(state, frames(12))) for _ in range(3)]
    assert counts == [0, 3, 4]  # 4 outputs a chunk, 5 of look-ahead


def test_int8_graph_is_close_and_a_third_of_the_size(
    model: AcousticModel, converted: Converted
) -> None:
    recordings = [frames(200, seed) for seed in range(3)]
    found = list(graph_log_probs(converted.int8, converted.grid, recordings))
    apart = difference(found, model_log_probs(model, recordings))
    assert 0 < apart.mean < 0.1
    assert apart.same_best > 0.9


def test_gate_refuses_another_model(converted: Converted) -> None:
    other = tiny_checkpoint(seed=2)
    model = build_model(other.config.model, other.config.features)
    assign(model, other.weights)
    recordings = [frames(50)]
    found = list(graph_log_probs(converted.float32, converted.grid, recordings))
    apart = difference(found, model_log_probs(model, recordings))
    with pytest.raises(BundleError, match="float step graph"):
        check_gate(apart, apart)


def test_bundle_is_whole_and_transcribes(tiny_bundle: Bundle) -> None:
    assert set(tiny_bundle.manifest.members) == {
        "LICENSE.txt",
        "MODEL_CARD.md",
        "check.npz",
        "model.tflite",
    }
    assert tiny_bundle.manifest.parity["float32"]["largest"] <= FLOAT_LIMIT
    assert Transcriber(tiny_bundle).transcribe(RECORDINGS[0]).duration > 1


def test_artefact_of_another_checkpoint_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Even with a manifest that fits it: the stored answer does not."""
    other = convert(tiny_checkpoint(seed=2), tmp_path / "other", name="other")
    members: dict[str, bytes | Path] = {
        name: tiny_bundle.folder / name for name in tiny_bundle.manifest.members
    }
    mixed = write_bundle(
        tmp_path / "mixed", tiny_bundle.manifest, {**members, MODEL: other.folder / MODEL}
    )
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
        name="full",
        language_model=language_model,
        dev=spoken[:1],
        test=spoken,
        notes="Trained on nothing.",
        licence="CC0-1.0",
    )
    manifest = bundle.manifest
    assert manifest.accuracy["test"]["utterances"] == 2
    for row in ("model", "float32", "int8"):
        assert manifest.parity[row]["language_model"]["wer"] > 0
    card = (bundle.folder / CARD).read_text()
    for part in ("Trained on nothing.", "CC0-1.0", "step graph, int8", "2 utterances"):
        assert part in card
    transcriber = Transcriber(tmp_path / "full.ds2")
    words = transcriber.transcribe(RECORDINGS[0]).words
    assert {word.text for word in words} <= set(bundle.words or ())


def test_a_prior_is_divided_out_by_the_bias(
    checkpoint: Checkpoint, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    spoken = [Utterance(path, 3.0, "some words", "x", "dev") for path in RECORDINGS[:2]]
    bundle = convert(checkpoint, tmp_path / "b", name="b", dev=spoken, prior_weight=0.5)
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
        convert(checkpoint, tmp_path / "b", name="b", prior_weight=0.5)


def test_command_logs_its_look_at_the_test_split(
    checkpoint: Checkpoint, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "c.npz", checkpoint)
    test = ["--test", str(SPEECH / "manifest.tsv")]
    assert cli(["convert", str(tmp_path / "c.npz"), "-o", str(tmp_path / "b"), *test]) == 0
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
        convert(checkpoint, tmp_path / "b", name="b", language_model=other)


def test_command_converts_and_reports(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "c.npz", checkpoint)
    assert cli(["convert", str(tmp_path / "c.npz"), "-o", str(tmp_path / "b")]) == 0
    assert "| step graph, int8 |" in capsys.readouterr().out
    assert load_bundle(tmp_path / "b").manifest.name == "b"


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


def test_outputs_are_float_whatever_is_quantised(converted: Converted) -> None:
    assert len(converted.int8) < 0.6 * len(converted.float32)
    blocks = run_chunks(LiteRT(converted.int8, converted.grid), frames(30), 12)
    np.testing.assert_allclose(np.exp(blocks).sum(axis=1), 1, rtol=1e-4)
