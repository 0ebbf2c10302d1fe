"""Fine-tuning: from a checkpoint and from a bundle, with tokens more, up to a transcript."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from language_model_folder import write_language_model
from tiny_training import (
    HEADER,
    InterruptAt,
    hurried,
    records,
    same_checkpoints,
    tiny_config,
    write_corpus,
)

from ds2edge import Bundle, Transcriber, cli, load_bundle
from ds2edge.audio_file import read_audio
from ds2edge.convert.artefacts import Form
from ds2edge.convert.converter import Told, convert
from ds2edge.convert.finetune import next_command
from ds2edge.decoder import Confidence, SearchOptions
from ds2edge.errors import ConfigError, TextError
from ds2edge.features import FeatureExtractor
from ds2edge.language_model import language_model_of, open_language_model
from ds2edge.text import english_characters, normalise, with_tokens
from ds2edge.training import train as train_module
from ds2edge.training.checkpoint import Checkpoint, assign, load_checkpoint, save_checkpoint
from ds2edge.training.config import Corpus, ModelConfig
from ds2edge.training.data.corpora import unknown_characters
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.fine_tuning import FineTuning, fine_tuning_config
from ds2edge.training.loop import train
from ds2edge.training.network.extra_tokens import with_outputs
from ds2edge.training.network.model import build_model, token_set
from ds2edge.training.train import prepare

SMALL = Form(batches=(1,))  # quick to make


@pytest.fixture(scope="module", autouse=True)
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("finetuning")
        patch.setenv("DS2EDGE_CACHE", str(folder / "cache"))
        yield write_corpus(folder)


@pytest.fixture(scope="module")
def known(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model that knows the corpus by heart."""
    folder = tmp_path_factory.mktemp("known")
    train(prepare(hurried(tiny_config(40)), corpus, folder))
    return folder / "best.npz"


def mine(
    corpus: Path, folder: Path, texts: dict[str, str], splits: str = "train dev", times: int = 1
) -> Path:
    """The same recordings, some with other texts; those of split train several times."""
    folder.mkdir()
    rows = [
        row.split("\t") for row in (corpus / "speech" / "manifest.tsv").read_text().splitlines()
    ]
    lines = [
        f"../corpora/speech/{path}\t{seconds}\t{texts.get(text, text)}\t{who}\t{split}\n"
        for path, seconds, text, who, split in rows[1:]
        if split in splits.split()
        for _ in range(times if split == "train" else 1)
    ]
    if not (folder.parent / "corpora").exists():
        (folder.parent / "corpora").symlink_to(corpus)
    (folder / "manifest.tsv").write_text(HEADER + "".join(lines))
    return folder


# ---- tokens


def test_accents_stay_where_the_token_set_has_them() -> None:
    tokens = with_tokens(english_characters(), ["e\u0301", "7"])
    assert tokens.tokens[29:] == ("é", "7")
    assert normalise("CAFÉ cafe\u0301 naïve 7 8", tokens) == "café café naive 7"
    assert normalise("CAFÉ 7", english_characters()) == "cafe"
    assert unknown_characters("é 7 8 ø", tokens) == ["8", "ø"]
    assert tokens.decode(tokens.encode("café")) == "café"


@pytest.mark.parametrize("character", ["a", "É", "ab", "", " ", "'", "?"])
def test_a_token_more_is_one_new_letter_or_digit(character: str) -> None:
    with pytest.raises(TextError, match=r"one letter in lower case or one digit|twice: "):
        token_set(ModelConfig(extra_tokens=(character,)))


def test_new_outputs_begin_like_their_relatives_and_rare(checkpoint: Checkpoint) -> None:
    extended = with_outputs(checkpoint, ["é", "7"])
    assert token_set(extended.config.model).tokens[29:] == ("é", "7")
    extractor = FeatureExtractor(checkpoint.config.features, 12)
    frames = [extractor.extract(read_audio(RECORDINGS[0], 16_000))]

    def probabilities(one: Checkpoint) -> np.ndarray:
        model = build_model(one.config.model, one.config.features)
        assign(model, one.weights)
        return np.exp(model_log_probs(model, frames)[0])

    before, after = probabilities(checkpoint), probabilities(extended)
    e = english_characters().tokens.index("e")
    np.testing.assert_allclose(after[:, 29], 0.1 * after[:, e], rtol=1e-3)
    letters = [i for i, t in enumerate(english_characters().tokens) if t.isalpha() and len(t) == 1]
    mean = np.exp(np.log(after[:, letters]).mean(axis=1))
    np.testing.assert_allclose(after[:, 30], mean, rtol=1e-3)
    rest = after[:, :29] / after[:, :29].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(rest, before, atol=1e-5)
    twice = with_outputs(extended, ["8"])
    assert twice.config.model.extra_tokens == ("é", "7", "8")


