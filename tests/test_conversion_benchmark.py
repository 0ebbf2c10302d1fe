"""The conversion benchmark: the same graph in ONNX, a floor counted right, and honest rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import tiny_checkpoint

from ds2edge.bundle import StepGrid
from ds2edge.training.checkpoint import Checkpoint, assign

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("", "_onnx", "_floor", "_measure", "_report")  # after "conversion"
STEPS = 3  # of a chunk


@pytest.fixture
def conversion(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    yield import_module("conversion")
    for name in ("worker", "common", *(f"conversion{part}" for part in MODULES)):
        sys.modules.pop(name, None)


def graph_of(checkpoint: Checkpoint, **changed: Any) -> tuple[Any, Any]:
    """Its step graph and folded weights, with another configuration and then random weights."""
    from ds2edge.convert.fold import fold
    from ds2edge.convert.step_graph import build_step_graph
    from ds2edge.training.network.model import build_model

    model = build_model(replace(checkpoint.config.model, **changed), checkpoint.config.features)
    if not changed:
        assign(model, checkpoint.weights)
    return build_step_graph(model, STEPS), fold(model)


@pytest.mark.parametrize(
    "changed",
    [{}, {"connected": 24, "candidate": "clipped_relu"}, {"cell": "simple", "look_ahead": 0}],
    ids=str,
)
def test_the_graphs_in_onnx_are_the_step_graph(
    conversion: ModuleType, changed: dict[str, Any]
) -> None:
    import onnxruntime

    graph, folded = graph_of(tiny_checkpoint(seed=3), **changed)
    shapes = graph.inputs(1)
    rng = np.random.default_rng(0)
    chunks = rng.normal(size=(4, *shapes["features"])).astype(np.float32)
    valid = np.ones((4, 1, STEPS, 1), np.float32)
    valid[-1, :, 1:] = 0

    inputs, expected = {name: np.zeros(shape, "f4") for name, shape in shapes.items()}, []
    for features, some in zip(chunks, valid, strict=True):
        outputs = graph.step({**inputs, "features": features, "valid": some})
        expected.append(np.asarray(outputs.pop("logits")))
        inputs.update({name: np.asarray(value) for name, value in outputs.items()})

    forms = import_module("conversion_onnx").onnx_graphs(folded, graph.grid, graph.bins)
    assert any(name.startswith("GRU") for name in forms) == (not changed)
    for name, form in forms.items():
        session = onnxruntime.InferenceSession(form.SerializeToString())
        state = {one.name: np.zeros(one.shape, "f4") for one in session.get_inputs()}
        for features, some, right in zip(chunks, valid, expected, strict=True):
            found = session.run(None, {**state, "features": features, "valid": some})
            named = dict(zip((one.name for one in session.get_outputs()), found, strict=True))
            np.testing.assert_allclose(named.pop("logits"), right, atol=2e-5, err_msg=name)
            state |= {after.removesuffix("_after"): value for after, value in named.items()}


def test_work_is_what_a_chunk_reads_and_multiplies(conversion: ModuleType) -> None:
    graph, folded = graph_of(tiny_checkpoint(seed=1))
    work = import_module("conversion_floor").work_of(folded, graph.grid, 100.0)
    # 20 bins, halved twice; 4 channels; two layers of 48; 29 tokens; look-ahead 5.
    convolutions = 5 * 5 * 1 * 4, 3 * 3 * 4 * 4
    recurrent = 2 * 48 * 144
    products = 5 * 4 * 144 + 48 * 144 + 6 * 48 + 48 * 29
    weights = sum(convolutions) + products + recurrent
    per_second = 100 / 9  # chunks of 9 frames
    assert work.weights == weights
    assert work.read == pytest.approx(per_second * (weights + 2 * recurrent))
    added = 3 * (10 * convolutions[0] + 5 * convolutions[1] + products + recurrent)
    assert work.multiply_adds == pytest.approx(per_second * added)


def test_cells_take_rounds_and_a_failing_one_says_why(
    conversion: ModuleType,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import onnx

    from ds2edge.convert.quantise import to_int8
    from ds2edge.convert.step_graph import to_tflite

    monkeypatch.setenv("DS2EDGE_CACHE", str(tmp_path / "cache"))
    graph, folded = graph_of(checkpoint)
    float32 = to_tflite(graph)
    (tmp_path / "fp32.tflite").write_bytes(float32)
    (tmp_path / "int8.tflite").write_bytes(to_int8(float32))
    (tmp_path / "damaged.onnx").write_bytes(b"nothing")
    onnx_module = import_module("conversion_onnx")
    forms = onnx_module.onnx_graphs(folded, graph.grid, graph.bins)
    onnx.save(forms["unrolled"], tmp_path / "graph.onnx")
    chunks = np.random.default_rng(0).normal(size=(40, *graph.inputs(1)["features"]))
    np.save(tmp_path / "chunks.npy", chunks.astype(np.float32))
    cells = [
        conversion.Cell("int8", "CompiledModel", tmp_path / "int8.tflite"),
        conversion.Cell("fp32", "CompiledModel", tmp_path / "fp32.tflite"),
        conversion.Cell("fp32", "onnxruntime", tmp_path / "graph.onnx", "unrolled"),
        conversion.Cell("int8", "onnxruntime", tmp_path / "damaged.onnx"),
    ]
    floor = import_module("conversion_floor")
    work = floor.work_of(folded, graph.grid, 100.0)
    subject = conversion.Subject("tiny", tmp_path, cells, {}, 0.09, work)
    memory = conversion.Cell("int8", "memory", floor.compile_reader(tmp_path))
    conversion.Bench({}, starts=1, rounds=3).measure(subject, [*cells, memory])

    int8, fp32, theirs, damaged = cells
    measure = import_module("conversion_measure")
    assert [len(cell.rounds) for cell in cells] == [3, 3, 3, 0]
    assert measure.off(theirs, fp32) < 1e-4 < measure.off(int8, fp32) < 0.5
    assert measure.passes(int8, fp32)
    assert "INVALID_PROTOBUF" in damaged.failure
    product = replace(memory, rounds=[0.01] * 3)
    report = conversion.Report(subject, memory, product)
    report.print()
    printed = capsys.readouterr().out
    assert printed.startswith("\n## tiny: 0.0 million weights, chunks of 90 ms\n")
    assert [line.count("|") for line in printed.splitlines() if line.startswith("|")] == [9] * 6
    assert "times as fast as onnxruntime (unrolled) in fp32\n" in printed
    assert "GB/s" in printed
    conversion.plot([report], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_that_computes_something_else_is_refused(
    conversion: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logits = np.random.default_rng(0).normal(size=(20, 1, 4, 29)) * 5
    exact = conversion.Cell("fp32", "CompiledModel", tmp_path, starts=[{"logits": logits}])
    measure = import_module("conversion_measure")
    near, wrong = logits + 0.05, logits[..., ::-1]
    assert measure.passes(replace(exact, starts=[{"logits": near}]), exact)
    assert not measure.passes(replace(exact, starts=[{"logits": wrong}]), exact)


def test_the_aims_are_medians_of_rounds(conversion: ModuleType, tmp_path: Path) -> None:
    work = import_module("conversion_floor").Work(weights=1000, read=2000.0, multiply_adds=0.0)
    ours = conversion.Cell("int8", "CompiledModel", tmp_path, rounds=[1.0, 2.0, 9.0])
    peer = conversion.Cell("int8", "onnxruntime", tmp_path, rounds=[2.0, 8.0, 27.0])
    memory = conversion.Cell("int8", "memory", tmp_path, rounds=[1.0, 1.0, 4.0])
    product = conversion.Cell("int8", "CompiledModel", tmp_path, rounds=[1.0, 1.0, 1.0])
    subject = conversion.Subject("one", tmp_path, [ours, peer], {}, 1.0, work)
    assert import_module("conversion_measure").ratio(peer, ours) == 3.0
    lines = list(conversion.Report(subject, memory, product)._aims(ours))
    assert "takes 1.00 of the floor" in lines[0]  # 0.5, 1 and 1.125
    assert "3.00 times as fast as onnxruntime in int8 (aim: 3)" in lines[1]


def test_a_grid_without_look_ahead_has_no_row_state(conversion: ModuleType) -> None:
    graph, folded = graph_of(tiny_checkpoint(seed=1), look_ahead=0)
    assert graph.grid == StepGrid(9, 3, 0)
    forms = import_module("conversion_onnx").onnx_graphs(folded, graph.grid, graph.bins)
    assert not any("row convolution" in name for name in forms)
    for form in forms.values():
        assert "row" not in [one.name for one in form.graph.input]
