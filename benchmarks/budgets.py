"""The budgets of a bundle in one run: speed, memory, start and size, beside pocketsphinx.

All processes are fresh and have one thread. The two recognisers transcribe the same recordings in
turn, so that what else the machine does hits both alike; so do their cold starts. pocketsphinx has
the model that it brings, and its own settings. Decoder and step graph have benchmarks of their own,
decoder.py and conversion.py. Needs Linux.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import cold_start  # first: it pins threads
import numpy as np
import real_time_factor
from cold_start import (
    CUT_PROGRAM,
    SECONDS,
    STEPS,
    STEPS_PROGRAM,
    Program,
    ProgramError,
    python,
    run,
)
from common import add_recordings, print_table
from long_stream import BLOCK, RATE, RESIDENT
from worker import Worker, in_turn

from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.bundle import Bundle, load_bundle
from ds2edge.errors import Ds2edgeError
from ds2edge.progress import track

OURS, PEER = "ds2edge", "pocketsphinx"
WORKER = "budgets_worker.py"
IMPORT, FIRST_TEXT = 1, 4  # of the steps of a cold start
COLOURS = ("#1b4965", "#c2410c")  # told apart by brightness, too

EPILOG = """examples:
  python benchmarks/budgets.py --plot budgets.png
      the embedded bundle on the tests' samples
  python benchmarks/budgets.py --bundle my.ds2 speech/librispeech/audio/84-*.mp3
"""
PEER_STEPS = f"""
import sys, time, wave
began = time.perf_counter()
from pocketsphinx import Decoder
imported = time.perf_counter()
decoder = Decoder(loglevel="FATAL")
decoder.start_utt()
with wave.open(sys.argv[1]) as file:
    while pcm := file.readframes({round(BLOCK * RATE)}):
        decoder.process_raw(pcm)
        if decoder.hyp() and decoder.hyp().hypstr:
            break
