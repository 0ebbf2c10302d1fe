"""Learning from a teacher: its loss, what is kept of it, recordings without text, going on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from keras import ops
from tiny_training import (
    HEADER,
    InterruptAt,
    hurried,
    lively,
    records,
    same_checkpoints,
    tiny_config,
    write_corpus,
)

from ds2edge import cli
from ds2edge.errors import ConfigError
from ds2edge.text import collapse
from ds2edge.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ds2edge.training.config import Corpus, DistillConfig, TrainConfig, load_config
from ds2edge.training.data import teacher_log_probs
from ds2edge.training.data.batches import make_batch
from ds2edge.training.distill import prepare_distillation
from ds2edge.training.loop import Stopped, train
from ds2edge.training.network.distillation import Distillation, distillation_loss
from ds2edge.training.network.intermediate import AuxiliaryModel
from ds2edge.training.network.model import build_model
from ds2edge.training.step import inputs, targets
from ds2edge.training.train import prepare

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
LIVELY = replace(lively(tiny_config(2)), distill=DistillConfig(weight=0.5, shift=1))
EPOCH = 4  # updates in one of it


def research(config: TrainConfig) -> TrainConfig:
    """The same as a bidirectional model."""
    return replace(config, model=replace(config.model, direction="both", units=32, dropout=0.0))


@pytest.fixture(scope="module", autouse=True)
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("distilling")
        patch.setenv("DS2EDGE_CACHE", str(folder / "cache"))
        corpora = write_corpus(folder)
        manifest = (corpora / "speech" / "manifest.tsv").read_text()
        (corpora / "calls").mkdir()
        rows = [row.split("\t") for row in manifest.splitlines()[1::2]]
        silent = [f"../speech/{path}\t{s}\t\t{who}\ttrain\n" for path, s, _, who, _ in rows]
        (corpora / "calls" / "manifest.tsv").write_text(HEADER + "".join(silent))
        yield corpora


@pytest.fixture(scope="module")
def teacher(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A bidirectional model that knows the recordings by heart."""
    folder = tmp_path_factory.mktemp("teacher")
    train(prepare(hurried(research(tiny_config(60))), corpus, folder))
    found = load_checkpoint(folder / "best.npz")
    assert found.progress["history"][-1]["dev_cer"] < 0.2
    return found


def divergence(
    logits: np.ndarray, teacher: np.ndarray, steps: np.ndarray, shift: int, temperature: float
) -> list[float]:
    """Step by step, in the order of the definition."""

    def softmax(row: np.ndarray) -> np.ndarray:
        weights = np.exp((row - row.max()) / temperature)
        return weights / weights.sum()

    sums = []
    for student, wanted, count in zip(logits, teacher, steps, strict=True):
        total = 0.0
        for t in range(count):
            if t + shift < count:
                p, q = softmax(wanted[t]), softmax(student[t + shift])
                total += float(sum(p * np.log(p / q)))
        sums.append(temperature**2 * total)
    return sums


@pytest.mark.parametrize(("shift", "temperature"), [(0, 1.0), (2, 1.0), (3, 2.5), (9, 1.0)])
def test_the_loss_is_the_divergence_of_the_steps(shift: int, temperature: float) -> None:
    rng = np.random.default_rng(shift)
    logits, teacher = (rng.normal(0, 3, (3, 7, 5)).astype("f4") for _ in range(2))
    steps = np.array([7, 4, 1], "i4")
    found = ops.convert_to_numpy(distillation_loss(logits, teacher, steps, shift, temperature))
    np.testing.assert_allclose(
        found, divergence(logits, teacher, steps, shift, temperature), **CLOSE
    )


def test_there_is_nothing_to_learn_from_oneself() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (2, 6, 5)).astype("f4")
    steps = np.array([6, 3], "i4")
    same = ops.convert_to_numpy(distillation_loss(logits, logits, steps, 0, 1.0))
    np.testing.assert_allclose(same, 0, atol=1e-5)
    one_late = np.concatenate([logits[:, :1] * 0, logits[:, :-1]], axis=1)
    late = ops.convert_to_numpy(distillation_loss(one_late, logits, steps, 1, 1.0))
    np.testing.assert_allclose(late, 0, atol=1e-5)


