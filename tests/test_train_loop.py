"""The training loop in this process: learning, seeds, going on, checkpoints, divergence."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import InterruptAt, lively, records, tiny_config, write_corpus
from tiny_training import same_checkpoints as same

from ds2edge.errors import ConfigError, DataError
from ds2edge.training import loop
from ds2edge.training import train as train_command
from ds2edge.training.checkpoint import Checkpoint, load_checkpoint
from ds2edge.training.files import locked
from ds2edge.training.loop import Stopped, train
from ds2edge.training.snapshot import mean_weights
from ds2edge.training.train import prepare

LIVELY = lively(tiny_config(2, average_last=2))
EPOCH = 4  # updates in one of it


@pytest.fixture(scope="module", autouse=True)
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("training")
        patch.setenv("DS2EDGE_CACHE", str(folder / "cache"))
        yield write_corpus(folder)


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(prepare(LIVELY, corpus, folder))
    return folder


def test_training_learns(corpus: Path, tmp_path: Path) -> None:
    train(prepare(tiny_config(40), corpus, tmp_path))
    history = records(tmp_path / "history.jsonl")
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]
    assert min(h["dev_cer"] for h in history) < 0.3
    best = load_checkpoint(tmp_path / "best.npz")
    assert best.progress["history"][-1]["dev_cer"] == min(h["dev_cer"] for h in history)
    assert not best.training


def test_the_same_seed_gives_the_same_bits_however_often_they_are_saved(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    train(replace(prepare(LIVELY, corpus, tmp_path), checkpoint_minutes=0.0))
    assert len(records(whole / "steps.jsonl")) == 2 * EPOCH
    for name in ("steps.jsonl", "history.jsonl"):
        assert records(tmp_path / name) == records(whole / name)
    assert same(tmp_path / "last.npz", whole / "last.npz")


def test_another_seed_gives_other_losses(whole: Path, corpus: Path, tmp_path: Path) -> None:
    other = replace(LIVELY, optimizer=replace(LIVELY.optimizer, seed=2, epochs=1))
    train(prepare(other, corpus, tmp_path))
    assert records(tmp_path / "steps.jsonl")[0] != records(whole / "steps.jsonl")[0]


def test_a_run_that_is_stopped_goes_on_as_if_it_had_not(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    stops = ((1, 1), (4, EPOCH), (2, EPOCH + 1))  # in an epoch, while dev is measured, in the next
    for asked, done in stops:
        with pytest.raises(Stopped, match=r"^stopped in epoch .*, without --fresh, goes on from "):
            train(prepare(LIVELY, corpus, tmp_path), interrupt=InterruptAt(asked))
        assert len(records(tmp_path / "steps.jsonl")) == done
    train(prepare(LIVELY, corpus, tmp_path))
    for name in ("steps.jsonl", "history.jsonl"):
        assert records(tmp_path / name) == records(whole / name)
    for name in ("last.npz", "best.npz", "average.npz"):
        assert same(tmp_path / name, whole / name)
    assert sorted(p.name for p in tmp_path.glob("*.npz")) == ["average.npz", "best.npz", "last.npz"]


def test_a_checkpoint_of_the_first_format_goes_on(
    whole: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands at the end of an epoch and knows nothing of later settings."""
    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "report", InterruptedAtOnce)
        with pytest.raises(KeyboardInterrupt):
            train(prepare(LIVELY, corpus, tmp_path))
    as_format_1(tmp_path / "last.npz")
    (tmp_path / "steps.jsonl").unlink()
    train(prepare(LIVELY, corpus, tmp_path))
    assert records(tmp_path / "steps.jsonl") == records(whole / "steps.jsonl")[EPOCH:]
    assert records(tmp_path / "history.jsonl") == records(whole / "history.jsonl")
    assert same(tmp_path / "last.npz", whole / "last.npz")


class InterruptedAtOnce(KeyboardInterrupt):
    def __init__(self, *_: object) -> None:
        raise KeyboardInterrupt


def as_format_1(path: Path) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays["meta"]))
    meta["format"] = 1
    for name in ("step", "loss", "seconds", "data"):
        del meta["progress"][name]
    for record in meta["progress"]["history"]:
        del record["step"]
    del meta["config"]["auxiliary"], meta["config"]["data"]["sorta_grad"]
    for name in ("kind", "schedule", "annealing", "momentum", "accumulate"):
        del meta["config"]["optimizer"][name]
    np.savez(path, **{**arrays, "meta": np.array(json.dumps(meta))})


