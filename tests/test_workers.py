"""Several workers, as far as one process shows it: who they are, how they meet, what each has."""

from __future__ import annotations

import json
import re
import socket
import threading
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tiny_training import lively, tiny_config, write_corpus

from ds2edge import cli
from ds2edge.errors import ConfigError, DataError, WorkerError
from ds2edge.training.cluster import Cluster, LocalWorkers, cluster_of, meet
from ds2edge.training.data.batches import Batch
from ds2edge.training.network.layers import SequenceBatchNorm
from ds2edge.training.network.model import build_model
from ds2edge.training.step import build_stepper, inputs, targets
from ds2edge.training.train import prepare
from ds2edge.training.workers import SeveralWorkers, Workers, need_tensorflow

SETTINGS = {"model": {"units": 12}}


def options(**given: Any) -> Namespace:
    empty = dict.fromkeys(("workers", "worker_index", "worker_addresses"))
    return Namespace(**{**empty, **given})


# ---- who they are


def test_a_cluster_is_of_arguments_or_of_the_variable() -> None:
    assert cluster_of(options(), {}) is None
    assert cluster_of(options(workers=1), {}) is None
    found = cluster_of(options(workers=3), {"TF_CONFIG": "no matter"})
    assert found
    assert (found.index, len(set(found.addresses))) == (0, 3)
    given = options(worker_index=1, worker_addresses="a:1,[::1]:2")
    found = cluster_of(given, {})
    assert found == Cluster(("a:1", "[::1]:2"), 1)
    assert (found.host(1), found.port(1), found.neighbours()) == ("::1", 2, [1])
    variable = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    assert cluster_of(options(), {"TF_CONFIG": json.dumps(variable)}) == Cluster(("a:1", "b:2"), 1)
    variable["cluster"] = {"chief": ["c:3"], **variable["cluster"]}
    found = cluster_of(options(), {"TF_CONFIG": json.dumps(variable)})
    assert found == Cluster(("c:3", "a:1", "b:2"), 2)


