"""Augmented copies of a corpus, as FLAC files with a manifest that tells what was done to each."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from ds2edge.audio_file import is_whole
from ds2edge.errors import AudioError, DataError
from ds2edge.progress import track
from ds2edge.training.augmentation.chain import Banks, Effects, apply, draw
from ds2edge.training.config import AugmentConfig
from ds2edge.training.data.feature_cache import Change, Item, read_samples
from ds2edge.training.data.manifest import (
    Utterance,
    read_manifest,
    refuse_others,
    write_manifest,
)
from ds2edge.training.data.shards import with_sounds
from ds2edge.training.files import file_state, locked, partial_file, remove_parts
from ds2edge.training.processes import in_order, worker_processes

RATE = 16_000  # Hz, of the copies
LOUDEST = 0.99  # what a copy that would clip is made quieter to
VERSION = 1  # of what a seed makes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What is to be made of each recording."""

    augment: AugmentConfig  # shares and ranges; the masks are not used
    banks: Banks
    noises: Sequence[Utterance]  # those of the bank
    speeds: tuple[float, ...] = (1.0,)
    levels: tuple[float, ...] = ()  # dB, least and most gain; empty: none
    copies: int = 1
    seed: int = 1


@dataclass(frozen=True)
class Copy:
    """A file that is to be."""

    path: Path
    effects: Effects
    number: int  # of the recording in the manifest


def write_copies(manifest: Path, folder: Path, wanted: Wanted, jobs: int) -> tuple[int, int]:
    """Augment all splits of a manifest; files that are there are kept.

    The manifest beside them comes last: its presence says that all is whole. Recordings that cannot
    be read are left out, each with a warning.

    Returns: how many files there are, and how many recordings were left out.

    Raises:
        DataError: the manifest is malformed, or would be overwritten; nothing can be read.
        OSError: a file cannot be written.
    """
    utterances = read_manifest(manifest)
    target = folder / "manifest.tsv"
    refuse_others(target, "vocal_tract")
    copies = plan_copies(utterances, folder, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "writing to", "give another -o"):
        remove_parts(folder)
        missing = [copy for copy in copies if not is_whole(copy.path)]
        bad = _write_missing(missing, utterances, wanted.banks, jobs)
        there = [copy for copy in copies if copy.number not in bad]
        if not there:
            raise DataError(f"{manifest}: none of its {len(utterances)} recordings can be read")
        rows = [_row(copy, utterances[copy.number]) for copy in there]
        done = [done_to(copy, utterances[copy.number], wanted) for copy in there]
        write_manifest(target, rows, done)
    return len(there), len(bad)


def plan_copies(utterances: Sequence[Utterance], folder: Path, wanted: Wanted) -> list[Copy]:
    """Every file. What is drawn depends on a recording's name and the seed, not on the others.

    A file's name has a digest of all that it is made of: another one is written where that changes.
    """
    settings = [VERSION, asdict(wanted.augment), wanted.speeds, wanted.levels, wanted.seed]
    noise = wanted.banks.noise.name if wanted.banks.noise else ""
    copies = []
    for number, utterance in enumerate(utterances):
        name, state = utterance.path.name, list(file_state(utterance.file))
        for copy in range(wanted.copies):
            rng = np.random.default_rng([wanted.seed, copy, *name.encode()])
            change = Change(float(rng.choice(wanted.speeds)), wanted.levels)
            effects = draw(wanted.augment, wanted.banks, change, rng)
            key = json.dumps([settings, noise, str(utterance.path), utterance.record, state, copy])
            digest = hashlib.sha256(key.encode()).hexdigest()[:12]
            path = folder / f"{utterance.path.stem}-{copy + 1}-{digest}.flac"
            copies.append(Copy(path, effects, number))
    return copies


def done_to(copy: Copy, utterance: Utterance, wanted: Wanted) -> dict[str, object]:
    """What was done to a copy that is there, as columns; an empty one: nothing."""
    effects, banks = copy.effects, wanted.banks
    noise, snr, room, band = "", "", "", ""
    if effects.noise:
        noise = " + ".join(wanted.noises[piece.clip].path.name for piece in effects.noise.pieces)
        snr = f"{effects.noise.snr:.2f}"
    if effects.room is not None and banks.rooms:
        room = f"{banks.rooms.seconds(effects.room):.2f}"
    if effects.band:
        low, high = effects.band
        band = f"{low:.0f}-{min(high, RATE / 2):.0f}"
    return {
        "source": str(utterance.path.resolve()),
        "speed": f"{effects.speed:g}",
        "vocal_tract": f"{effects.vocal_tract:.3f}",
        "reverberation_s": room,
        "noise": noise,
        "snr_db": snr,
        "band_hz": band,
        "codec": str(effects.codec or ""),
        "gain_db": _opened(copy)[1],
    }


def _write_missing(
    copies: Sequence[Copy], utterances: Sequence[Utterance], banks: Banks, jobs: int
) -> set[int]:
    """Returns: the numbers of recordings that cannot be read."""
    bad: set[int] = set()
    if not copies:
        return bad
    items = with_sounds(utterances[copy.number] for copy in copies)
    tasks = zip(items, copies, strict=True)
    with worker_processes(jobs) as pool:
        work = in_order(pool, partial(_write, banks), tasks, "augments recordings")
        for copy, error in zip(copies, track(work, "copies", len(copies)), strict=True):
            if error and copy.number not in bad:
                log.warning("%s: left out: %s", utterances[copy.number].where, error)
                bad.add(copy.number)
    return bad


def _write(banks: Banks, task: tuple[Item, Copy]) -> str:
    """Returns: why the recording cannot be read; empty: the copy is there."""
    item, copy = task
    try:
        samples = read_samples(item, RATE)
    except AudioError as error:
        return str(error)
    samples = apply(samples, RATE, copy.effects, banks)
    # Not as loud as it was to be, rather than clipped.
    quieter = min(1.0, LOUDEST / max(LOUDEST, float(np.abs(samples).max(initial=0.0))))
    gain = copy.effects.gain + 20 * np.log10(quieter)
    with (
        partial_file(copy.path, sync=False) as raw,
        soundfile.SoundFile(raw, "w", RATE, 1, "PCM_16", format="FLAC") as file,
    ):
        file.comment = f"{gain:.2f} dB"  # for the manifest, also of a run that goes on
        file.write(samples * np.float32(quieter))
    return ""


def _row(copy: Copy, utterance: Utterance) -> Utterance:
    return replace(utterance, path=copy.path, seconds=_opened(copy)[0])


def _opened(copy: Copy) -> tuple[float, str]:
    """Seconds, and the gain in dB."""
    with soundfile.SoundFile(copy.path) as file:
        return round(file.frames / file.samplerate, 3), file.comment.removesuffix(" dB")
