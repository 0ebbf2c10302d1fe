"""One worker against several on this machine: the same losses, how fast, and what talking costs.

The global batch is the same for all; each worker gets its part, and its part of the cores.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from common import print_table

from ds2edge.arguments import CommandParser
from ds2edge.errors import Ds2edgeError
from ds2edge.runtimes.stderr import captured_stderr

EPILOG = """examples:
  python benchmarks/scaling.py --data speech
      benchmarks/scaling.toml, on speech/librispeech: one worker with one thread and with two, and
      two workers with one thread each
  python benchmarks/scaling.py --data speech --workers 4 --updates 20
  python benchmarks/scaling.py --data speech --config mine.toml
      losses are only alike to rounding without dropout and in float32
"""

SKIPPED = 2  # updates that are not timed: the first one compiles


@dataclass(frozen=True)
class Setting:
    """How many processes, on how many cores."""

    workers: int
    threads: int  # of each

    def __str__(self) -> str:
        plural = "s" if self.workers > 1 else ""
        each = " each" if self.workers > 1 else ""
        return (
            f"{self.workers} worker{plural}, {self.threads} thread{'s'[: self.threads - 1]}{each}"
        )


@dataclass(frozen=True)
class Found:
    """What a setting gave."""

    losses: list[float]
    seconds: list[float]  # of each update
    communication: str  # share of an update


def main(arguments: Sequence[str] | None = None) -> int:
    parser = CommandParser("scaling.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    default = Path(__file__).with_suffix(".toml")
    parser.add_argument("--config", type=Path, default=default, help="[scaling.toml]")
    parser.add_argument("--workers", type=int, default=2, help="the most [%(default)s]")
    parser.add_argument("--updates", type=int, default=10, help="to compare [%(default)s]")
    given = parser.parse_args(arguments)
    if given.workers < 2 or given.updates <= SKIPPED:
        parser.error(f"--workers needs 2 or more, --updates more than {SKIPPED}")
    settings = [Setting(1, 1), Setting(1, given.workers), Setting(given.workers, 1)]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="ds2edge-scaling-") as name:
        audio = audio_of_updates(given.config, given.data, Path(name), given.updates)
        found = {
            s: measure(s, given.config, given.data, Path(name), given.updates) for s in settings
        }
    report(found, audio)
    print(f"\nload of the machine before: {load:.1f} on {os.cpu_count()} cores")
    return 0


def audio_of_updates(config: Path, data: Path, folder: Path, updates: int) -> list[float]:
    """Seconds of audio in each update, without padding."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with captured_stderr():  # what TensorFlow says of the machine
        from ds2edge.training.config import load_config
        from ds2edge.training.train import prepare

    run = prepare(load_config(config), data, folder)
    each, plan = run.config.optimizer.accumulate, run.plan(0)
    if len(plan) < updates * each:
        raise SystemExit(f"an epoch has {len(plan) // each} updates, needed: {updates}")
    seconds = [
        sum(run.train.features[c].count(i) for i, c in zip(p.recordings, p.changes, strict=True))
        / run.config.features.frame_rate
        for p in plan
    ]
    return [sum(seconds[i * each : (i + 1) * each]) for i in range(updates)]


def measure(setting: Setting, config: Path, data: Path, folder: Path, updates: int) -> Found:
    """Some updates of a run, and their profile, each in new processes."""
    run = folder / f"{setting.workers}-{setting.threads}"
    command = [Path(sys.executable).with_name("ds2edge"), "train", config, "--data", data]
    command += ["--out", run, "--workers", setting.workers]
    cores = sorted(os.sched_getaffinity(0))[: setting.workers * setting.threads]

    def prepare() -> None:
        os.sched_setaffinity(0, cores)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    words = [str(word) for word in command]
    print(f"{setting} ...", file=sys.stderr, flush=True)
    with subprocess.Popen(words, stderr=subprocess.PIPE, preexec_fn=prepare) as process:
        steps = run / "steps.jsonl"
        while process.poll() is None and lines(steps) < updates:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode() if process.stderr else ""
    if process.returncode not in (0, 130):
        raise SystemExit(said)
    rows = [json.loads(line) for line in steps.read_text().splitlines()][:updates]
    words += ["--profile", str(updates)]
    table = subprocess.run(words, capture_output=True, text=True, preexec_fn=prepare)
    if table.returncode:
        raise SystemExit(table.stderr)
    shares = re.findall(r"^communication +[\d.]+ +([\d.]+ %)", table.stdout, re.MULTILINE)
    return Found([row["loss"] for row in rows], [row["seconds"] for row in rows], (*shares, "-")[0])


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def report(found: dict[Setting, Found], audio: list[float]) -> None:
    """Two tables: losses of each update, and speed."""
    base, *_ = found.values()
    rows = [
        [str(i + 1), *(f"{each.losses[i]:.6f}" for each in found.values())]
        for i in range(len(audio))
    ]
    print_table(["loss of update", *map(str, found)], rows)
    rows = []
    for setting, each in found.items():
        apart = max(abs(a / b - 1) for a, b in zip(each.losses, base.losses, strict=True))
        seconds = each.seconds[SKIPPED:]
        speed = sum(audio[SKIPPED:]) / sum(seconds)
        slow = sum(base.seconds[SKIPPED:]) / sum(seconds)
        rows.append(
            [
                str(setting),
                f"{speed:.1f}",
                f"{slow:.2f}",
                f"{1000 * mean(seconds):.0f}",
                each.communication,
                f"{apart:.1e}",
            ]
        )
    print()
    print_table(
        [
            "setting",
            "s of audio a second",
            "times the first",
            "ms an update",
            "communication",
            "largest difference of a loss",
        ],
        rows,
    )


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (Ds2edgeError, OSError) as error:
        raise SystemExit(f"scaling.py: {error}") from None
