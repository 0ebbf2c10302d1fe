"""`ds2edge data align RECORDING... -o FOLDER`: when each word of a known text was spoken."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ds2edge.commands.recordings import length, recordings
from ds2edge.errors import AudioError, DataError
from ds2edge.progress import SecondsBar
from ds2edge.results import Final, Word
from ds2edge.subtitles import to_srt
from ds2edge.text import TokenSet, normalise
from ds2edge.training.construction.alignment import Alignment, read_alignment, to_json
from ds2edge.training.construction.alignment_page import write_page
from ds2edge.training.construction.forced_alignment import AlignOptions, align, spell
from ds2edge.training.construction.hearing import hear
from ds2edge.training.construction.segments import spoken_words
from ds2edge.training.construction.textgrid import to_textgrid
from ds2edge.training.data.manifest import (
    Utterance,
    check_name,
    read_manifest,
    refuse_others,
    refuse_shards,
    write_manifest,
)
from ds2edge.training.evaluation.listener import add_listener_arguments, open_listener
from ds2edge.training.files import file_state, partial_file, taking_turns
from ds2edge.training.processes import add_jobs_argument, check_jobs
from ds2edge.writing import join

SHORT = 60.0  # s; a recording that is not longer is heard by one process

log = logging.getLogger(__name__)

EXAMPLES = """\
examples:
  ds2edge data align chapter.mp3 --text chapter.txt -o aligned
      aligned/chapter.json, .TextGrid (Praat), .srt (subtitles), .html (to look at and listen to)
  ds2edge data align recordings -o aligned --jobs 4
      every recording of a folder whose text lies beside it: talk.wav and talk.txt
  ds2edge data align long.tsv -o aligned --checkpoint ~/.cache/ds2edge/runs/small/best.npz
      recordings and texts of a manifest, by a model that hears both directions

A text has any number of lines; case and punctuation do not count, figures are not spelled out. It
may lack what is said, and have what is not. `ds2edge data segment` cuts by what is found here.
Interrupted, the same command goes on: what the same model has aligned with the same text is kept.
"""


@dataclass(frozen=True)
class Task:
    """A recording with its text."""

    path: Path
    text: Path | str  # a file, or the text itself
    speaker: str
    split: str

    def lines(self) -> tuple[str, ...]:
        """Of the text.

        Raises:
            DataError: its file is missing or no UTF-8 text.
        """
        return read_text(self.text) if isinstance(self.text, Path) else (self.text,)


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "align",
        help="find when each word of a known text was spoken",
        description="Find when each word of a known text was spoken, in recordings of any length.",
        epilog=EXAMPLES,
    )
    parser.add_argument("recordings", nargs="+", metavar="RECORDING")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="of the one recording [beside it]"
    )
    add_listener_arguments(parser)
    parser.add_argument("--speaker", default="", help="of recordings that no manifest names")
    parser.add_argument("--split", default="train", help="of these [%(default)s]")
    for name, text in (
        ("foreign", "nats for an output in which something is said that the text lacks"),
        ("leave_out", "nats for leaving out words that were not said"),
        ("left_token", "more for each of their tokens"),
        ("beam", "nats below the best within which alignments are followed"),
    ):
        flag = f"--{name.replace('_', '-')}"
        default = getattr(AlignOptions, name)
        parser.add_argument(
            flag, type=float, default=default, metavar="X", help=f"{text} [{default:g}]"
        )
    add_jobs_argument(parser, "processes that listen")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code, 1 if some of several recordings could not be aligned."""
    check_jobs(options.jobs)
    costs = AlignOptions(options.foreign, options.leave_out, options.left_token, options.beam)
    tasks = read_tasks(options.recordings, options.text, options.speaker, options.split)
    names = output_names([task.path for task in tasks])
    model = options.checkpoint or options.bundle
    open_listener(model)  # what is wrong with it is wrong with each recording
    refuse_others(options.output / "manifest.tsv", "alignment")
    options.output.mkdir(parents=True, exist_ok=True)
    done = 0
    with (
        taking_turns(options.output),
        SecondsBar([length(str(task.path)) for task in tasks], "aligning") as bar,
    ):
        for number, (task, name) in enumerate(zip(tasks, names, strict=True)):
            try:
                alignment = _align(task, name, model, costs, options, bar, number)
            except (AudioError, DataError) as error:
                if len(tasks) == 1:
                    raise
                with bar.hidden():
                    log.warning("%s: left out: %s", task.path, error)
            else:
                done += 1
                with bar.hidden():
                    print(f"{options.output / name}.html: {described(alignment)}", flush=True)
            bar.done(number)
    if not done:
        raise DataError(f"none of the {len(tasks)} recordings could be aligned")
    _list_all(options.output)
    return int(done < len(tasks))