def batch_and_model(corpus: Path, teacher: Checkpoint, folder: Path, config: TrainConfig) -> Any:
    run = prepare_distillation(config, teacher, corpus, folder)
    (pick,) = run.plan(0)
    batch = make_batch(run.train, pick, config.augment, np.random.default_rng(1))
    return batch, build_model(run.config.model, run.config.features)


@pytest.mark.parametrize("auxiliary", [(), (1,)])
def test_ctc_and_teacher_are_weighted(
    corpus: Path, teacher: Checkpoint, tmp_path: Path, auxiliary: tuple[int, ...]
) -> None:
    config = tiny_config(1)
    config = replace(
        config,
        distill=DistillConfig(weight=0.3, shift=2),
        auxiliary=replace(config.auxiliary, layers=auxiliary),
        data=replace(config.data, train=(Corpus("speech"), Corpus("calls", unlabelled=True))),
    )
    batch, model = batch_and_model(corpus, teacher, tmp_path, config)
    inner = AuxiliaryModel(model, config.auxiliary) if auxiliary else model
    objective = Distillation(inner, model, config.distill)
    x, y = inputs(batch), targets(batch)
    predicted = objective(x)
    logits = predicted[0] if auxiliary else predicted
    steps = -(-batch.frames // 3)
    taught = divergence(
        ops.convert_to_numpy(logits), batch.teacher, steps, shift=2, temperature=1.0
    )
    found = float(objective.compute_loss(x, y, predicted))
    ctc = float(inner.compute_loss(x, y, predicted))
    assert found == pytest.approx(0.7 * ctc + 0.3 * sum(taught) / batch.weight, rel=1e-4)
    # Texts that are not known count for nothing in CTC, and for their length in the weight.
    assert batch.labelled.tolist().count(0) == 4
    told = batch.labelled == 1
    some = {"tokens": batch.tokens[told], "lengths": batch.lengths[told]}
    alone = float(model.compute_loss({"frames": batch.frames[told]}, some, logits[told]))
    weight = int(some["lengths"].sum()) + len(some["lengths"])
    whole = float(model.compute_loss(x, y, logits))
    assert whole == pytest.approx(alone * weight / batch.weight, rel=1e-5)


def test_the_batch_has_what_the_teacher_says_at_each_speed(
    corpus: Path, teacher: Checkpoint, tmp_path: Path
) -> None:
    config = replace(LIVELY, augment=replace(LIVELY.augment, frequency_masks=0))
    run = prepare_distillation(config, teacher, corpus, tmp_path)
    model = build_model(teacher.config.model, teacher.config.features)
    for variable, value in zip(model.variables, teacher.weights.values(), strict=True):
        variable.assign(value)
    pick = run.plan(0)[0]
    batch = make_batch(run.train, pick, config.augment, np.random.default_rng(1))
    clean = make_batch(run.train, pick, replace(config.augment, time_masks=0), None)  # type: ignore[arg-type]
    expected = ops.convert_to_numpy(ops.log_softmax(model(inputs(clean))))
    assert (batch.features != clean.features).any()  # only the student's input is masked
    for found, wanted, frames in zip(batch.teacher, expected, batch.frames, strict=True):
        steps = -(-int(frames) // 3)
        np.testing.assert_allclose(found[:steps], wanted[:steps], rtol=2e-3, atol=2e-3)
        assert not found[steps:].any()


def test_an_unlabelled_recording_weighs_what_the_teacher_hears(
    corpus: Path, teacher: Checkpoint, tmp_path: Path
) -> None:
    data = replace(LIVELY.data, train=(Corpus("calls", unlabelled=True),))
    run = prepare_distillation(replace(LIVELY, data=data), teacher, corpus, tmp_path)
    for i in range(4):
        heard = collapse(run.train.teacher[0][i].argmax(-1).tolist())
        assert run.train.tokens[i] == heard
    assert any(run.train.tokens)


def test_a_student_learns_from_a_teacher_without_transcripts(
    corpus: Path, teacher: Checkpoint, tmp_path: Path
) -> None:
    config = tiny_config(60)
    config = replace(
        config,
        model=replace(config.model, look_ahead=8),
        data=replace(config.data, train=(Corpus("calls", repeat=2, unlabelled=True),)),
    )
    train(prepare_distillation(hurried(config), teacher, corpus, tmp_path))
    steps, history = (records(tmp_path / f"{name}.jsonl") for name in ("steps", "history"))
    assert steps[-1]["loss"] < 0.2 * steps[0]["loss"]
    assert min(h["dev_cer"] for h in history) < 0.3


@pytest.mark.slow
def test_a_distillation_that_is_stopped_goes_on_as_if_it_had_not(
    corpus: Path, teacher: Checkpoint, tmp_path: Path
) -> None:
    data = replace(LIVELY.data, train=(Corpus("speech"), Corpus("calls", unlabelled=True)))
    config = replace(LIVELY, data=data)

    def run(name: str) -> Any:
        return prepare_distillation(config, teacher, corpus, tmp_path / name)

    train(run("whole"))
    for asked in (1, 4, 2):
        with pytest.raises(Stopped):
            train(run("parts"), interrupt=InterruptAt(asked))
    train(run("parts"))
    for name in ("steps.jsonl", "history.jsonl"):
        assert records(tmp_path / "parts" / name) == records(tmp_path / "whole" / name)
    assert len(records(tmp_path / "parts" / "steps.jsonl")) == 2 * EPOCH
    for name in ("last.npz", "best.npz"):
        assert same_checkpoints(tmp_path / "parts" / name, tmp_path / "whole" / name)


def test_another_teacher_or_weight_does_not_go_on(
    corpus: Path, teacher: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        train(prepare_distillation(LIVELY, teacher, corpus, tmp_path), interrupt=InterruptAt(1))
    first = next(iter(teacher.weights))
    other = replace(teacher, weights={**teacher.weights, first: teacher.weights[first] + 1})
    with pytest.raises(ConfigError, match=r"distill.teacher is \w+ there and \w+ here.*--fresh"):
        prepare_distillation(LIVELY, other, corpus, tmp_path)
    heavier = replace(LIVELY, distill=replace(LIVELY.distill, weight=0.9))
    with pytest.raises(ConfigError, match=r"distill.weight is 0.5 there and 0.9 here"):
        prepare_distillation(heavier, teacher, corpus, tmp_path)


def test_the_teacher_is_asked_once_and_goes_on_where_it_was_stopped(
    corpus: Path,
    teacher: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DS2EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(teacher_log_probs, "PART", 3)
    asked: list[int] = []

    def answer(model: Any, frames: Any) -> Any:
        if len(asked) == 3:
            asked.append(0)
            raise KeyboardInterrupt
        asked.append(len(frames))
        return model_log_probs(model, frames)

    model_log_probs = teacher_log_probs.model_log_probs
    monkeypatch.setattr(teacher_log_probs, "model_log_probs", answer)
    with pytest.raises(KeyboardInterrupt):
        prepare_distillation(LIVELY, teacher, corpus, tmp_path / "run")
    assert asked == [3, 1, 3, 0]  # four recordings, two speeds
    first = prepare_distillation(LIVELY, teacher, corpus, tmp_path / "run").train.teacher
    assert asked == [3, 1, 3, 0, 1]
    again = prepare_distillation(LIVELY, teacher, corpus, tmp_path / "run").train.teacher
    assert asked == [3, 1, 3, 0, 1]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.starts, other.starts)
    monkeypatch.setattr(teacher_log_probs, "PART", 256)
    (tmp_path / "cache" / "teacher").rename(tmp_path / "before")
    whole = prepare_distillation(LIVELY, teacher, corpus, tmp_path / "run").train.teacher
    for one, other in zip(first, whole, strict=True):
        np.testing.assert_array_equal(one.starts, other.starts)
        np.testing.assert_allclose(one.frames, other.frames, atol=0.02)
    kept = [path.suffix for path in (tmp_path / "before").rglob("*") if path.is_file()]
    assert kept == [".npy"] * 4


def test_each_worker_asks_the_teacher_about_another_speed_first(
    corpus: Path, teacher: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_log_probs = teacher_log_probs.model_log_probs
    asked: dict[int, list[int]] = {0: [], 1: []}
    found = []
    for index, frames_of in asked.items():

        def answer(model: Any, frames: Any, asked: list[int] = frames_of) -> Any:
            asked.append(sum(map(len, frames)))
            return model_log_probs(model, frames)

        monkeypatch.setenv("DS2EDGE_CACHE", str(tmp_path / f"cache-{index}"))
        worker = SimpleNamespace(index=index)
        monkeypatch.setattr(teacher_log_probs, "this_worker", lambda worker=worker: worker)
        monkeypatch.setattr(teacher_log_probs, "model_log_probs", answer)
        found.append(prepare_distillation(LIVELY, teacher, corpus, tmp_path / "run").train.teacher)
    assert asked[0] == asked[1][::-1] != asked[1]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": "english_bigrams"}, "the teacher has 29 tokens .*same model.tokens"),
        ({"time_stride": 2}, "for each 3 frames, the student for each 2: .*time_stride"),
        ({"bins": 32}, "other features .*features.bins is 64 there and 32 here"),
        ({"mean": (0.0,) * 64, "deviation": (1.0,) * 64}, "other features .*features.mean is "),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_first(
    corpus: Path,
    teacher: Checkpoint,
    tmp_path: Path,
    change: dict[str, Any],
    said: str,
) -> None:
    config = LIVELY
    for name, value in change.items():
        if name == "tokens":
            config = replace(config, model=replace(config.model, tokens=value))
        elif name == "time_stride":
            convolutions = (replace(config.model.convolutions[0], time_stride=value),)
            config = replace(config, model=replace(config.model, convolutions=convolutions))
        else:
            config = replace(config, features=replace(config.features, **{name: value}))
    with pytest.raises(ConfigError, match=said) as caught:
        prepare_distillation(config, teacher, corpus / "missing", tmp_path / "run")
    assert len(str(caught.value)) < 600
    assert not (tmp_path / "run").exists()


def test_without_a_teacher_nobody_tells_what_is_said(corpus: Path, tmp_path: Path) -> None:
    calls = Corpus("calls", unlabelled=True)
    data = replace(LIVELY.data, train=(Corpus("speech"), calls))
    with pytest.raises(ConfigError, match=r"calls is unlabelled.*ds2edge distill"):
        prepare(replace(LIVELY, data=data), corpus, tmp_path)


def test_an_unlabelled_corpus_measures_nothing(
    corpus: Path, teacher: Checkpoint, tmp_path: Path
) -> None:
    data = replace(LIVELY.data, dev=(Corpus("calls", split="train", unlabelled=True),))
    with pytest.raises(ConfigError, match=r"data.dev: calls is unlabelled"):
        prepare_distillation(replace(LIVELY, data=data), teacher, corpus, tmp_path)


CONFIG = """
[model]
convolutions = [{ channels = 4, time = 5, time_stride = 3, frequency_stride = 4 }]
layers = 1
units = 12
[data]
train = [{ folder = "speech" }, { folder = "calls", unlabelled = true }]
dev = [{ folder = "speech" }]
speeds = [1.0]
[distill]
weight = 0.7
[optimizer]
epochs = 2
precision = "float32"
"""


def test_the_command(
    corpus: Path, teacher: Checkpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    student, known = tmp_path / "student.toml", tmp_path / "teacher.npz"
    student.write_text(CONFIG)
    save_checkpoint(known, teacher)
    command = ["distill", str(student), "--data", str(corpus), "--out", str(tmp_path / "run")]
    assert cli.main([*command, "--teacher", str(tmp_path / "no.npz")]) == 2
    assert f"no checkpoint {tmp_path}/no.npz" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.main([*command, "--teacher", str(known)]) == 0
    assert "epoch 2: loss" in capfd.readouterr().err
    found = load_checkpoint(tmp_path / "run" / "best.npz").config
    assert found.features == teacher.config.features
    assert (found.distill.weight, len(found.distill.teacher)) == (0.7, 16)


def test_a_teacher_is_given_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[distill]\nteacher = "abc"\n')
    with pytest.raises(ConfigError, match=r"c.toml, line 2: distill.teacher is filled in by"):
        load_config(path)
