"""Rows that another folder has trained already: their runs are copied, known by what they train."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from techniques_rows import BASE, Place, Plan, Row, manifest, without_statistics

from ds2edge.errors import ConfigError
from ds2edge.training.checkpoint import load_checkpoint
from ds2edge.training.config import TrainConfig, load_config
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation.recognised import Evaluation, read_evaluation, to_json
from ds2edge.training.files import partial_file

FILES = ("last.npz", "steps.jsonl", "history.jsonl", "usage.jsonl", "work.json")


def take_runs(plan: Plan, rows: Sequence[Row], source: Path, out: Path) -> list[Row]:
    """Copy the finished runs of another folder that trained what these rows train.

    What counts is the configuration, not the name. Rows with a teacher are not taken: another
    run's teacher is not to be had.

    Returns: the rows that were taken.

    Raises:
        ConfigError: the folder has no runs, or they were measured on other recordings.
    """
    runs = [run for config in sorted((source / "configs").glob("*.toml")) if (run := _run(config))]
    if not runs:
        raise ConfigError(f"{source} has no runs that are done; needed is an --out of techniques")
    base = Place(out, BASE).config
    if not base.exists() and (known := _base(plan, source)):  # the same statistics to the bit
        base.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(known, base)
    taken = []
    for row in rows:
        place = Place(out, row.name)
        if row.teacher or place.evaluation.exists():
            continue
        wanted = row.config(plan.base)
        for run, config in runs:
            if without_statistics(replace(config, name=row.name)) == wanted:
                _copy(run, place, replace(config, name=row.name))
                taken.append(row)
                break
    return taken


def _run(config: Path) -> tuple[Place, TrainConfig] | None:
    """A run that is done, with what its checkpoint says that it trained: a teacher, too."""
    place = Place(config.parents[1], config.stem)
    if not place.evaluation.exists():
        return None
    return place, load_checkpoint(place.checkpoint).config


def _base(plan: Plan, source: Path) -> Path | None:
    path = Place(source, BASE).config
    return path if path.exists() and without_statistics(load_config(path)) == plan.base else None


def _copy(run: Place, place: Place, config: TrainConfig) -> None:
    """The evaluation last: its presence says that the row is done."""
    place.run.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy2(run.run / name, place.run / name)
    evaluation = _moved(read_evaluation(run.evaluation), run.out, place.out, config)
    with partial_file(place.evaluation) as file:
        file.write(to_json(evaluation, {}).encode())


def _moved(evaluation: Evaluation, source: Path, out: Path, config: TrainConfig) -> Evaluation:
    """The same with paths relative to the other folder's manifests.

    Raises:
        ConfigError: it is of other recordings than this folder's.
    """
    folders = {f"{corpus.folder} dev": corpus.folder for corpus in config.data.dev}
    moved, here = [], set()
    for folder in folders.values():
        path = manifest(out, folder)
        here |= {_relative(one.path, path.parent) for one in read_manifest(path, "dev")}
    for one in evaluation.utterances:
        folder = folders[one.set]
        path = manifest(source, folder).parent / one.path
        moved.append(replace(one, path=_relative(path, manifest(out, folder).parent)))
    if {one.path for one in moved} != here:
        raise ConfigError(f"{source} was measured on other recordings than those of --data")
    return replace(evaluation, utterances=tuple(moved))


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(os.path.normpath(path.absolute()), folder)
