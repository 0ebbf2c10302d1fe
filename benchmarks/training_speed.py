"""Whole training steps of ds2edge and of a PyTorch model of the same shape, side by side.

A step is forward, CTC, backward, clipping, AdamW and averaged weights, of the same batch of noise
with the same padding. Both wait in processes of their own and take steps in turn, so that what else
the machine does hits both; a figure is the median. The PyTorch worker tries its ways to run the
model first and takes its fastest. --torch-python is a Python that has PyTorch, when this one has
none:

  python3 -m venv torch && torch/bin/pip install torch==2.13.0 numpy
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import print_table
from worker import Step, Worker, in_turn

from ds2edge import Ds2edgeError
from ds2edge.training.config import TrainConfig, load_config

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
EXAMPLES = """examples:
  python benchmarks/training_speed.py --torch-python torch/bin/python
  python benchmarks/training_speed.py training/configs/paper-icml.toml --batch 4 --seconds 2
  python benchmarks/training_speed.py --threads 1 --precisions float32 --repeats 3 --no-compile
"""
AIM = 1.5
LETTERS = 12.0  # a second, as English has them
SHORTEST = 0.8  # of a recording in a batch, of the longest: the rest is padding


@dataclass(frozen=True)
class Found:
    """Of one model, precision and number of threads."""

    ours: list[Step]  # seconds and processor seconds of each step
    theirs: list[Step]
    audio: float  # seconds of sound in a batch
    told: tuple[dict[str, Any], dict[str, Any]]

    def speed(self, steps: Sequence[Step]) -> float:
        """Seconds of sound a second."""
        return self.audio / statistics.median(seconds for seconds, _ in steps)

    def ratios(self, which: int) -> list[float]:
        """Of neighbouring steps, by the clock (0) or in processor time (1)."""
        return [b[which] / a[which] for a, b in zip(self.ours, self.theirs, strict=True)]


def spec_of(config: TrainConfig, options: argparse.Namespace) -> dict[str, Any]:
    """What both workers are told."""
    from ds2edge.training.network.model import token_set  # TensorFlow takes seconds to import

    frames = np.linspace(SHORTEST, 1, options.batch) * options.seconds * 100
    return {
        "config": config.as_dict(),
        "model": config.as_dict()["model"],
        "bins": config.features.size,
        "tokens": len(token_set(config.model)),
        "frames": frames.round().astype(int).tolist(),
        "lengths": (frames / 100 * LETTERS).round().astype(int).tolist(),
        "compile": options.compile,
    }


def measure(spec: dict[str, Any], options: argparse.Namespace) -> Found:
    """Steps of both in turn."""
    with (
        Worker(sys.executable, "training_ours.py", spec) as ours,
        Worker(options.torch_python, "training_torch.py", spec) as theirs,
    ):
        told = (ours.read(), theirs.read())
        if ("cpu" in told[0]["device"]) != ("cpu" in told[1]["device"]):
            raise RuntimeError(f"on {told[0]['device']} and on {told[1]['device']}: not comparable")
        steps = in_turn([ours, theirs], options.repeats)
    return Found(*steps, sum(spec["frames"]) / 100, told)


def row_of(name: str, precision: str, threads: int, found: Found) -> list[str]:
    ratios, processor = sorted(found.ratios(0)), statistics.median(found.ratios(1))
    return [
        name,
        precision,
        str(threads),
        f"{found.speed(found.ours):.1f}",
        f"{found.speed(found.theirs):.1f}",
        f"x {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        f"x {processor:.2f}",
        found.told[1]["settings"],
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "configs",
        nargs="*",
        type=Path,
        default=[CONFIGS / "en-first.toml", CONFIGS / "small.toml"],
        help="models [en-first, and small, which is bidirectional]",
    )
    parser.add_argument("--torch-python", default=sys.executable, help="[this one]")
    parser.add_argument("--batch", type=int, default=16, help="recordings [%(default)s]")
    parser.add_argument("--seconds", type=float, default=8.0, help="the longest [%(default)s]")
    parser.add_argument("--repeats", type=int, default=7, help="steps of each [%(default)s]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="[1 2]")
    parser.add_argument(
        "--precisions", nargs="+", default=["float32", "bfloat16"], help="[float32 bfloat16]"
    )
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="do not try torch.compile"
    )
    return parser.parse_args(arguments)


def check_torch(python: str) -> None:
    """Refuse a Python without PyTorch, before anything is compiled."""
    command = [python, "-c", "import torch"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise RuntimeError(f"{python} has no PyTorch; name one that has it: --torch-python PYTHON")


def run(options: argparse.Namespace) -> None:
    check_torch(options.torch_python)
    header = ["model", "precision", "threads", "ours, s/s", "torch, s/s"]
    header += [f"ours to torch (aim {AIM})", "in processor time", "torch's settings"]
    rows, told, best = [], None, {}
    for path in options.configs:
        config = load_config(path)
        for threads in options.threads:
            speeds = []
            for precision in options.precisions:
                spec = spec_of(config, options)
                spec["config"]["optimizer"]["precision"] = precision
                found = measure({**spec, "precision": precision, "threads": threads}, options)
                rows.append(row_of(path.stem, precision, threads, found))
                speeds.append((found.speed(found.ours), found.speed(found.theirs)))
                told = found.told
                print("\t".join(rows[-1]), file=sys.stderr, flush=True)
            ours, theirs = (max(values) for values in zip(*speeds, strict=True))
            best[f"{path.stem}, {threads} thread{'s' * (threads > 1)}"] = ours / theirs
    assert told
    print(
        f"batches of {options.batch} recordings of up to {options.seconds:g} s; "
        f"{told[0]['version']} on {told[0]['settings']}, {told[1]['version']}; "
        f"{told[0]['device']}, {told[1]['device']}\n"
    )
    print_table(header, rows)
    print("\nthe better precision of each against the better of the other:")
    for name, ratio in best.items():
        print(f"  {name}: x {ratio:.2f}, aim {AIM}")


def main() -> None:
    options = parse(None)
    try:
        run(options)
    except (Ds2edgeError, OSError, RuntimeError) as error:
        sys.exit(f"training_speed.py: {error}")


if __name__ == "__main__":
    main()
