"""A corpus as it was downloaded to a folder that can be trained on.

Unpack, read the corpus's own lists, verify each recording, write the manifest: it comes last, and
its presence says that all is done. Whatever is interrupted goes on with the same command.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ds2edge.errors import DataError
from ds2edge.progress import track
from ds2edge.text import TokenSet
from ds2edge.training.cuts import Cut
from ds2edge.training.data.manifest import Utterance, write_manifest
from ds2edge.training.files import locked
from ds2edge.training.importing.checksums import check_archive, check_file, listed_files
from ds2edge.training.importing.entries import Entry, Files
from ds2edge.training.importing.journal import ImportJournal
from ds2edge.training.importing.layouts import Layout
from ds2edge.training.importing.recordings import Found, Recording, examine
from ds2edge.training.importing.report import Drop, Report, is_ours, reasons, write_dropped
from ds2edge.training.importing.splits import hold_back
from ds2edge.training.importing.unpack import SUFFIXES, looks_packed, unpack, whole
from ds2edge.training.importing.usable import problem_of_sound, problem_of_text
from ds2edge.training.processes import in_order, worker_processes

OURS = ("manifest.tsv", "dropped.tsv", "report.json", "unpacked")  # no part of a corpus
LONGEST_NAME = 150  # characters of a file's name


@dataclass(frozen=True)
class ImportOptions:
    """What is imported, and how."""

    name: str  # of the layout
    layout: Layout
    sources: tuple[Path, ...]  # folders, archives, or tables
    folder: Path  # that gets the manifest
    token_set: TokenSet  # that is to spell the texts
    longest: float = 35.0  # seconds
    dev_share: float = 0.05  # of a corpus without splits
    test_share: float = 0.0
    jobs: int = 1  # recordings that are verified at a time
    prepare: Callable[[str], str] | None = None  # what is done to the texts; None: nothing


def import_corpus(options: ImportOptions) -> Report:
    """Write the manifest of a corpus, and what does not belong into it into a report.

    Raises:
        DataError: a source is missing, damaged, or of another layout; nothing of it can be used;
            another process is at it; or a manifest would be overwritten that is not an import's.
        OSError: something cannot be written, as on a full disk.
    """
    folder = options.folder.resolve()  # paths in the manifest are relative to where it really is
    if not is_ours(folder):
        raise DataError(
            f"{folder / 'manifest.tsv'} was not made by `ds2edge data import`, which would "
            "replace it; give another folder"
        )
    for source in options.sources:
        if not source.exists():
            raise DataError(f"there is no {source}")
    folder.mkdir(parents=True, exist_ok=True)
    with (
        locked(folder, "importing into", "give another folder"),
        ImportJournal(folder / ".import.jsonl") as journal,
    ):
        files, entries = _read(options, folder, journal)
        return _import(options, folder, files, entries, journal)


def _import(
    options: ImportOptions, folder: Path, files: Files, entries: list[Entry], journal: ImportJournal
) -> Report:
    wanted, dropped = _listed(options, entries)
    recordings = _recordings(wanted, folder)
    known = {path: journal.found(recording) for path, recording in recordings.items()}
    found = {path: result for path, result in known.items() if result}
    new = [recording for path, recording in recordings.items() if path not in found]
    found |= _verified(new, journal, options.jobs)
    kept, lengths, unusable = _usable(options, wanted, found)
    dropped += unusable + _unlisted(options.layout, files, entries, folder)
    if not kept:
        write_dropped(folder, dropped)
        raise DataError(
            f"none of the {len(entries)} recordings of {_names(options.sources)} can be used: "
            f"{'; '.join(reasons(dropped))}"
        )
    utterances = [
        Utterance(_place(entry, folder), round(seconds, 3), entry.text, entry.speaker, entry.split)
        for entry, seconds in zip(
            hold_back(kept, options.dev_share, options.test_share), lengths, strict=True
        )
    ]
    sources = tuple(str(source.resolve()) for source in options.sources)
    report = Report(folder, options.name, sources, utterances, dropped, len(new))
    report.write()
    write_manifest(folder / "manifest.tsv", utterances)
    return report


def _read(
    options: ImportOptions, folder: Path, journal: ImportJournal
) -> tuple[Files, list[Entry]]:
    """Unpack what is packed, and read what the corpus says of itself."""
    layout, unpacked = options.layout, folder / "unpacked"
    without = [folder / name for name in OURS]
    packed = [source for source in options.sources if _is_packed(layout, source)]
    roots = [source.resolve() for source in options.sources if source not in packed]
    roots += _unpack(packed, unpacked, layout.nested)
    files = Files(roots, without)
    if inner := _packed_inside(files, layout.nested):
        roots += _unpack(inner, unpacked, "")
        files = Files(roots, without)
    entries = list(layout.read(files))
    downloads = [Path(path) for path in files.paths if looks_packed(path)]
    if not entries and downloads:  # a folder of downloads
        roots += _unpack(downloads, unpacked, layout.nested)
        files = Files(roots, without)
        entries = list(layout.read(files))
    if not entries:
        some = ", ".join(os.path.relpath(path, files.roots[0]) for path in files.paths[:3])
        raise DataError(
            f"{_names(options.sources)} holds no {options.name}: looked for {layout.expects}; "
            f"found {len(files.paths)} files{f', {some}' if some else ''}"
        )
    _check_listed(files, journal)
    return files, entries


def _packed_inside(files: Files, pattern: str) -> list[Path]:
    """Archives in a corpus that nobody has unpacked: there is no folder of their name."""
    folders = {os.path.basename(os.path.dirname(path)) for path in files.paths}
    archives = files.find(pattern) if pattern else []
    return [archive for archive in archives if archive.name.split(".")[0] not in folders]


def _is_packed(layout: Layout, source: Path) -> bool:
    """Raises: DataError: it is a file of another kind."""
    if source.is_file() and not looks_packed(source) and not layout.of_a_file:
        raise DataError(f"{source} is neither a folder nor an archive ({', '.join(SUFFIXES)})")
    return source.is_file() and looks_packed(source)


def _unpack(archives: Sequence[Path], place: Path, nested: str) -> list[Path]:
    """Where each lies unpacked.

    Raises:
        DataError: two have the same name; or see `unpack` and `check_archive`.
    """
    folders: dict[Path, Path] = {}
    for archive in archives:
        name = re.sub(r"(\.tar)?\.[^.]+$", "", archive.name) or archive.name
        target = place / name
        if other := folders.get(target):
            raise DataError(f"{other} and {archive} would both be unpacked as {name}; rename one")
        folders[target] = archive
        if not whole(archive, target):
            check_archive(archive)
            unpack(archive, target, nested)
    return list(folders)


def _check_listed(files: Files, journal: ImportJournal) -> None:
    """Compare what is unpacked with the lists of check sums that lie in it."""
    listed = [
        (file, promised, source)
        for file, promised, source in listed_files(files.paths)
        if not looks_packed(file) and not journal.checked(file, promised)
    ]
    if not listed:
        return
    for file, promised, source in track(listed, "check sums", len(listed)):
        check_file(file, promised, str(source))
        journal.add_check(file, promised)


def _listed(options: ImportOptions, entries: Sequence[Entry]) -> tuple[list[Entry], list[Drop]]:
    """Entries that are worth decoding, and the others."""
    wanted: list[Entry] = []
    dropped: list[Drop] = []
    names: set[str] = set()
    for entry in entries:
        if options.prepare:
            entry = replace(entry, text=options.prepare(entry.text))
        if problem := problem_of_text(entry, options.token_set, options.longest):
            dropped.append(Drop(entry, *problem))
        elif not os.path.isfile(entry.audio):  # a name may be too long for any
            dropped.append(Drop(entry, "without a recording", f"there is no {entry.audio}"))
        elif entry.name in names:
            dropped.append(Drop(entry, "whose id is there already", str(entry.audio)))
        else:
            names.add(entry.name)
            wanted.append(entry)
    return wanted, dropped


def _unlisted(layout: Layout, files: Files, entries: Sequence[Entry], folder: Path) -> list[Drop]:
    """Recordings that no list of the corpus names, nor were cut out of one that it names."""
    named = {os.path.normpath(entry.audio) for entry in entries}
    named |= {str(_place(entry, folder)) for entry in entries}
    is_recording = re.compile(layout.recordings, re.IGNORECASE).search
    others = [path for path in files.paths if is_recording(path) and path not in named]
    detail = "no list of the corpus names it"
    return [
        Drop(Entry(Path(path).stem, Path(path), "", ""), "without a transcript", detail)
        for path in others
    ]


def _recordings(entries: Sequence[Entry], folder: Path) -> dict[str, Recording]:
    """What is to be decoded, by path; all cuts of a recording together."""
    cuts: dict[tuple[str, int], list[Cut]] = {}
    for entry in entries:
        those = cuts.setdefault((str(entry.audio), entry.raw_rate), [])
        if _is_written(entry):
            those.append(Cut(entry.start or 0.0, entry.end, str(_place(entry, folder))))
    return {path: Recording(path, rate, tuple(those)) for (path, rate), those in cuts.items()}


def _is_written(entry: Entry) -> bool:
    """Whether a file is made of it: of a part, and of what has no header."""
    return entry.start is not None or entry.raw_rate > 0


def _place(entry: Entry, folder: Path) -> Path:
    """The file of an entry: its own, or one that is written."""
    if not _is_written(entry):
        return entry.audio
    name = re.sub(r"[^\w.@-]+", "_", entry.name)
    if name != entry.name or len(name) > LONGEST_NAME:  # two may become one
        name = f"{name[:LONGEST_NAME]}-{zlib.crc32(entry.name.encode(errors='replace')):08x}"
    return folder / "audio" / re.sub(r"[^\w.-]+", "_", entry.audio.stem) / f"{name}.flac"


def _verified(new: Sequence[Recording], journal: ImportJournal, jobs: int) -> dict[str, Found]:
    """Decode recordings; what is found is in the journal at once."""
    found: dict[str, Found] = {}
    for recording, result in zip(new, _examined(new, jobs), strict=True):
        journal.add_found(recording, result)
        found[recording.path] = result
    return found


def _examined(new: Sequence[Recording], jobs: int) -> Iterator[Found]:
    if not new:
        return
    if jobs == 1 or len(new) == 1:
        yield from track(map(examine, new), "verifying", len(new))
        return
    with worker_processes(min(jobs, len(new))) as pool:
        yield from track(in_order(pool, examine, new, "verifies recordings"), "verifying", len(new))


def _usable(
    options: ImportOptions,
    wanted: Sequence[Entry],
    found: dict[str, Found],
) -> tuple[list[Entry], list[float], list[Drop]]:
    """Entries with their seconds, and those that their recordings rule out."""
    kept: list[Entry] = []
    lengths: list[float] = []
    dropped: list[Drop] = []
    first: dict[tuple[str, float | None, float | None], str] = {}
    nth: dict[Path, int] = {}  # of a recording's cuts
    for entry in wanted:
        result = found[str(entry.audio)]
        seconds = result.seconds
        if _is_written(entry) and not result.error:
            number = nth[entry.audio] = nth.get(entry.audio, -1) + 1
            seconds = result.cuts[number]
        sound = (result.sha256, entry.start, entry.end)
        if problem := problem_of_sound(entry, result, seconds, options.token_set, options.longest):
            dropped.append(Drop(entry, *problem))
        elif sound in first:
            dropped.append(Drop(entry, "whose sound is there already", f"as {first[sound]}"))
        else:
            first[sound] = entry.name
            kept.append(entry)
            lengths.append(seconds)
    return kept, lengths, dropped


def _names(sources: Sequence[Path]) -> str:
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    return f"{sources[0]}{more}"