@pytest.mark.parametrize(
    ("given", "variable", "message"),
    [
        ({"workers": 0}, "", "--workers needs 1 or more, got 0"),
        ({"workers": 2, "worker_index": 0}, "", "--workers starts all workers"),
        ({"worker_index": 0}, "", "go together"),
        ({"worker_addresses": "a:1,b:2"}, "", "go together"),
        ({"worker_index": 2, "worker_addresses": "a:1,b:2"}, "", "is 2, needed 0 to 1"),
        ({"worker_index": 0, "worker_addresses": "a:1,a:1"}, "", "two workers have one address"),
        ({"worker_index": 0, "worker_addresses": "a,b:2"}, "", "address is 'a', needed host:port"),
        ({"worker_index": 0, "worker_addresses": "a:1,b:99999"}, "", "'b:99999'"),
        ({}, "{", "TF_CONFIG names no worker"),
        ({}, '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "TF_CONFIG"),
    ],
)
def test_contradictions_are_named(given: Any, variable: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_of(options(**given), {"TF_CONFIG": variable})


def test_contradictions_are_one_line_of_the_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text("[model]\nunits = 2\n")
    command = ["train", str(config), "--data", "x", "--out", str(tmp_path), "--worker-index", "1"]
    assert cli.main(command) == 2
    error = capfd.readouterr().err
    assert error.startswith("ds2edge: --worker-index and --worker-addresses go together")
    assert error.count("\n") == 1


def test_only_tensorflow_has_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="need Keras's backend tensorflow, got jax"):
        need_tensorflow()


# ---- how they meet


def free_addresses(count: int = 2) -> tuple[str, ...]:
    found = cluster_of(options(workers=count), {})
    assert found
    return found.addresses


def together(*calls: Callable[[], None]) -> list[str]:
    """Call all at once. Returns: what each failed with."""
    said = [""] * len(calls)

    def run(number: int) -> None:
        try:
            calls[number]()
        except WorkerError as error:
            said[number] = str(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return said


def worker(index: int, addresses: tuple[str, ...], settings: Any = SETTINGS) -> Any:
    return lambda: meet(Cluster(addresses, index), settings, 60.0)


def test_workers_with_the_same_settings_meet_in_any_order() -> None:
    a = free_addresses(3)
    assert together(worker(2, a), worker(1, a), worker(0, a)) == [""] * 3
    for address in a:  # TensorFlow's server can have it now
        socket.create_server(("", int(address.rpartition(":")[2]))).close()


def test_others_that_knock_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    a = free_addresses()

    def knock() -> None:
        while True:
            try:
                place = ("127.0.0.1", int(a[0].rpartition(":")[2]))
                with socket.create_connection(place) as connection:
                    connection.sendall(b"GET / HTTP/1.0\n")
                    return worker(1, a)()  # type: ignore[no-any-return]
            except ConnectionRefusedError:
                pass

    assert together(worker(0, a), knock) == ["", ""]


def test_a_worker_that_is_slow_to_speak_comes_again() -> None:
    a = free_addresses()
    place = ("127.0.0.1", int(a[0].rpartition(":")[2]))

    def slow() -> None:
        while True:
            try:
                with socket.create_connection(place) as connection:
                    assert connection.recv(1) == b""  # the chief gives up on this connection
                    return worker(1, a)()  # type: ignore[no-any-return]
            except ConnectionRefusedError:
                pass

    assert together(worker(0, a), slow) == ["", ""]


@pytest.mark.parametrize(
    ("index", "settings", "more", "message"),
    [
        (
            1,
            {"model": {"units": 24}},
            0,
            r"worker 1 has another configuration than worker 0 \(mode",
        ),
        (2, SETTINGS, 0, r"two workers have the index 2"),
        (1, SETTINGS, 1, "worker 1 was given the addresses .* give both the same"),
    ],
)
def test_workers_that_do_not_fit_are_told_so(
    index: int, settings: Any, more: int, message: str
) -> None:
    a = free_addresses(4 if index == 2 else 2)  # worker 1 is late
    other = (*a, *free_addresses(2)[:more])

    def come() -> None:
        while True:
            try:
                return worker(index, other, settings)()  # type: ignore[no-any-return]
            except WorkerError as error:
                if "in use" not in str(error):  # by the other one of the same index, at this moment
                    raise

    said = together(worker(0, a), *[come] * (2 if index == 2 else 1))
    assert all(re.search(message, one) for one in said), said


def test_a_worker_that_does_not_come_is_named() -> None:
    a = free_addresses()
    with pytest.raises(WorkerError, match=rf"worker 1 \({a[1]}\) did not come within 0.1 s"):
        meet(Cluster(a, 0), SETTINGS, 0.1)


def test_a_chief_that_cannot_be_reached_is_named() -> None:
    a = free_addresses()
    with pytest.raises(
        WorkerError, match=rf"worker 0 \({a[0]}\) cannot be reached within 0.1 s: C"
    ):
        meet(Cluster(a, 1), SETTINGS, 0.1)
    with pytest.raises(WorkerError, match=r"worker 0 .* cannot be reached: Name"):
        meet(Cluster(("no.such.machine.invalid:1", a[1]), 1), SETTINGS, 60.0)


def test_a_port_that_is_in_use_is_named() -> None:
    a = free_addresses()
    port = int(a[0].rpartition(":")[2])
    with (
        socket.create_server(("", port)),
        pytest.raises(WorkerError, match=rf"port {port} of this machine, worker 0's, is in use"),
    ):
        meet(Cluster(a, 0), SETTINGS, 60.0)


def test_a_process_that_fails_at_the_start_ends_the_wait(tmp_path: Path) -> None:
    chief = Cluster(free_addresses(), 0)
    with LocalWorkers(chief, ["nonsense", "--workers", "2"], tmp_path) as local:
        with pytest.raises(WorkerError, match=r"worker 1 failed: .*invalid choice: 'nonsense'"):
            meet(chief, SETTINGS, 60.0, local.check)
        local.watch(lambda _: None)
        assert "nonsense" in local.culprit()
    assert "--workers" not in local.arguments


# ---- what each has


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("workers")
        patch.setenv("DS2EDGE_CACHE", str(folder / "cache"))
        config = lively(tiny_config(1))
        config = replace(config, model=replace(config.model, dropout=0.0))
        yield prepare(
            replace(config, data=replace(config.data, batch_size=5)), write_corpus(folder), folder
        )


class Part(Workers):
    """One of some, which knows no others."""

    def __init__(self, index: int, count: int) -> None:
        self.index, self.count = index, count


def parts(run: Any, number: int, count: int) -> list[Batch]:
    plan = run.plan(0)
    return [
        next(replace(run, workers=Part(i, count)).batches(0, plan, [number])) for i in range(count)
    ]


def test_each_recording_is_one_workers_and_masked_as_if_there_were_no_others(run: Any) -> None:
    for number in range(len(run.plan(0))):
        (whole,) = parts(run, number, 1)
        shared = parts(run, number, 2)
        assert [b.weight + b.others for b in shared] == [whole.weight] * 2
        for row in range(len(whole.frames)):
            batch, own = shared[row % 2], row // 2
            assert batch.frames[own] == whole.frames[row]
            n, m = whole.frames[row], whole.lengths[row]
            np.testing.assert_array_equal(batch.features[own, :n], whole.features[row, :n])
            np.testing.assert_array_equal(batch.tokens[own, :m], whole.tokens[row, :m])


class Recorder(Workers):
    """Notes what this one gives to be summed."""

    count = 2

    def __init__(self) -> None:
        self.said: list[Any] = []

    def total(self, tensors: Any) -> Any:
        self.said.append(tensors)
        return tensors


def test_a_worker_without_a_recording_changes_nothing(run: Any) -> None:
    """Its loss and gradients are zero, and it adds nothing to the sums of a batch norm."""
    shared = parts(run, 0, len(run.plan(0)[0].recordings) + 1)
    last = shared[-1]
    assert (len(last.frames), last.frames[0], last.lengths[0]) == (1, 0, 0)
    assert last.weight + last.others == shared[0].weight + shared[0].others
    model, recorder = build_model(run.config.model, run.config.features), Recorder()
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, SequenceBatchNorm)]
    assert norms
    for norm in norms:
        # The statistics are then those of the others.
        norm.total = lambda t, r=recorder: [a + 5.0 for a in r.total(t)]  # type: ignore[misc]
    with tf.GradientTape() as tape:
        loss = model.compute_loss(inputs(last), targets(last), model(inputs(last), training=True))
    assert float(loss) == 0
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert not np.any(ops.convert_to_numpy(gradient))
    assert len(recorder.said) == len(norms)
    assert not any(np.any(ops.convert_to_numpy(x)) for sums in recorder.said for x in sums)