print(0, imported - began, 0, 0, time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Measured:
    """One recogniser; medians."""

    factor: float  # processor seconds for a second of audio, audio to text
    spread: tuple[float, float]  # of the rounds
    peak: float  # MB that were resident at most, transcribing
    imported: float  # s, over numpy
    first_text: float  # s from the import on
    left: float  # s of compute after the last sample, fed as a microphone feeds
    megabytes: float  # of the model on disk


@dataclass(frozen=True)
class Budget:
    """A line of the table."""

    name: str
    aim: float
    shown: str  # format
    figure: Callable[[Measured], float]


BUDGETS = (
    Budget("real-time factor, end to end", real_time_factor.AIM, ".5f", lambda m: m.factor),
    Budget("most resident memory, MB", RESIDENT, ".1f", lambda m: m.peak),
    Budget("import, over numpy, s", STEPS[IMPORT][1] or 0.0, ".3f", lambda m: m.imported),
    Budget("import to first text, s", STEPS[FIRST_TEXT][1] or 0.0, ".3f", lambda m: m.first_text),
    Budget("compute after the last sample, ms", 30, ".1f", lambda m: 1000 * m.left),
    Budget("model on disk, MB", 25, ".1f", lambda m: m.megabytes),
)


def main() -> None:
    given = arguments()
    bundle = load_bundle(given.bundle)
    names = [OURS, *[PEER] * (find_spec(PEER) is not None)]
    with tempfile.TemporaryDirectory(prefix="ds2edge-budgets-") as folder:
        found = measure(names, bundle, given, Path(folder))
    print()
    print_table(*table(found))
    for name, one in found.items():
        low, high = one.spread
        print(f"{name}: real-time factor {low:.5f} to {high:.5f} in {given.rounds} rounds")
    if PEER not in found:
        print(f"{PEER} is not installed: pip install {PEER}")
    if given.plot:
        plot(found, given.plot)
        print(f"plot: {given.plot}")


def arguments() -> argparse.Namespace:
    parser = CommandParser("budgets.py", description=__doc__, epilog=EPILOG)
    add_recordings(parser)
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--rounds", type=int, default=5, help="of transcribing [%(default)s]")
    parser.add_argument("--starts", type=int, default=5, help="fresh processes [%(default)s]")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw all as parts of the aim")
    given = parser.parse_args()
    if given.rounds < 1 or given.starts < 1:
        parser.error(f"--rounds and --starts need 1, got {given.rounds} and {given.starts}")
    return given


def measure(
    names: Sequence[str], bundle: Bundle, given: argparse.Namespace, folder: Path
) -> dict[str, Measured]:
    """Each recogniser in turn: transcribing, then cold starts."""
    recordings, seconds = written(given.files, folder)
    print(f"{bundle.manifest.name}: {len(recordings)} recordings, {seconds:.0f} s of audio")
    told: dict[str, Any] = {}
    factors: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        workers = []
        for name in track(names, "starting", len(names)):
            spec = {"recogniser": name, "bundle": given.bundle, "threads": 1}
            spec["recordings"] = [str(path) for path in recordings]
            workers.append(stack.enter_context(Worker(sys.executable, WORKER, spec)))
            told[name] = workers[-1].read()
        for _ in track(range(given.rounds), "transcribing", given.rounds):
            for name, ((_, processor),) in zip(names, in_turn(workers, 1), strict=True):
                factors[name].append(processor / seconds)
    starts = cold_starts(names, given, folder)
    sizes = {OURS: bundle.size / 1e6, PEER: peer_megabytes()}
    return {
        name: Measured(
            median(factors[name]),
            (min(factors[name]), max(factors[name])),
            told[name]["peak"],
            starts[name][IMPORT],
            starts[name][FIRST_TEXT],
            told[name]["left"],
            sizes[name],
        )
        for name in names
    }


def written(files: Sequence[Path], folder: Path) -> tuple[list[Path], float]:
    """Samples of each recording as a file, and their seconds in all.

    Raises:
        AudioError: one cannot be read.
    """
    paths, count = [], 0
    for number, file in enumerate(files):
        samples = read_audio(file, RATE)
        paths.append(folder / f"{number}.npy")
        np.save(paths[-1], np.round(32767 * np.clip(samples, -1, 1)).astype(np.int16))
        count += len(samples)
    return paths, count / RATE


def cold_starts(
    names: Sequence[str], given: argparse.Namespace, folder: Path
) -> dict[str, list[float]]:
    """Seconds of each of STEPS, the medians.

    Raises:
        ProgramError: one failed.
    """
    path = str(folder / "speech.wav")
    run(python(CUT_PROGRAM, *map(str, given.files), str(SECONDS), path))
    commands = {OURS: python(STEPS_PROGRAM, path, given.bundle), PEER: python(PEER_STEPS, path)}
    programs = [Program(name, commands[name], name) for name in names]
    cold_start.measure(programs, given.starts)
    for program in programs:
        if program.failure:
            raise ProgramError(f"{program.name} {program.failure}")
    return {
        program.name: [
            median(step) for step in zip(*(r.printed for r in program.runs), strict=True)
        ]
        for program in programs
    }


def peer_megabytes() -> float:
    """Acoustic model, language model and dictionary; 0 where it is not installed."""
    spec = find_spec(PEER)
    if spec is None or spec.origin is None:
        return 0.0
    folder = Path(spec.origin).parent / "model" / "en-us"
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def table(found: Mapping[str, Measured]) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    rows = []
    for budget in BUDGETS:
        ours = budget.figure(found[OURS])
        missed = " MISSED" if ours > budget.aim else ""
        row = [budget.name, f"{budget.aim:g}", f"{ours:{budget.shown}}"]
        row.append(f"x {ours / budget.aim:.2f}{missed}")
        if PEER in found:
            peer = budget.figure(found[PEER])
            row += [f"{peer:{budget.shown}}", f"x {peer / ours:.2f}"]
        rows.append(row)
    beside = [PEER, f"to {OURS}"] if PEER in found else []
    return ["", "aim", OURS, "of the aim", *beside], rows


def plot(found: Mapping[str, Measured], path: Path) -> None:
    """Every figure as a part of its aim."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(found)
    for i, (name, one) in enumerate(found.items()):
        parts = [budget.figure(one) / budget.aim for budget in BUDGETS]
        places = [row + (i - (len(found) - 1) / 2) * height for row in range(len(BUDGETS))]
        bars = axes.barh(places, parts, height, label=name, color=COLOURS[i])
        shown = [f"{budget.figure(one):{budget.shown}}" for budget in BUDGETS]
        axes.bar_label(bars, shown, padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=1, linestyle="--", label="aim")
    axes.set_yticks(range(len(BUDGETS)), [f"{b.name}\naim {b.aim:g}" for b in BUDGETS], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xscale="log", xlabel="of the aim; less is better")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, ProgramError, RuntimeError, OSError) as error:
        raise SystemExit(f"budgets.py: {error}") from None
