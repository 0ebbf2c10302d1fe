"""A cold start: import, first text, and `ds2edge transcribe` of 5 s of speech, in fresh processes.

Beside pocketsphinx with the model that it brings, and the import of sherpa-onnx, which brings none.
Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from common import add_recordings, print_table  # first: it pins threads
from rich.console import Console
from rich.progress import track

# Nothing large is imported here: a process counts the memory of the one that starts it as its own.

SECONDS = 5  # of the file
STEPS = [
    ("import numpy", None),
    ("import ds2edge, over numpy", 0.05),
    ("load the bundle", None),
    ("first text", None),
    ("import ds2edge to first text", 0.4),
]
STEPS_PROGRAM = """
import sys, time
began = time.perf_counter()
import numpy
numpy_imported = time.perf_counter()
import ds2edge
imported = time.perf_counter()
transcriber = ds2edge.Transcriber(*sys.argv[2:])
loaded = time.perf_counter()
from ds2edge.audio_file import read_audio
with transcriber.stream(16000) as stream:
    samples = read_audio(sys.argv[1], 16000)
    for begin in range(0, len(samples), 1600):
        if any(event.text for event in stream.feed(samples[begin:begin + 1600])):
            break
text = time.perf_counter()
print(numpy_imported - began, imported - numpy_imported, loaded - imported, text - loaded,
      text - numpy_imported)
"""
IMPORT_PROGRAM = """
import os, time
began = time.perf_counter()
import {}
took = time.perf_counter() - began
pages = int(open("/proc/self/statm").read().split()[1])
print(took, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
"""
POCKETSPHINX_PROGRAM = """
import sys, wave
from pocketsphinx import Decoder
decoder = Decoder(loglevel="FATAL")
with wave.open(sys.argv[1]) as file:
    pcm = file.readframes(file.getnframes())
decoder.start_utt()
decoder.process_raw(pcm, full_utt=True)
decoder.end_utt()
print(decoder.hyp().hypstr)
"""
CUT_PROGRAM = """
import sys
import numpy, soundfile
from ds2edge.audio_file import read_audio
*sources, seconds, target = sys.argv[1:]
samples = numpy.concatenate([read_audio(path, 16000) for path in sources])
soundfile.write(target, samples[: 16000 * int(seconds)], 16000, "PCM_16")
"""


@dataclass
class Program:
    """What is started again and again."""

    name: str
    command: Sequence[str]
    package: str = "ds2edge"  # that it needs, as pip knows it
    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    def start(self) -> None:
        """Once more, unless it failed before."""
        if not self.failure:
            try:
                self.runs.append(run(self.command))
            except ProgramError as error:
                self.failure = f"failed: {error}"


@dataclass(frozen=True)
class Run:
    """One process, from its start to its end."""

    wall: float  # s
    processor: float  # s
    peak: float  # MB that were resident
    output: str

    @property
    def printed(self) -> list[float]:
        """The numbers in its last line."""
        return [float(number) for number in self.output.splitlines()[-1].split()]

    @property
    def used(self) -> list[float]:
        return [self.wall, self.processor, self.peak]


class ProgramError(Exception):
    """A program failed; the last line that it printed."""


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "speech.wav")
        run(python(CUT_PROGRAM, *map(str, given.files), str(SECONDS), path))
        steps = Program("steps", python(STEPS_PROGRAM, path))
        imports, commands = import_programs(), command_programs(path)
        measure([steps, *imports, *commands], given.repeats)
    print(f"{given.repeats} fresh processes of each, files in the disk cache\n")
    print_steps(steps)
    print_beside("import", ["median s", "resident MB"], imports, "printed")
    units = ["median s", "processor s", "peak resident MB"]
    print_beside(f"{SECONDS} s of speech", units, commands, "used")
    for program in commands:
        if program.runs:
            print(f"\n{program.name}: {program.runs[-1].output.strip()}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_recordings(parser)
    parser.add_argument("--repeats", type=int, default=7, help="of each process [%(default)s]")
    return parser.parse_args()


def import_programs() -> list[Program]:
    """ds2edge and its peers; nothing but the import."""
    modules = {"ds2edge": "ds2edge", "pocketsphinx": "pocketsphinx", "sherpa-onnx": "sherpa_onnx"}
    return [
        Program(package, python(IMPORT_PROGRAM.format(module)), package)
        for package, module in modules.items()
    ]


def command_programs(path: str) -> list[Program]:
    """From a file to its text."""
    command = str(Path(sysconfig.get_path("scripts")) / "ds2edge")
    peer = python(POCKETSPHINX_PROGRAM, path)
    return [
        Program("ds2edge transcribe FILE", [command, "transcribe", path]),
        Program("pocketsphinx, its en-us", peer, "pocketsphinx"),
    ]


def python(program: str, *given: str) -> list[str]:
    return [sys.executable, "-P", "-c", program, *given]  # -P: not the checkout's ds2edge/


def measure(programs: Sequence[Program], repeats: int) -> None:
    """Run all in turn, so that what else the machine does hits all alike."""
    for program in programs:
        if find_spec(program.package.replace("-", "_")) is None:
            program.failure = f"not installed: pip install {program.package}"
    turns = [program for _ in range(repeats + 1) for program in programs]
    hidden = not sys.stderr.isatty()
    for program in track(turns, "starting", console=Console(stderr=True), disable=hidden):
        program.start()
    for program in programs:
        del program.runs[:1]  # it filled the disk cache


def run(command: Sequence[str]) -> Run:
    """Start one process and wait for its end.

    Raises:
        ProgramError: it ended with an error, or there is no such command.
    """
    began = time.perf_counter()
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        raise ProgramError(str(error)) from None
    with process:
        output = process.stdout.read().decode() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)  # the only call that tells the peak of one
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        raise ProgramError((output.splitlines() or [f"exit code {process.returncode}"])[-1])
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, output)


def print_steps(steps: Program) -> None:
    """From a fresh interpreter to the first text."""
    if steps.failure:
        raise ProgramError(steps.failure)
    rows = []
    for (name, aim), *values in zip(STEPS, *(run.printed for run in steps.runs), strict=True):
        middle = median(values)
        target = f"{aim:.2f} (x {middle / aim:.2f})" if aim else ""
        rows.append([name, f"{middle:.3f}", f"{min(values):.3f}", target])
    print_table(["step", "median s", "best s", "aim"], rows)


def print_beside(title: str, units: list[str], programs: Sequence[Program], figures: str) -> None:
    """Medians, ds2edge first, and how many times as much the others need."""
    medians = {
        p.name: [median(v) for v in zip(*(getattr(r, figures) for r in p.runs), strict=True)]
        for p in programs
        if not p.failure
    }
    ours = medians.get(programs[0].name)
    rows = []
    for program in programs:
        cells = [program.failure]
        if program.name in medians:
            cells = []
            for i, value in enumerate(medians[program.name]):
                beside = ours and program is not programs[0]
                cells += [f"{value:.3f}", f"x {value / ours[i]:.2f}" if beside else ""]
        rows.append([program.name, *cells, *[""] * (2 * len(units) - len(cells))])
    print()
    print_table([title, *(cell for unit in units for cell in (unit, "ratio"))], rows)


if __name__ == "__main__":
    try:
        main()
    except ProgramError as error:
        raise SystemExit(f"cold_start.py: {error}") from None