# ---- what it does by itself


def test_little_is_seen_often_and_much_seldom(corpus: Path, tmp_path: Path, known: Path) -> None:
    start = load_checkpoint(known)

    def config(seconds: float, **more: Any) -> Any:
        folder = tmp_path / f"{seconds}"
        folder.mkdir(exist_ok=True)
        text = f"a.wav\t{seconds}\tone\tx\ttrain\n"
        (folder / "manifest.tsv").write_text(HEADER + text)
        return fine_tuning_config(start, FineTuning(folder, **more))

    few, some, many = config(60.0), config(1500.0), config(36_000.0)
    assert [c.optimizer.epochs for c in (few, some, many)] == [20, 8, 3]
    assert few.optimizer.warm_up == 2
    assert many.optimizer.averaging > some.optimizer.averaging > few.optimizer.averaging
    assert config(60.0, epochs=4).optimizer.epochs == 4
    assert few.features == start.config.features
    assert few.model == start.config.model
    kept = tmp_path / "1500.0"
    mixed = config(60.0, keep=(kept,))
    assert mixed.data.train == (Corpus("60.0", repeat=25), Corpus("1500.0"))
    assert mixed.optimizer.epochs == 1
    with pytest.raises(ConfigError, match="--learning-rate between 0 and 1; got 0 and 5"):
        config(60.0, learning_rate=5.0)


def test_another_model_trains_in_another_folder(corpus: Path, known: Path) -> None:
    start, settings = load_checkpoint(known), FineTuning(corpus / "speech")
    other = replace(start, weights={k: v + v.dtype.type(1) for k, v in start.weights.items()})
    names = [fine_tuning_config(one, settings).name for one in (start, start, other)]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("tiny-speech-")


