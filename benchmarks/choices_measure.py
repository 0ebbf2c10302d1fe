"""Size and speed of trained rows: each converted to int8, all measured in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from conversion import model_of
from conversion_floor import Work
from conversion_measure import Bench, Cell, Subject, ratio
from techniques_report import Result
from techniques_rows import BASE, Place

from ds2edge.convert.artefacts import Form, convert_model
from ds2edge.convert.converter import compare, probe_frames
from ds2edge.errors import DataError
from ds2edge.progress import track
from ds2edge.results import Seconds

FORM = Form(("int8",), batches=(1,))  # with as many outputs in a step as the embedded model has


@dataclass(frozen=True)
class Deployed:
    """A row's model as it would be used."""

    megabytes: float  # of the step graph in int8
    factor: float  # processor seconds for a second of audio, the acoustic model alone
    spread: tuple[float, float]  # of the rounds
    beside_base: float  # times the base's, the median of the rounds' ratios
    look_ahead: Seconds  # of the row convolution


def deployed(
    results: Sequence[Result], out: Path, folder: Path, rounds: int
) -> dict[str, Deployed]:
    """By row; those of both directions, which have no step graph, are left out.

    Args:
        folder: empty, for files that are of no use later.

    Raises:
        BundleError: a converted model is not the same model.
        DataError: one could not be run.
    """
    cells, outputs, looks = {}, {}, {}
    for result in track(results, "converting", len(results)):
        name = result.row.name
        model, features = model_of(str(Place(out, name).checkpoint))
        if model.both:
            continue
        length = FORM.chunk_outputs * model.config.time_stride
        frames = probe_frames(features, length)
        frames = frames[: len(frames) // length * length]
        converted = convert_model(model, FORM)
        compare(model, converted, [frames])
        path, chunks = folder / f"{name}.tflite", folder / f"{name}.npy"
        path.write_bytes(converted.files["int8"])
        np.save(chunks, frames.reshape(-1, 1, length, frames.shape[1]))
        cells[name] = Cell("int8", "CompiledModel", path, chunks=chunks)
        outputs[name] = length / features.frame_rate
        looks[name] = model.config.look_ahead * model.config.time_stride / features.frame_rate
    subject = Subject("all rows", folder, [*cells.values()], {}, 0.0, Work(0, 0.0, 0.0))
    Bench({}, starts=1, rounds=rounds).measure(subject, subject.cells)
    return {name: _deployed(cells, outputs, looks[name], name) for name in cells}


def _deployed(
    cells: Mapping[str, Cell], seconds: Mapping[str, Seconds], look_ahead: Seconds, name: str
) -> Deployed:
    """`seconds`: of audio in a chunk."""
    cell, base = cells[name], cells[BASE]
    if cell.failure:
        raise DataError(f"{name} cannot be run: {cell.failure}")
    factors = [taken / seconds[name] for taken in cell.rounds]
    return Deployed(
        cell.file.stat().st_size / 1e6,
        median(factors),
        (min(factors), max(factors)),
        ratio(cell, base) * seconds[BASE] / seconds[name],
        look_ahead,
    )
