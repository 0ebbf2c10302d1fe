"""One training run on several processors: every worker has a part of each batch.

The workers do the same with the same weights. What they know each for itself is summed over all of
them: gradients, weighted by the tokens that they stand for, and the sums that batch norm is made
of, so that its statistics are those of the whole batch. The update is then the one that a single
worker would have made, to float rounding; only dropout draws other masks.

`tf.distribute.MultiWorkerMirroredStrategy` does the summing, by ring all-reduce (NCCL on GPUs), as
the paper did (section 4). Model and optimiser do not run under the strategy, which Keras 3 supports
poorly: every worker applies the same update to variables of its own.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import keras
import numpy as np
import numpy.typing as npt

from ds2edge.errors import ConfigError, DataError, WorkerError
from ds2edge.training.cluster import Cluster, LocalWorkers
from ds2edge.training.network.layers import SequenceBatchNorm

Tensor = Any
Array = npt.NDArray[Any]
T = TypeVar("T")

LINGER = 2.0  # seconds that a worker which lost another stays, so that others see who is gone


class Workers:
    """One worker: all of a batch is its own. `SeveralWorkers` has the same methods."""

    index, count = 0, 1
    here = 1  # of them on this machine

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes checkpoints and logs."""
        return self.index == 0

    def rows(self, recordings: int) -> range:
        """Which recordings of a batch of so many are this worker's."""
        # Not a run of them: they lie by length, and all workers wait for the slowest.
        return range(self.index, recordings, self.count)

    def total(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Tensors of float32, each summed over all workers."""
        return tensors

    def counts(self, *numbers: int) -> Sequence[int]:
        """Integers, each summed over all workers."""
        return numbers

    def any(self, flag: bool) -> bool:
        """Whether it is so for one worker or more."""
        return flag

    def from_chief(self, make: Callable[[], T]) -> T:
        """What the chief makes, plain values; only there `make` is called."""
        return make()

    def spread(self, *owners: Any) -> None:
        """Give models and optimisers of all workers the chief's values."""

    def join(self, model: keras.Model) -> None:
        """Let the batch norms of a model see the whole batch, when it is trained."""

    def same(self, what: str, digest: str) -> None:
        """Refuse workers that have another one of what a digest tells apart.

        Raises:
            DataError: one has.
        """


ALONE = Workers()
_this: Workers = ALONE


def this_worker() -> Workers:
    """What this process is: one of several workers, inside their `with`, or the only one."""
    return _this


class SeveralWorkers(Workers):
    """A worker among several; a context manager, in which alone it may be used."""

    def __init__(self, cluster: Cluster, local: LocalWorkers | None = None) -> None:
        """Start TensorFlow's server. It must not have computed anything before.

        Args:
            local: processes that the chief has started.

        Raises:
            WorkerError: the server cannot be started.
        """
        self.cluster, self.local = cluster, local
        self.index, self.count = cluster.index, len(cluster.addresses)
        self.here = len(cluster.neighbours())
        self._sum, self._numbers = _sums(_strategy(cluster))

    def __enter__(self) -> SeveralWorkers:
        global _this
        _this = self
        if self.local:
            self.local.watch(_abort)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        global _this
        _this = ALONE
        if kind is None:
            error = self._end_together()
        if error and self._is_of_a_peer(error):
            raise WorkerError(self._who_is_gone(error)) from None

    def total(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        import tensorflow as tf

        # One message, however many tensors: each costs as many hops as there are workers.
        flat = self._sum(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0))
        parts = tf.split(flat, [tf.size(tensor) for tensor in tensors], num=len(tensors))
        return [tf.reshape(p, tf.shape(t)) for p, t in zip(parts, tensors, strict=True)]

    def counts(self, *numbers: int) -> Sequence[int]:
        return [int(n) for n in self._numbers(np.array(numbers, np.int64))]

    def any(self, flag: bool) -> bool:
        return self.counts(flag)[0] > 0

    def from_chief(self, make: Callable[[], T]) -> T:
        message = json.dumps(make()).encode() if self.is_chief else b""
        (length,) = self.counts(len(message))
        letters = np.zeros(length, np.int64)
        letters[: len(message)] = list(message)
        found: T = json.loads(self._numbers(letters).astype(np.uint8).tobytes())
        return found

    def spread(self, *owners: Any) -> None:
        for variable in (v for owner in owners for v in owner.variables):
            value = keras.ops.convert_to_numpy(variable)
            whole = np.issubdtype(value.dtype, np.integer)
            own = value.astype(np.int64 if whole else np.float32)
            found = self._numbers(own if self.is_chief else np.zeros_like(own))
            variable.assign(found.astype(value.dtype))
        for seed in (v for owner in owners for v in owner.variables if "seed" in v.path):
            # Rows of the same number are other recordings: their dropout is to differ.
            own = np.array([self.index, 0], np.uint32)
            seed.assign(keras.ops.convert_to_numpy(seed) + own)

    def join(self, model: keras.Model) -> None:
        for layer in model._flatten_layers():
            if isinstance(layer, SequenceBatchNorm):
                layer.total = self.total

    def same(self, what: str, digest: str) -> None:
        own = np.zeros((self.count, len(digest)), np.int64)
        own[self.index] = list(digest.encode())
        rows = self._numbers(own)
        for worker in range(1, self.count):
            if not np.array_equal(rows[worker], rows[0]):
                raise DataError(f"worker {worker} has other {what} than worker 0; give all one")

    def _end_together(self) -> BaseException | None:
        """A worker that ends before the others looks like one that died."""
        try:
            self.any(False)
        except Exception as error:  # all is done or told; only a lost worker is still to be told
            return error
        return None

    def _is_of_a_peer(self, error: BaseException) -> bool:
        import tensorflow as tf

        lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
        of_tensorflow = isinstance(error, tf.errors.OpError)
        return isinstance(error, lost) or (of_tensorflow and "ollective" in str(error))

    def _who_is_gone(self, error: BaseException) -> str:
        """In words, as far as it can be told."""
        who = self.local.culprit() if self.local else ""
        if not who:
            gone = self.cluster.gone()
            time.sleep(LINGER)
            names = ", ".join(f"worker {i} ({self.cluster.addresses[i]})" for i in gone)
            verb = "is" if len(gone) == 1 else "are"
            lost = f"the workers lost each other: {_first(error)}"
            who = f"{names} {verb} gone" if gone else lost
        return f"{who}; started again, without --fresh, the run goes on from its last checkpoint"


def need_tensorflow() -> None:
    """Refuse other backends.

    Raises:
        ConfigError: Keras has another one.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"several workers need Keras's backend tensorflow, got {keras.backend.backend()}; "
            "unset KERAS_BACKEND, or train with one worker"
        )


def _strategy(cluster: Cluster) -> Any:
    import tensorflow as tf

    kinds = tf.distribute.experimental.CommunicationImplementation
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:  # one each
        own = cluster.neighbours().index(cluster.index)
        tf.config.set_visible_devices(gpus[own % len(gpus)], "GPU")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(
            cluster_resolver=resolver,
            communication_options=tf.distribute.experimental.CommunicationOptions(
                implementation=kinds.NCCL if gpus else kinds.RING
            ),
        )
    except tf.errors.OpError as error:
        raise WorkerError(
            f"worker {cluster.index} cannot start TensorFlow's server on "
            f"{cluster.addresses[cluster.index]}: {_first(error)}"
        ) from None
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # TensorFlow would only note it
    return strategy


def _sums(strategy: Any) -> tuple[Callable[[Tensor], Tensor], Callable[[Array], Array]]:
    """Functions that sum over all workers: a tensor while a graph is made, and an array."""
    import tensorflow as tf

    def in_replica(x: Tensor) -> Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(x))

    def plain(x: Tensor) -> Tensor:
        total = strategy.run(in_replica, (x,))
        total.set_shape(x.shape)
        return total

    @tf.custom_gradient
    def tensor(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return plain(x), plain  # the gradient of a sum is the sum of gradients

    compiled = {
        np.dtype(kind.as_numpy_dtype): tf.function(
            plain, [tf.TensorSpec([None], kind)], autograph=False
        )
        for kind in (tf.float32, tf.int64)
    }

    def array(x: Array) -> Array:
        found: Array = compiled[x.dtype](x.reshape(-1)).numpy()
        return found.reshape(x.shape)

    return tensor, array


def _abort(reason: str) -> None:
    """End the wait for a worker that is known to be dead: TensorFlow takes ten seconds for it."""
    from tensorflow.python.eager import context

    context.context().abort_collective_ops(10, reason)  # 10: tf.errors.ABORTED


def _first(error: BaseException) -> str:
    lines = [line for line in str(getattr(error, "message", error)).splitlines() if line]
    return lines[0] if lines else type(error).__name__
