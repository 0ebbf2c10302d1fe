"""Figures of many recordings, read in processes; what was read before comes from the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from ds2edge.cache import cache_folder
from ds2edge.errors import AudioError
from ds2edge.progress import track
from ds2edge.training.data.manifest import Utterance, refuse_shards
from ds2edge.training.files import file_state, taking_turns
from ds2edge.training.journal import Journal
from ds2edge.training.processes import in_order, worker_processes
from ds2edge.training.statistics.measure import VERSION, Figures, measure

Outcome: TypeAlias = Figures | str  # or why it cannot be read


def gather(utterances: Sequence[Utterance], jobs: int | None = None) -> list[Outcome]:
    """Measure each recording; one that is in several rows is read once.

    Raises:
        DataError: the recordings are in shards.
    """
    refuse_shards(utterances)
    of_manifest: dict[Path | None, list[Path]] = {}
    for utterance in utterances:
        of_manifest.setdefault(utterance.manifest, []).append(utterance.path)
    found: dict[Path, Outcome] = {}
    for manifest, paths in of_manifest.items():
        new = [path for path in dict.fromkeys(paths) if path not in found]
        found |= _measured(_store(manifest), new, jobs)
    return [found[utterance.path] for utterance in utterances]


def _measured(store: Path, paths: Sequence[Path], jobs: int | None) -> dict[Path, Outcome]:
    keys, unreadable = {path: _key(path) for path in paths}, {}
    store.parent.mkdir(parents=True, exist_ok=True)
    with taking_turns(store.parent), Journal(store) as known:
        wanted = [path for path in paths if keys[path] not in known]
        if wanted:
            with worker_processes(jobs) as pool:
                results = in_order(pool, _outcome, wanted, "reads recordings")
                for path, result in zip(
                    wanted, track(results, "reading", len(wanted)), strict=True
                ):
                    if isinstance(result, Figures):
                        known.add(keys[path], asdict(result))
                    else:  # it may be mended
                        unreadable[path] = result
        return {path: unreadable.get(path) or Figures(**known[keys[path]]) for path in paths}


def _outcome(path: Path) -> Outcome:
    try:
        return measure(path)
    except AudioError as error:
        return str(error)


def _key(path: Path) -> str:
    """Tells a recording, as it is now, from all others."""
    return json.dumps([VERSION, os.path.abspath(path), *file_state(path)])


def _store(manifest: Path | None) -> Path:
    name = hashlib.sha256(os.path.abspath(manifest or "").encode()).hexdigest()[:20]
    return cache_folder() / "statistics" / name / "figures.jsonl"
