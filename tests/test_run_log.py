"""What a run writes down, its curves, and the warning when it diverges."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from ds2edge.training import run_log
from ds2edge.training.curves import draw_curves
from ds2edge.training.run_log import RunLog, logging_to, read_records
from ds2edge.training.watch import LOSS_RISE, WINDOW, Watch

EPOCH = {"epoch": 1, "step": 2, "loss": 2.5, "dev_cer": 0.5, "seconds": 3.0}


def step(number: int, loss: float = 2.0, norm: float = 1.0) -> dict[str, Any]:
    return {
        "step": number,
        "epoch": 1,
        "loss": loss,
        "gradient_norm": norm,
        "learning_rate": 0.1,
        "seconds": 0.5,
    }


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Tag, step and value of all that TensorBoard would show."""
    import tensorflow as tf
    from tensorflow.core.util.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                number = float(tf.make_ndarray(value.tensor))
                found.append((value.tag, event.step, pytest.approx(number)))
    return found


def test_updates_and_epochs_are_written_for_people_and_for_tensorboard(tmp_path: Path) -> None:
    with RunLog(tmp_path, 0, []) as log:
        log.step(step(1, loss=3.0))
        assert read_records(tmp_path / "steps.jsonl") == [step(1, loss=3.0)]  # at once
        log.step(step(2))
        log.epoch(EPOCH)
    assert read_records(tmp_path / "steps.jsonl") == [step(1, loss=3.0), step(2)]
    assert read_records(tmp_path / "history.jsonl") == [EPOCH]
    shown = events(tmp_path / "tensorboard")
    assert ("train/loss", 1, 3.0) in shown
    assert ("train/learning_rate", 2, 0.1) in shown
    assert ("epoch/dev_cer", 2, 0.5) in shown
    assert len(shown) == 2 * 3 + 2
    assert matplotlib.image.imread(tmp_path / "curves.png").shape[:2] == (900, 900)


def test_a_run_that_goes_on_keeps_what_its_checkpoint_knows(tmp_path: Path) -> None:
    with RunLog(tmp_path, 0, []) as log:
        for number in range(1, 5):
            log.step(step(number))
    with (tmp_path / "steps.jsonl").open("a") as file:
        file.write('{"step": 5, "epo')  # killed while it wrote
    with RunLog(tmp_path, 2, [EPOCH]) as log:
        assert log.steps == [step(1), step(2)]
        log.step(step(3, loss=9.0))
    assert read_records(tmp_path / "steps.jsonl") == [step(1), step(2), step(3, loss=9.0)]
    assert read_records(tmp_path / "history.jsonl") == [EPOCH]
    shown = events(tmp_path / "tensorboard")
    assert [row for row in shown if row[0] == "train/loss"] == [
        ("train/loss", 1, 2.0),
        ("train/loss", 2, 2.0),
        ("train/loss", 3, 9.0),
    ]


def test_curves_are_drawn_without_any_update_and_with_many(tmp_path: Path) -> None:
    draw_curves(tmp_path / "none.png", [], [])
    many = [step(i, loss=float(np.exp(-i / 9000))) for i in range(1, 9000)]
    draw_curves(tmp_path / "many.png", many, [{**EPOCH, "step": 8999}])
    none, drawn = (matplotlib.image.imread(tmp_path / name) for name in ("none.png", "many.png"))
    assert not np.array_equal(none, drawn)


def test_pictures_are_not_drawn_more_often_than_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr(run_log, "draw_curves", lambda path, *_: drawn.append(path))
    with RunLog(tmp_path, 0, []) as log:
        log.epoch(EPOCH)
        assert not drawn
        monkeypatch.setattr(run_log, "DRAW_EVERY", 0.0)
        log.epoch(EPOCH)
        assert drawn == [tmp_path / "curves.png"]
    assert len(drawn) == 2  # as they are at the end


def test_the_log_file_has_more_than_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("ds2edge.training.test")
    with logging_to(tmp_path / "train.log"):
        log.info("seen")
        log.debug("in the file only")
    log.info("after it")
    assert capsys.readouterr().err == "seen\n"
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line.split(" ", 3)[2:] for line in lines] == [
        ["INFO", "seen"],
        ["DEBUG", "in the file only"],
    ]


def test_a_log_file_that_cannot_be_written_ends_the_run() -> None:
    log = logging.getLogger("ds2edge.training.test")
    with logging_to(Path("/dev/full")), pytest.raises(OSError, match=r"No space.*/dev/full"):
        log.info("lost")


def warnings(watch: Watch, losses: list[float], caplog: pytest.LogCaptureFixture) -> list[int]:
    """After which updates a warning came."""
    found = []
    for number, loss in enumerate(losses):
        caplog.clear()
        watch.see(step(number, loss=loss, norm=loss), "here")
        found += [number] * len(caplog.messages)
    return found


def test_a_rising_loss_is_told_once_a_rise(caplog: pytest.LogCaptureFixture) -> None:
    low, high = [1.0, 2.0, 1.5] * WINDOW, [1.6 * LOSS_RISE] * WINDOW
    begin = len(low)
    (first,) = warnings(Watch(), low + high, caplog)
    assert begin + WINDOW // 2 - 1 <= first < begin + WINDOW
    assert len(warnings(Watch(), low + high + low + high, caplog)) == 2
    watch = Watch(step(i, loss=value) for i, value in enumerate(low))  # of an earlier process
    assert warnings(watch, high, caplog) == [first - begin]


def test_falling_and_jumping_losses_are_no_rise(caplog: pytest.LogCaptureFixture) -> None:
    falling = (30 * 0.99 ** np.arange(300)).tolist()
    jumping = [100.0 if i % 3 == 0 else 1.0 for i in range(300)]
    assert warnings(Watch(), falling, caplog) == []
    assert warnings(Watch(), jumping, caplog) == []


def test_an_exploding_gradient_is_told(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for number in range(3 * WINDOW):
        watch.see(step(number, norm=1.0 if number < 2 * WINDOW else 11.0), f"update {number}")
    (message,) = caplog.messages
    assert "the gradient norm rises, to 11 over the last 50 updates from 1;" in message