def test_a_run_begins_with_other_weights(whole: Path, corpus: Path, tmp_path: Path) -> None:
    start = load_checkpoint(whole / "best.npz")
    config = replace(LIVELY, optimizer=replace(LIVELY.optimizer, epochs=1, warm_up=0))
    train(prepare(config, corpus, tmp_path, start=start), start=start)
    first = records(tmp_path / "steps.jsonl")[0]["loss"]
    assert first < 0.8 * records(whole / "steps.jsonl")[0]["loss"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: replace(c, model=replace(c.model, units=9)), "model.units is 12 there and 9"),
        (lambda c: replace(c, features=replace(c.features, floor=-80.0)), "features.floor is -90"),
    ],
)
def test_another_configuration_does_not_go_on(
    whole: Path, corpus: Path, change: Any, named: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{named}.*--fresh or another --out"):
        prepare(change(LIVELY), corpus, whole)


def test_other_recordings_do_not_go_on(whole: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "corpora")
    manifest = tmp_path / "corpora" / "speech" / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace("\ttwo\t", "\ttow\t"))
    with pytest.raises(DataError, match=r"was trained on other recordings.*--start"):
        train(prepare(LIVELY, tmp_path / "corpora", whole))


def test_two_processes_do_not_train_in_one_folder(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    run = prepare(LIVELY, corpus, tmp_path)
    part = tmp_path / "last.npz.1.part"
    part.touch()
    with (
        locked(tmp_path),
        pytest.raises(DataError, match=r"another process is training in .*--out"),
    ):
        train(run)
    assert part.exists()


def test_weights_alone_do_not_go_on(whole: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copy(whole / "best.npz", tmp_path / "last.npz")
    with pytest.raises(DataError, match=r"holds weights only; .* --start"):
        prepare(LIVELY, corpus, tmp_path)


def test_a_model_to_start_from_of_another_shape_is_refused_first(
    whole: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_command, "read_corpora", None)  # hours would be spent after it
    start = load_checkpoint(whole / "best.npz")
    with pytest.raises(DataError, match="the model to start from has"):
        prepare(tiny_config(1), corpus, tmp_path, start=start)


def test_a_model_to_start_from_brings_the_statistics_that_it_knows(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    start = load_checkpoint(whole / "best.npz")
    features = start.config.features
    shifted = replace(features, mean=tuple(value + 1 for value in features.mean))
    start = replace(start, config=replace(start.config, features=shifted))
    assert prepare(LIVELY, corpus, tmp_path, start=start).config.features == shifted
    other = replace(LIVELY, features=replace(LIVELY.features, floor=-70.0))
    assert prepare(other, corpus, tmp_path, start=start).config.features.mean != shifted.mean


def test_a_loss_that_is_no_number_stops(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ds2edge")
    config = replace(LIVELY, optimizer=replace(LIVELY.optimizer, learning_rate=1e30, warm_up=0))
    with pytest.raises(DataError) as caught:
        train(prepare(config, corpus, tmp_path))
    message = str(caught.value)
    assert re.search(r"^epoch 1, update \d of 4: the loss is (nan|inf) and the norm", message)
    assert re.search(r"speech/\d\.wav, .*speech/\d\.wav; lower optimizer.learning_rate", message)
    assert str(tmp_path / "last.npz") in message
    assert "line" in caplog.text.split("in the batch that diverged")[0].splitlines()[-1]
    weights = load_checkpoint(tmp_path / "last.npz").weights
    assert all(np.isfinite(value).all() for value in weights.values())
    assert "nan" not in (tmp_path / "steps.jsonl").read_text().lower()


def test_the_mean_of_weights() -> None:
    def checkpoint(**weights: Any) -> Checkpoint:
        return Checkpoint(LIVELY, {k: np.array(v) for k, v in weights.items()})

    one = checkpoint(a=np.float32([1, 2]), seed=np.uint32([3, 4]))
    other = checkpoint(b=np.float32([2, 6]), seed=np.uint32([5, 6]))
    mean = mean_weights([one, other])
    assert mean["b"].dtype == np.float32
    assert (mean["b"].tolist(), mean["seed"].tolist()) == ([1.5, 4], [5, 6])


def test_the_average_is_of_the_last_epochs(whole: Path) -> None:
    average = load_checkpoint(whole / "average.npz")
    history = records(whole / "history.jsonl")
    assert [set(h) - {"average_dev_cer"} for h in history] == [set(history[0])] * 2
    assert 0 <= history[-1]["average_dev_cer"] <= 2
    assert records_of(average)[-1]["average_dev_cer"] == history[-1]["average_dev_cer"]
    last = load_checkpoint(whole / "last.npz").weights
    pairs = zip(average.weights.values(), last.values(), strict=True)
    assert any(not np.array_equal(a, b) for a, b in pairs)


def records_of(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    return checkpoint.progress["history"]


def test_only_a_fresh_run_removes_the_weights_before(corpus: Path, tmp_path: Path) -> None:
    best = tmp_path / "best.npz"
    for fresh in (False, True):
        best.write_bytes(b"of the run before")
        with pytest.raises(Stopped):
            train(prepare(LIVELY, corpus, tmp_path, fresh), fresh, interrupt=InterruptAt(1))
        assert best.exists() != fresh