def test_without_dev_what_is_learned_stands_in(
    corpus: Path, known: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = mine(corpus, tmp_path / "mine", {}, "train")
    command = ["finetune", str(known), "--data", str(data), "--epochs", "1"]
    assert cli.main([*command, "--out", str(tmp_path / "run")]) == 0
    said = capfd.readouterr().err
    assert "mine has no split dev: the figures are of what it learns from" in said
    assert "no split dev" in (tmp_path / "run" / "train.log").read_text()


# ---- the whole way


def test_a_new_token_is_learned_and_goes_all_the_way(
    corpus: Path, known: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, run = mine(corpus, tmp_path / "mine", {"one": "oné"}, times=40), tmp_path / "run"
    command = ["finetune", str(known), "--data", str(data), "--token", "é", "--token", "7"]
    learn = ["--epochs", "3", "--learning-rate", "0.02", "--out", str(run)]
    assert cli.main([*command, *learn]) == 0
    assert capfd.readouterr().err.splitlines()[-1] == (
        "trained; to use it: ds2edge lm TEXT -o lm --token 'é' --token 7 && "
        f"ds2edge convert {run}/best.npz -o mine.ds2 --language CODE --language-model lm; CODE "
        "stands for its language, such as de: of en, --display writes the figures and capitals of "
        "English"
    )
    losses = [record["loss"] for record in records(run / "steps.jsonl")]
    assert losses[-1] < 0.7 * losses[0]
    best = load_checkpoint(run / "best.npz")
    assert best.config.model.extra_tokens == ("é", "7")
    # As if it had learned for longer: the new token is likelier than the one that it began as.
    (bias,) = (name for name in best.weights if name.endswith("head_bias"))
    best.weights[bias][29] += 8.0
    save_checkpoint(tmp_path / "longer.npz", best)
    bundle = tmp_path / "bundle.ds2"
    assert (
        cli.main(["convert", str(tmp_path / "longer.npz"), "-o", str(bundle), "--batches", "1"])
        == 0
    )
    assert load_bundle(bundle).manifest.tokens.tokens[29:] == ("é", "7")
    assert "é" in Transcriber(bundle).transcribe(corpus / "speech" / "0.wav").text
    assert cli.main(["restore", str(bundle), "-o", str(tmp_path / "again.npz")]) == 0
    assert load_checkpoint(tmp_path / "again.npz").config.model == best.config.model


def test_a_bundle_is_fine_tuned_and_goes_on_where_it_stopped(
    corpus: Path,
    known: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = convert(load_checkpoint(known), tmp_path / "tiny.ds2", Told("tiny"), SMALL)
    data = mine(corpus, tmp_path / "mine", {"be": "bee"})
    command = ["finetune", str(tmp_path / "tiny.ds2"), "--data", str(data / "manifest.tsv")]
    learn = [*command, "--epochs", "3", "--keep", str(corpus / "speech")]
    assert cli.main([*learn, "--out", str(tmp_path / "whole")]) == 0
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.endswith(f"/whole/best.npz -o mine.ds2 --like {tmp_path}/tiny.ds2")
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "Interrupt", lambda: InterruptAt(2))
        assert cli.main([*learn, "--out", str(tmp_path / "parts")]) == 130
    assert "the same command, without --fresh, goes on" in capfd.readouterr().err
    assert cli.main([*learn, "--out", str(tmp_path / "parts")]) == 0
    for name in ("steps.jsonl", "history.jsonl"):
        assert records(tmp_path / "parts" / name) == records(tmp_path / "whole" / name)
    assert same_checkpoints(tmp_path / "parts" / "last.npz", tmp_path / "whole" / "last.npz")
    config = load_checkpoint(tmp_path / "whole" / "best.npz").config
    assert config.features == bundle.manifest.features
    own, kept = config.data.train
    assert own == Corpus("manifest.tsv")
    assert (data / kept.folder).resolve() == corpus / "speech"
    # It knows something from the first update on; random weights have a loss above 5.
    assert records(tmp_path / "whole" / "steps.jsonl")[0]["loss"] < 3


@pytest.mark.parametrize(("tokens", "told"), [([], False), (["7"], False), (["7", "ä"], True)])
def test_letters_more_may_be_of_another_language(tokens: list[str], told: bool) -> None:
    options = Namespace(model="en", data=Path("german"), token=tokens)
    made = next_command(options, Path("run"))
    assert "--like en" in made
    assert ("--language CODE" in made) == told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--token", "a"], r"tokens must differ, got twice: 'a'"),
        (["--token", "É"], "one letter in lower case or one digit, got 'É'"),
        (["--data", "nowhere"], "cannot read manifest nowhere/manifest.tsv: No such file"),
        (["--epochs", "-1"], "--epochs 1 or more"),
        (["--keep", "nowhere"], "cannot read manifest nowhere/manifest.tsv"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_made(
    corpus: Path,
    known: Path,
    tmp_path: Path,
    change: list[str],
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = ["--data", str(corpus / "speech"), "--out", str(tmp_path / "run")]
    assert cli.main(["finetune", str(known), *data, *change]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(said, line)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "said"), [("no.npz", "no checkpoint no.npz"), ("nothing", "no bundle 'nothing'")]
)
def test_a_model_that_is_not_there_is_named(
    corpus: Path, model: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["finetune", model, "--data", str(corpus / "speech")]) == 2
    assert said in capfd.readouterr().err


def test_a_manifest_without_anything_to_learn_from_is_named(
    corpus: Path, known: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = mine(corpus, tmp_path / "mine", {}, "dev")
    assert cli.main(["finetune", str(known), "--data", str(data)]) == 2
    assert "has no recording of split 'train'; it has ['dev']" in capfd.readouterr().err


def test_a_bundle_is_made_like_another_one(
    checkpoint: Checkpoint, tiny_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    confidence = Confidence(1.0, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0)
    like = convert(
        checkpoint,
        tmp_path / "like",
        Told("like"),
        SMALL,
        language_model=open_language_model(write_language_model(tmp_path / "lm")),
        search=SearchOptions(beam=17, alpha=0.6),
        delay=0.25,
        confidence={"letters": confidence},
    )
    save_checkpoint(tmp_path / "best.npz", checkpoint)
    command = ["convert", str(tmp_path / "best.npz"), "--batches", "1"]
    command += ["--like", str(tmp_path / "like")]
    assert cli.main([*command, "-o", str(tmp_path / "out")]) == 0
    made = load_bundle(tmp_path / "out").manifest
    assert (made.decoder, made.delay) == (like.manifest.decoder, 0.25)
    assert made.confidence == {"letters": confidence}
    assert made.language_model == like.manifest.language_model
    assert load_bundle(tmp_path / "out").words == like.words
    assert cli.main([*command, "-o", str(tmp_path / "b"), "--beam", "5", "--delay", "0"]) == 0
    changed = load_bundle(tmp_path / "b").manifest
    assert (changed.decoder, changed.delay) == (replace(like.manifest.decoder, beam=5), 0.0)
    assert language_model_of(tiny_bundle) is None
    save_checkpoint(tmp_path / "more.npz", with_outputs(checkpoint, ["é"]))
    more = ["convert", str(tmp_path / "more.npz"), *command[2:]]
    capfd.readouterr()
    assert cli.main([*more, "-o", str(tmp_path / "c")]) == 2
    assert "was built for another token set" in capfd.readouterr().err
