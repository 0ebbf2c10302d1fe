"""`ds2edge data segment ALIGNED... -o FOLDER`: long recordings, aligned, to short ones."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ds2edge.audio import FloatArray
from ds2edge.audio_file import is_whole, open_audio
from ds2edge.errors import AudioError, ConfigError, DataError
from ds2edge.progress import SecondsBar
from ds2edge.results import Seconds
from ds2edge.training.construction.alignment import read_alignment
from ds2edge.training.construction.segments import Dropped, Segment, SegmentOptions, segment
from ds2edge.training.cuts import Cut, CutWriter
from ds2edge.training.data.manifest import Utterance, refuse_others, write_manifest
from ds2edge.training.files import file_state, partial_file, remove_parts, taking_turns
from ds2edge.training.importing.splits import draw_splits

log = logging.getLogger(__name__)

EXAMPLES = """\
examples:
  ds2edge data segment aligned -o speech/mine
      what `ds2edge data align` wrote, cut into segments of about 7 s: speech/mine/manifest.tsv
  ds2edge data segment aligned -o speech/mine --dev-share 0.1
      a tenth of them marked dev, by which training chooses the best epoch
  ds2edge data segment aligned/chapter.json -o speech/mine --target 5 --longest 10 --pause 0.2

Cuts lie in pauses alone. A word of the text that was not found is in a segment's text only where
something was said in its place. FOLDER gets audio/ with FLAC files at the recording's own rate,
dropped.tsv with the parts that were left out and why, and lengths.png. The manifest has more
columns: recording, start, end, and foreign, the seconds in which something is said that the text
lacks. Interrupted, the same command goes on.
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "segment",
        help="cut aligned recordings into short ones with their text",
        description="Cut long recordings, as `ds2edge data align` aligned them, where it is quiet.",
        epilog=EXAMPLES,
    )
    parser.add_argument("aligned", nargs="+", type=Path, help="folder or .json of `data align`")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    for name, text in (
        ("target", "about the length of a segment"),
        ("longest", "no segment is longer"),
        ("shortest", "nor shorter"),
        ("pause", "the shortest pause that may be cut in"),
        ("margin", "silence that is kept before and after the words, at most"),
        ("foreign", "speech that the text lacks in a segment, at most"),
    ):
        default = getattr(SegmentOptions, name)
        parser.add_argument(
            f"--{name}", type=float, default=default, metavar="S", help=f"{text} [{default:g} s]"
        )
    parser.add_argument(
        "--dev-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the segments that get the split dev, to choose a model by [%(default)g]",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code, 1 if some of several recordings cannot be read."""
    if not 0 <= options.dev_share < 1:
        raise ConfigError(f"--dev-share needs 0 or more, below 1, got {options.dev_share:g}")
    settings = SegmentOptions(**{f.name: getattr(options, f.name) for f in fields(SegmentOptions)})
    alignments = [(path, read_alignment(path)) for path in alignment_files(options.aligned)]
    refuse_others(options.output / "manifest.tsv", "foreign")
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[Utterance, dict[str, object]]] = []
    dropped: list[tuple[str, Dropped]] = []
    lengths = [alignment.seconds for _, alignment in alignments]
    failed = 0
    with taking_turns(options.output), SecondsBar(lengths, "cutting") as bar:
        audio = options.output / "audio"
        audio.mkdir(exist_ok=True)
        remove_parts(audio)
        for number, (path, alignment) in enumerate(alignments):
            segments, others = segment(alignment, settings)
            try:
                recording = path.parent / alignment.recording
                paths = cut(recording, segments, audio, partial(bar.report, number))
            except AudioError as error:
                if len(alignments) == 1:
                    raise
                failed += 1
                with bar.hidden():
                    log.warning("%s: left out: %s", path, error)
                continue
            finally:
                bar.done(number)
            dropped += [(alignment.recording, one) for one in others]
            for done, one in zip(paths, segments, strict=True):
                utterance = Utterance(
                    done, round(one.seconds, 3), one.text, alignment.speaker, alignment.split
                )
                more = {"recording": path.stem, "start": one.start, "end": one.end}
                rows.append((utterance, {**more, "foreign": one.foreign}))
    _write_dropped(options.output / "dropped.tsv", dropped)
    if not rows:
        raise DataError(
            f"nothing is left of {len(alignments)} recordings: "
            f"{_reasons(dropped) or 'none can be read'}"
        )
    write_manifest(
        options.output / "manifest.tsv",
        with_dev([row for row, _ in rows], options.dev_share),
        [more for _, more in rows],
    )
    kept = np.array([row.seconds for row, _ in rows])
    plot_lengths(kept, settings, options.output / "lengths.png")
    print(
        f"{options.output / 'manifest.tsv'}: {len(rows)} segments, {kept.sum() / 60:.1f} of "
        f"{sum(lengths) / 60:.1f} minutes, {kept.mean():.1f} s each"
    )
    if dropped:
        print(f"left out, {options.output / 'dropped.tsv'}: {_reasons(dropped)}")
    return int(failed > 0)


def with_dev(utterances: Sequence[Utterance], share: float) -> list[Utterance]:
    """The same, a share of them of the split dev."""
    if not share:
        return list(utterances)
    splits = draw_splits([utterance.path.name for utterance in utterances], share, 0.0)
    held_back = [splits[utterance.path.name] == "dev" for utterance in utterances]
    return [
        replace(u, split="dev" if held else u.split)
        for u, held in zip(utterances, held_back, strict=True)
    ]


def alignment_files(given: Sequence[Path]) -> list[Path]:
    """Files of alignments, and those in folders.

    Raises:
        DataError: a folder has none.
    """
    found = []
    for path in given:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path} has no .json file of `ds2edge data align`")
        found += files
    return found


def cut(
    recording: Path,
    segments: Sequence[Segment],
    folder: Path,
    read: Callable[[Seconds], None] = lambda seconds: None,
) -> list[Path]:
    """Write each segment as a FLAC file, mono, at the recording's rate; what is there is kept.

    Args:
        read: told how many seconds more were read.

    Raises:
        AudioError: the recording cannot be read, or is shorter than the alignment says.
        OSError: a file cannot be written.
    """
    digest = _digest(recording)
    paths = [folder / f"{recording.stem}-{digest}-{_times(one)}.flac" for one in segments]
    cuts = [
        Cut(one.start, one.end, str(path))
        for one, path in zip(segments, paths, strict=True)
        if not (path.exists() and is_whole(path))
    ]
    writer = CutWriter(cuts)
    if cuts:
        with open_audio(recording) as file:
            for block in file.blocks(seconds=10.0):
                writer.add(block, file.sample_rate)
                read(len(block) / file.sample_rate)
        writer.finish()
    for one, seconds in zip(cuts, writer.written, strict=True):
        if not seconds:
            raise AudioError(
                f"{recording} ends before {one.end:.2f} s, where its alignment has words; align it "
                "again"
            )
    return paths


def plot_lengths(seconds: FloatArray, settings: SegmentOptions, path: Path) -> None:
    """A histogram."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    bins = np.arange(0, float(seconds.max()) + 0.5, 0.5).tolist()
    axes.hist(seconds, bins=bins, color="tab:blue")
    axes.axvline(settings.target, color="tab:orange", label=f"asked for: {settings.target:g} s")
    axes.axvline(
        float(seconds.mean()), color="black", ls=":", label=f"mean: {seconds.mean():.1f} s"
    )
    axes.set(xlabel="length of a segment, s", ylabel="segments")
    axes.legend()
    with partial_file(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _digest(recording: Path) -> str:
    """Tells a recording, as it is now, from all others: files of another one are not taken."""
    state = f"{recording.resolve()} {file_state(recording)}"
    return hashlib.sha256(state.encode(errors="replace")).hexdigest()[:8]


def _times(one: Segment) -> str:
    return f"{round(one.start * 1000):08d}-{round(one.end * 1000):08d}"


def _write_dropped(path: Path, dropped: Sequence[tuple[str, Dropped]]) -> None:
    rows = [
        f"{recording}\t{one.start:.3f}\t{one.end:.3f}\t{one.reason}\n" for recording, one in dropped
    ]
    with partial_file(path) as file:
        file.write("".join(["recording\tstart\tend\treason\n", *rows]).encode())


def _reasons(dropped: Sequence[tuple[str, Dropped]]) -> str:
    counts = Counter(one.reason for _, one in dropped)
    seconds: Counter[str] = Counter()
    for _, one in dropped:
        seconds[one.reason] += round(one.end - one.start)
    return "; ".join(f"{n} ({seconds[reason]} s) {reason}" for reason, n in counts.most_common())
