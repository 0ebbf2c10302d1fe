"""What ctc.py and recurrence.py share: implementations side by side, and how right they are."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import print_table
from worker import Worker, in_turn

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """An implementation."""

    name: str
    script: str = "pieces.py"
    backend: str = "tensorflow"
    package: str = "tensorflow"  # that it needs

    @property
    def label(self) -> str:
        return self.name if self.script != "pieces.py" else f"{self.name}, {self.backend}"


TORCH = Variant("torch", "pieces_torch.py", "torch", "")


def beside(
    piece: str,
    variants: Sequence[Variant],
    problems: dict[str, tuple[Arrays, Arrays]],
    options: argparse.Namespace,
) -> None:
    """Print a table for each number of threads.

    Args:
        problems: name to what is given and to the value and gradient that are right.
    """
    for threads in options.threads:
        rows = []
        for name, (given, wanted) in problems.items():
            rows += _rows(piece, variants, name, given, wanted, threads, options)
        print(f"{threads} thread{'s' * (threads > 1)}, median of {options.repeats} steps in turn\n")
        header = ["shape", "implementation", "ms", "ours is faster", "value off", "gradient off"]
        print_table([*header, "remark"], rows)
        print()


def _rows(
    piece: str,
    variants: Sequence[Variant],
    name: str,
    given: Arrays,
    wanted: Arrays,
    threads: int,
    options: argparse.Namespace,
) -> list[list[str]]:
    rows, running = [], []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        np.savez(Path(folder) / "given.npz", **given)
        chosen = [v for v in variants if not options.only or v.name in options.only]
        for i, variant in enumerate(chosen):
            python, missing = sys.executable, ""
            if variant.backend == "torch":
                python = options.torch_python
            elif not importlib.util.find_spec(variant.package):
                missing = f"not installed: pip install {variant.package}"
            row = [name, variant.label, "", "", "", "", missing]
            rows.append(row)
            if missing:
                continue
            found = Path(folder) / f"{i}.npz"
            spec = {"piece": piece, "variant": variant.name, "threads": threads}
            spec |= {"given": f"{folder}/given.npz", "found": str(found)}
            backend = "tensorflow" if variant.backend == "torch" else variant.backend
            worker = stack.enter_context(
                Worker(python, variant.script, spec, KERAS_BACKEND=backend)
            )
            try:
                worker.read()
            except RuntimeError as error:
                row[-1] = str(error)[:90]
                continue
            row[4:] = differences(dict(np.load(found)), wanted)
            running.append((row, worker))
        steps = in_turn([worker for _, worker in running], options.repeats)
    ours = next(
        (taken for (row, _), taken in zip(running, steps, strict=True) if row is rows[0]), None
    )
    for (row, _), taken in zip(running, steps, strict=True):
        row[2] = f"{1e3 * statistics.median(seconds for seconds, _ in taken):.2f}"
        if ours:
            ratios = [b[0] / a[0] for a, b in zip(ours, taken, strict=True)]
            row[3] = f"x {statistics.median(ratios):.2f}"
    return rows


def differences(found: Arrays, wanted: Arrays) -> list[str]:
    """How far value and gradient are off, the largest, and what is no number."""
    off, remarks = [], []
    for key in ("value", "gradient"):
        finite = np.isfinite(found[key])
        if np.isnan(found[key]).any():
            remarks.append(f"NaN in the {key}")
        elif not finite.all():
            remarks.append(f"infinite {key}")
        apart = np.abs(found[key] - wanted[key])[finite]
        off.append(f"{apart.max() if apart.size else np.nan:.1e}")
    return [*off, ", ".join(remarks)]


def parser_of(description: str | None, examples: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--torch-python", default=sys.executable, help="a Python that has PyTorch [this one]"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="implementations [all]")
    parser.add_argument("--repeats", type=int, default=9, help="steps of each [%(default)s]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="[1 2]")
    return parser
