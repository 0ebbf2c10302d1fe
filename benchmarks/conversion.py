"""Formats and runtimes of a converted model side by side, with onnxruntime and the measured floor.

For the model given, and for one of 36 million random weights: size, seconds of compute for a second
of audio on one thread, memory, and the time from a file to its first output. Each cell is a process
of its own; all take rounds in turn on one processor core, so that what else the machine does hits
all alike, and the time is the processor's. onnxruntime runs the same graph with the same weights.
Needs Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import common  # noqa: F401 - first: it pins threads
import numpy as np
from conversion_floor import PEAK_SHAPE, compile_reader, large_product, work_of
from conversion_measure import Bench, Cell, Subject, fastest, passes
from conversion_report import Report, plot, print_forms

from ds2edge import Ds2edgeError
from ds2edge.cache import cache_folder

EXAMPLES = """examples:
  python benchmarks/conversion.py --plot conversion.png
  python benchmarks/conversion.py my-run/best.npz --no-large --tflite-python tflite/bin/python
"""
TFLITE_RUNTIMES = ("CompiledModel", "Interpreter", "tflite-runtime")
TFLITE = ("tflite-runtime==2.14.0", "numpy<2")


def main() -> None:
    options = parse()
    logging.disable(logging.WARNING)  # onnxruntime gives advice at each int8 form
    try:
        with tempfile.TemporaryDirectory(prefix="ds2edge-conversion-") as folder:
            run(options, Path(folder))
    except (Ds2edgeError, OSError, RuntimeError, ImportError) as error:
        sys.exit(f"conversion.py: {error}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="en", help="bundle or checkpoint [%(default)s]")
    parser.add_argument("--no-large", dest="large", action="store_false", help="that model alone")
    parser.add_argument("--chunk-outputs", type=int, default=4, help="of a step [%(default)s]")
    parser.add_argument("--rounds", type=int, default=15, help="of each cell [%(default)s]")
    parser.add_argument("--starts", type=int, default=3, help="fresh processes [%(default)s]")
    parser.add_argument("--tflite-python", help="a Python that has tflite-runtime [it is made]")
    parser.add_argument("--no-tflite", dest="tflite", action="store_false", help="leave it out")
    parser.add_argument("--plot", type=Path, help="PNG to write")
    return parser.parse_args()


def run(options: argparse.Namespace, folder: Path) -> None:
    pythons = {"tflite-runtime": options.tflite_python or ""}
    if options.tflite and not options.tflite_python:
        pythons["tflite-runtime"] = tflite_environment()
    os.environ["DS2EDGE_CACHE"] = str(folder / "cache")  # packed weights
    bench = Bench(pythons, options.starts, options.rounds)
    reports = []
    for name in [options.model, *["large"] * options.large]:
        subject = subject_of(name, options.chunk_outputs, folder)
        if not options.tflite:
            subject.cells[:] = [c for c in subject.cells if c.runtime != "tflite-runtime"]
        float32 = bench.float32_onnx(subject)
        exact, int8 = bench.int8_onnx(subject, float32[0])
        print_forms(subject, int8, exact)
        right = [cell for cell in int8 if not cell.failure and passes(cell, exact)]
        subject.cells.extend([*float32, *(cell.again() for cell in fastest(right))])
        floor = floor_cells(subject.folder)
        bench.measure(subject, [*subject.cells, *floor])
        reports.append(Report(subject, *floor))
        reports[-1].print()
    if options.plot:
        plot(reports, options.plot)


def subject_of(name: str, chunk_outputs: int, folder: Path) -> Subject:
    """Convert a model into all formats."""
    import onnx
    from conversion_onnx import onnx_graphs

    from ds2edge.convert.artefacts import FORMATS, Form, convert_model
    from ds2edge.convert.converter import probe_frames
    from ds2edge.convert.fold import fold

    folder = folder / Path(name).stem
    folder.mkdir()
    model, features = large_model() if name == "large" else model_of(name)
    if model.both:
        raise RuntimeError(f"{name} hears whole recordings: it has no step graph")
    length = chunk_outputs * model.config.time_stride
    frames = probe_frames(features, length)
    frames = frames[: len(frames) // length * length]
    np.save(folder / "chunks.npy", frames.reshape(-1, 1, length, frames.shape[1]))
    converted = convert_model(model, Form(FORMATS, chunk_outputs, (1,)), [frames])
    cells = []
    for weights, content in converted.files.items():
        path = folder / f"{weights}.tflite"
        path.write_bytes(content)
        shared = weights != "int8-static"  # with packed weights shared it computes something else
        cells += [Cell(weights, runtime, path, cache=shared) for runtime in TFLITE_RUNTIMES]
    graphs, folded = {}, fold(model)
    for number, (form, graph) in enumerate(
        onnx_graphs(folded, converted.grid, model.feature_size).items()
    ):
        graphs[form] = folder / f"graph{number}.onnx"
        onnx.save(graph, graphs[form])
    work = work_of(folded, converted.grid, features.frame_rate)
    return Subject(name, folder, cells, graphs, length / features.frame_rate, work)


def model_of(name: str) -> tuple[Any, Any]:
    """A bundle's model, up to the rounding of its weights, or a checkpoint's; and its features."""
    from ds2edge.bundle import load_bundle
    from ds2edge.convert.restore import restore
    from ds2edge.training.checkpoint import assign, load_checkpoint
    from ds2edge.training.network.model import build_model

    is_bundle = not Path(name).is_file() or name.endswith(".ds2")
    checkpoint = restore(load_bundle(name)) if is_bundle else load_checkpoint(name)
    model = build_model(checkpoint.config.model, checkpoint.config.features)
    assign(model, checkpoint.weights)
    return model, checkpoint.config.features


def large_model() -> tuple[Any, Any]:
    """36 million random weights."""
    import keras

    from ds2edge.features import FeatureSettings
    from ds2edge.training.config import Convolution, ModelConfig
    from ds2edge.training.network.model import build_model

    keras.utils.set_random_seed(1)
    convolutions = (Convolution(32, 11, 41, 2, 2), Convolution(32, 11, 21, 1, 2))
    config = ModelConfig(layers=5, units=1120, look_ahead=20, convolutions=convolutions)
    return build_model(config, FeatureSettings()), FeatureSettings()


def floor_cells(folder: Path) -> tuple[Cell, Cell]:
    """The memory's rate and that of a product."""
    path = folder / "product.tflite"
    path.write_bytes(large_product())
    rng = np.random.default_rng(0)
    chunks = rng.normal(size=(16, 1, *PEAK_SHAPE[:2])).astype(np.float32)
    np.save(folder / "product.npy", chunks)
    product = Cell("int8", "CompiledModel", path, chunks=folder / "product.npy")
    return Cell("int8", "memory", compile_reader(folder)), product


def tflite_environment() -> str:
    """A Python with tflite-runtime in an environment of its own, made once."""
    place = cache_folder() / "benchmarks" / "tflite-runtime"
    python = place / "bin" / "python"
    if not python.exists():
        if sys.version_info >= (3, 12):
            raise RuntimeError(
                "tflite-runtime needs Python 3.11: --tflite-python PYTHON, or --no-tflite"
            )
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *TFLITE]
        subprocess.run(command, check=True)
    return str(python)


if __name__ == "__main__":
    main()
