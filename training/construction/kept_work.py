"""Work on many recordings in processes; what was found before is kept, and found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ds2edge.cache import cache_folder
from ds2edge.progress import track
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.files import file_state, taking_turns
from ds2edge.training.journal import Journal
from ds2edge.training.processes import in_order, worker_processes

Item = TypeVar("Item")


def kept_work(
    work: Callable[[Item], Any],
    items: Sequence[Item],
    keys: Sequence[str],
    kind: str,
    shared: str,
    jobs: int,
) -> list[Any]:
    """What `work` makes of each item, in their order; a run that was interrupted goes on.

    Args:
        work: for processes, so a function of a module or a `partial` of one.
        keys: what each result depends on, see `recording_key`.
        kind: of work, a folder of the cache.
        shared: what all results depend on: the model, the manifest.

    Raises:
        DataError: a process was killed.
        OSError: the cache cannot be written.
    """
    # A folder for each model and manifest: nobody waits for another corpus.
    folder = cache_folder() / kind / hashlib.sha256(shared.encode()).hexdigest()[:20]
    folder.mkdir(parents=True, exist_ok=True)
    with taking_turns(folder), Journal(folder / "found.jsonl") as known:
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            with worker_processes(min(jobs, len(new))) as pool:
                found = in_order(pool, work, (items[i] for i in new), "hears recordings")
                for i, values in zip(new, track(found, "listening", len(new)), strict=True):
                    known.add(keys[i], values)
        return [known[key] for key in keys]


def recording_key(utterance: Utterance, *more: str) -> str:
    """Tells a recording, as it is now, and what else counts from all others."""
    whole = json.dumps([str(utterance.path.resolve()), *file_state(utterance.path), *more])
    return hashlib.sha256(whole.encode()).hexdigest()[:24]