def read_tasks(given: Sequence[str], text: Path | None, speaker: str, split: str) -> list[Task]:
    """What is to be aligned: recordings, those of folders, and those of manifests.

    Raises:
        DataError: a manifest is malformed, --text is given with several recordings, or a name
            cannot stand in a manifest.
    """
    tasks: list[Task] = []
    for path in given:
        if path.endswith(".tsv"):
            utterances = read_manifest(path)
            refuse_shards(utterances)
            tasks += [Task(u.path, u.text, u.speaker, u.split) for u in utterances]
        else:
            for found in map(Path, recordings([path])):
                tasks.append(Task(found, text or found.with_suffix(".txt"), speaker, split))
    if text and (len(tasks) > 1 or given[0].endswith(".tsv")):
        raise DataError(
            f"--text is that of one recording, got {', '.join(given)}; give each a NAME.txt beside "
            "it, or a manifest its texts"
        )
    for task in tasks:
        for name in (str(task.path), task.speaker, task.split):
            check_name(name)
    return tasks


def read_text(path: Path) -> tuple[str, ...]:
    """The lines of a text file.

    Raises:
        DataError: it is missing or no UTF-8 text.
    """
    try:
        return tuple(path.read_text(encoding="utf-8-sig").splitlines())
    except OSError as error:
        raise DataError(
            f"cannot read the text {path}: {error.strerror}; a recording's text is beside it, or "
            "given by --text"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}") from None


def output_names(paths: Sequence[Path]) -> list[str]:
    """What the files of each recording are called: its own name, and more where it is not alone.

    Raises:
        DataError: a recording is named twice, or two cannot be told apart.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise DataError("a recording is named twice")
    stems = Counter(path.stem for path in paths)
    names = [
        path.stem if stems[path.stem] == 1 else f"{path.parent.name}-{path.name}" for path in paths
    ]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"two recordings would both be called {twice[0]}; rename one")
    return names


def normalised_lines(lines: Sequence[str], tokens: TokenSet) -> list[list[str]]:
    """The words of each line; where no spaces are written, each character is one."""
    return [tokens.words(normalise(line, tokens)) for line in lines]


def described(alignment: Alignment) -> str:
    """A line for people."""
    return (
        f"{len(alignment.found)} of {len(alignment.words)} words found, "
        f"{100 * alignment.share_explained():.1f} % of what is said"
    )


def _align(
    task: Task,
    name: str,
    model: str,
    costs: AlignOptions,
    options: argparse.Namespace,
    bar: SecondsBar,
    number: int,
) -> Alignment:
    """Align one recording and write what was found, or read what was written before."""
    target = options.output / f"{name}.json"
    listener, lines = open_listener(model), task.lines()
    recording = os.path.relpath(task.path, options.output)
    key = _key(task, lines, recording, listener.digest, costs)
    if target.exists():
        known = read_alignment(target)
        if known.key == key:
            return known
        other = options.output / known.recording
        if other.exists() and not (task.path.exists() and other.samefile(task.path)):
            raise DataError(f"{target} is of another recording, {other}; give another folder")
    text = spell(normalised_lines(lines, listener.tokens), listener.tokens)
    heard = hear(
        task.path,
        model,
        text.columns,
        options.output,
        1 if 0 < length(str(task.path)) < SHORT else options.jobs,
        lambda seconds: bar.report(number, seconds),
    )
    found = align(heard, text, listener.step, listener.delay, costs)
    alignment = Alignment(
        recording=recording,
        seconds=round(len(heard.scores) * listener.step, 3),
        model=listener.name,
        speaker=task.speaker,
        split=task.split,
        words=found.words,
        pauses=found.pauses,
        foreign=found.foreign,
        key=key,
    )
    for suffix, content in (
        (".TextGrid", to_textgrid(alignment)),
        (".srt", _subtitles(alignment)),
        (".html", write_page(alignment, options.output)),
        (".json", to_json(alignment)),  # last: it says that the others are there
    ):
        with partial_file(options.output / f"{name}{suffix}") as file:
            file.write(content.encode())
    return alignment


def _key(task: Task, lines: Sequence[str], recording: str, digest: str, costs: AlignOptions) -> str:
    """Tells this recording, text and model from all others."""
    values = [recording, *file_state(task.path), *lines, task.speaker, task.split]
    whole = json.dumps([values, digest, asdict(costs)])
    return hashlib.sha256(whole.encode()).hexdigest()[:20]


def _subtitles(alignment: Alignment) -> str:
    words = tuple(Word(w.text, w.start, w.end, w.score) for w in spoken_words(alignment))
    return to_srt([Final(0, words, 0.0, alignment.seconds)])


def _list_all(folder: Path) -> None:
    """The manifest: all alignments that are in the folder, also those of calls before."""
    files = sorted(folder.glob("*.json"))
    utterances = []
    for file in files:
        found = read_alignment(file)
        text = join(word.text for word in found.words)
        path = folder / found.recording
        utterances.append(Utterance(path, found.seconds, text, found.speaker, found.split))
    write_manifest(folder / "manifest.tsv", utterances, [{"alignment": f.name} for f in files])
