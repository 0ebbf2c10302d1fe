"""Learning curves as event files for TensorBoard."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

log = logging.getLogger(__name__)


class EventFiles:
    """A folder of event files: `tensorboard --logdir FOLDER`. Every process writes them anew.

    Raises:
        OSError: they cannot be written, as on a full disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        if keras.backend.backend() != "tensorflow":
            log.info("no files for TensorBoard: TensorFlow writes them")
            return
        import tensorflow as tf

        self._tf = tf
        with self._as_os_error():
            self._writer = tf.summary.create_file_writer(str(folder))
        # As tf.summary.scalar, which wants TensorBoard to be installed.
        self._scalar = tf.compat.v1.SummaryMetadata(
            plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
        )

    def step(self, record: dict[str, Any]) -> None:
        """Curves over the updates."""
        for name in ("loss", "gradient_norm", "learning_rate"):
            self._write(f"train/{name}", record[name], record["step"])

    def epoch(self, record: dict[str, Any]) -> None:
        """Curves over the updates, too, of which each epoch has a point."""
        for name in ("loss", "dev_cer"):
            self._write(f"epoch/{name}", record[name], record["step"])
        if self._writer:
            with self._as_os_error():
                self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer:
            with self._as_os_error():
                self._writer.close()

    def _write(self, tag: str, value: float, step: int) -> None:
        if self._writer:
            with self._as_os_error(), self._writer.as_default():
                self._tf.summary.write(tag, value, step, self._scalar)

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        try:
            yield
        except self._tf.errors.OpError as error:
            self._writer = None
            reason = error.message.split("}} ")[-1].splitlines()[0]  # after the operation's name
            raise OSError(errno.EIO, reason, str(self._folder)) from None
