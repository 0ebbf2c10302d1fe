"""`ds2edge bench`: how fast ds2edge is on this machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ds2edge.arguments import EXIT_CODES, SUCCESS, show_warnings
from ds2edge.audio_file import open_audio
from ds2edge.commands.flags import add_backend, add_bundle, given_backend
from ds2edge.commands.processes import ending, start_process
from ds2edge.commands.recordings import is_pipe, length, readable, recordings
from ds2edge.errors import ConfigError, Ds2edgeError
from ds2edge.measure import (
    FEED,
    RUNS,
    Delays,
    Speed,
    measure_delays,
    measure_speed,
    read_recordings,
    resident_megabytes,
    seconds_of,
)
from ds2edge.progress import SecondsBar
from ds2edge.results import Seconds
from ds2edge.transcriber import Transcriber

PASSES = RUNS + 1 + 1  # over the audio: those of the real-time factor, stages, delays

DESCRIPTION = """\
Measure how fast ds2edge is on this machine.

In one thread of a fresh process: the real-time factor (seconds of compute for a
second of audio, from samples in memory to text; the fastest of three runs) and
what each stage has of it; how long a stream takes for 20 ms of audio, and after
the last; how long the start takes; memory. It needs recordings of speech: how
long the search takes depends on what is said, so no made-up sound would tell.
"""
EXAMPLES = """\
examples:
  ds2edge bench meeting.wav
  ds2edge bench --seconds 300 --bundle my-model.ds2 recordings/
  ds2edge bench --json meeting.wav | jq .real_time_factor
"""


@dataclass(frozen=True)
class Figures:
    """What was measured."""

    about: dict[str, Any]  # the bundle and what runs it
    audio: Seconds  # that it was measured on
    speed: Speed
    delays: Delays
    load_bundle: Seconds
    first_text: Seconds | None  # from the start of the process; None: no word was heard
    resident_megabytes: float | None  # after all that, the recordings themselves not counted


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "bench",
        help="measure how fast ds2edge is on this machine",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="recordings of speech, or folders of them"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="X", default=60.0, help="of audio, at most [60]"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    add_bundle(parser)
    add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    if not arguments.seconds > 0:
        raise ConfigError(f"--seconds must be more than 0, got {arguments.seconds}")
    paths = list(recordings(arguments.files))
    for path in paths:
        if is_pipe(path):
            raise ConfigError(f"bench reads a recording several times, {path} can be read once")
    load = os.getloadavg()[0]  # before there is more of it
    how = given_backend(arguments)
    figures = asdict(_measured(arguments.bundle, how, paths, arguments.seconds))
    facts = {**figures.pop("about"), **_machine(load), **figures}
    print(json.dumps(facts, ensure_ascii=False) if arguments.json else "\n".join(_lines(facts)))
    return SUCCESS


def _measured(
    bundle: str, how: Mapping[str, Any], paths: Sequence[str], longest: Seconds
) -> Figures:
    """Measure in a process of its own, which nothing was loaded into before."""
    began = time.monotonic()
    process, connection = start_process(_measure, bundle, how, paths, longest, began)
    try:
        total = PASSES * min(longest, sum(map(length, paths)))
        with SecondsBar([total], "measuring") as bar:
            while not isinstance(message := connection.recv(), Figures | Ds2edgeError):
                bar.report(0, message)
    except EOFError:
        raise Ds2edgeError(f"the process that measured {ending(process)}") from None
    finally:
        connection.close()
        process.terminate()
        process.join()
    if isinstance(message, Ds2edgeError):
        raise message
    return message


def _measure(
    connection: Connection[Any, Any],
    bundle: str,
    how: Mapping[str, Any],
    paths: Sequence[str],
    longest: Seconds,
    began: Seconds,
) -> None:
    """In a process of its own: seconds of audio go back, and at last Figures or an error."""
    show_warnings()
    try:
        loads = time.monotonic()
        transcriber = Transcriber(bundle, **how)
        load = time.monotonic() - loads
        first = _first_text(transcriber, readable(paths[0]), longest)
        audio = read_recordings(map(readable, paths), longest)
        speed = measure_speed(transcriber, audio, connection.send)
        delays = measure_delays(transcriber, audio, connection.send)
        memory = resident_megabytes()
        if memory is not None:
            memory -= sum(samples.nbytes for samples, _ in audio) / 1e6
        first = None if first is None else first - began
        about = {name: transcriber.info()[name] for name in ("bundle", "runtime", "backend")}
        connection.send(Figures(about, seconds_of(audio), speed, delays, load, first, memory))
    except Ds2edgeError as error:
        connection.send(error)


def _first_text(transcriber: Transcriber, path: str, longest: Seconds) -> Seconds | None:
    """When a file's first word is there, by the clock of all processes."""
    with open_audio(path) as file, transcriber.stream(file.sample_rate) as stream:
        for block in file.blocks(FEED):
            if any(event.text for event in stream.feed(block)):
                return time.monotonic()
            if stream.seconds >= longest:
                break
        return time.monotonic() if any(event.text for event in stream.finish()) else None


def _machine(load: float) -> dict[str, object]:
    """What runs here, on what."""
    return {
        "ds2edge": metadata.version("ds2edge"),
        "numpy": metadata.version("numpy"),
        "python": platform.python_version(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": round(load, 2),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):  # the latter on boards with ARM
                return value.strip()
    return platform.processor() or platform.machine()


def _lines(facts: Mapping[str, Any]) -> list[str]:
    speed, delays, first = facts["speed"], facts["delays"], facts["first_text"]
    factor, memory = speed["real_time_factor"], facts["resident_megabytes"]
    rows = [
        ("processor", f"{facts['processor']}, {facts['processors']} processors"),
        ("load before", f"{facts['load']:.2f} (others' work makes the figures worse)"),
        ("ds2edge", f"{facts['ds2edge']}, bundle {facts['bundle']}, {facts['runtime']}"),
        ("", f"Python {facts['python']}, NumPy {facts['numpy']}"),
        ("audio", f"{facts['audio']:.1f} s"),
        ("real-time factor", f"{factor:.4f}  ({1 / factor:.0f} times as fast as speech)"),
        *(
            (f"  {stage.replace('_', ' ')}", f"{part:.4f}  {100 * part / factor:3.0f} %")
            for stage, part in speed["stages"].items()
        ),
        ("20 ms of audio", f"{1000 * delays['feed_median']:.2f} ms in the median"),
        ("", f"{1000 * delays['feed_98']:.2f} ms at the 98th percentile"),
        ("after the last", f"{1000 * delays['finish']:.1f} ms in the median"),
        ("load the bundle", f"{facts['load_bundle']:.2f} s"),
        ("start to first text", "no word was heard" if first is None else f"{first:.2f} s"),
        ("resident memory", "not known" if memory is None else f"{memory:.0f} MB"),
    ]
    return [f"{name:<20}  {value}" for name, value in rows]