def test_parts_of_a_batch_weigh_by_their_tokens(run: Any) -> None:
    """Loss and gradients of the parts, as each worker gives them to be summed, make the whole."""
    found = []
    for count in (1, 3):
        said = []
        for batch in parts(run, 0, count):
            keras.utils.set_random_seed(1)
            config = replace(run.config.model, norm="none")
            model = build_model(config, run.config.features)
            optimizer = keras.optimizers.SGD(0.1)
            optimizer.build(model.trainable_variables)
            recorder = Recorder()
            update = build_stepper(model, optimizer, 1e9, recorder)
            tf.config.run_functions_eagerly(True)
            try:
                update([batch])
            finally:
                tf.config.run_functions_eagerly(False)
            said.append([ops.convert_to_numpy(x) for x in recorder.said[-1]])
            assert len(said[-1]) == 1 + len(model.trainable_variables)
        found.append([sum(values) for values in zip(*said, strict=True)])
    for whole, summed in zip(*found, strict=True):
        np.testing.assert_allclose(summed, whole, rtol=1e-4, atol=1e-5)


# ---- what they tell each other


class Told(SeveralWorkers):
    """Of two, in this process: the other one's numbers are given."""

    def __init__(self, index: int, others: list[Any]) -> None:
        self.index, self.count, self.others = index, 2, others

    def _numbers(self, values: Any) -> Any:
        return values + self.others.pop(0)


def test_what_the_chief_makes_is_everywhere() -> None:
    text = np.array(list(json.dumps({"best": 0.5}).encode()))
    told = Told(1, [np.array([len(text)]), text])
    assert told.from_chief(lambda: pytest.fail("only the chief makes it")) == {"best": 0.5}
    assert Told(1, [np.array([2])]).any(False)
    assert not Told(1, [np.array([0])]).any(False)


def test_others_take_the_chiefs_values_but_draw_other_dropout() -> None:
    norm, dropout = SequenceBatchNorm(), keras.layers.Dropout(0.5, seed=3)
    norm.build((None, None, 2))
    chief = [np.float32([i, 6]) for i in range(4)]
    Told(1, [*chief, np.array([7, 8])]).spread(norm, dropout)
    found = [ops.convert_to_numpy(v).tolist() for v in norm.variables + dropout.variables]
    assert found == [[0, 6], [1, 6], [2, 6], [3, 6], [8, 8]]


def test_workers_with_other_recordings_are_named() -> None:
    def rows(own: str, other: str) -> Any:
        return np.array([[0] * len(own), list(other.encode())])

    Told(0, [rows("abc", "abc")]).same("recordings", "abc")
    with pytest.raises(DataError, match="worker 1 has other recordings than worker 0"):
        Told(0, [rows("abc", "abd")]).same("recordings", "abc")
