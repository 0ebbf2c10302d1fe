"""What the benchmarks share: recordings, and a table."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

# One thread, also in NumPy's BLAS; before NumPy is imported.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

SAMPLES = Path(__file__).parents[1] / "tests" / "data" / "speech"


def recordings(description: str) -> list[Path]:
    """Files from the command line, or the samples of the tests."""
    parser = argparse.ArgumentParser(description=description)
    add_recordings(parser)
    given: list[Path] = parser.parse_args().files
    return given


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """The argument `files`, without which the samples of the tests are taken."""
    samples = sorted(p for p in SAMPLES.iterdir() if p.suffix in {".mp3", ".opus"})
    text = "recordings [the tests' samples]"
    parser.add_argument("files", nargs="*", type=Path, default=samples, help=text)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, ["-" * width for width in widths], *rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
