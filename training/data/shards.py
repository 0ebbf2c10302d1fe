"""TFRecord shards: the recordings of a corpus in few large files, read from begin to end.

A file system is slow with millions of small files. A shard has one `tf.train.Example` for each
recording: the bytes of its file, as they are, and its row of the manifest. The manifest beside the
shards has two more columns, `shard` and `record`, so that texts and lengths are known without
reading any audio. TensorFlow checks each record's CRC.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ds2edge.errors import DataError
from ds2edge.progress import track
from ds2edge.training.data.manifest import (
    Utterance,
    manifest_row,
    read_manifest,
    write_manifest,
)
from ds2edge.training.files import remove_parts

DAMAGED = "delete it, and run the same `ds2edge data shard` again"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """What is to be in a file."""

    path: Path
    utterances: tuple[Utterance, ...]


def write_shards(manifest: Path, folder: Path, size: int, jobs: int) -> tuple[int, int]:
    """Pack all splits of a manifest; shards that are there are kept.

    The manifest beside them comes last: its presence says that all is whole.

    Args:
        size: bytes of recordings in a shard.
        jobs: shards that are written at a time.

    Returns: how many shards and recordings.

    Raises:
        DataError: the manifest is malformed, none of its files exists, or it would be overwritten.
        OSError: a file cannot be read, or a shard not be written.
    """
    utterances = read_manifest(manifest)
    target = folder / "manifest.tsv"
    if target.exists() and not read_manifest(target)[0].shard:
        raise DataError(f"{target} is a manifest of files, which the shards' would replace")
    if utterances[0].shard:
        raise DataError(f"{manifest} is one of shards already")
    there = [utterance for utterance in utterances if utterance.path.is_file()]
    for utterance in utterances:
        if not utterance.path.is_file():
            log.warning("%s: left out, without a file: %s", utterance.where, utterance.path)
    if not there:
        raise DataError(f"{manifest}: none of its {len(utterances)} recordings is there")
    shards = plan_shards(there, folder, size)
    folder.mkdir(parents=True, exist_ok=True)
    remove_parts(folder)
    with ThreadPoolExecutor(jobs) as pool:  # TensorFlow writes without Python's lock
        try:
            for _ in track(pool.map(_write_shard, shards), "shards", len(shards)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    places = [
        {"shard": shard.path.name, "record": number}
        for shard in shards
        for number in range(len(shard.utterances))
    ]
    # Paths stay as they were: they are names now.
    packed = [replace(u, path=folder / _name(u)) for shard in shards for u in shard.utterances]
    write_manifest(target, packed, places)
    return len(shards), len(there)


def plan_shards(utterances: Sequence[Utterance], folder: Path, size: int) -> list[Shard]:
    """What goes where: each split for itself, in the order of the manifest.

    A shard's name has a digest of what is in it: another one is written where that has changed.
    """
    groups: list[tuple[str, list[Utterance]]] = []
    for split, those in groupby(sorted(utterances, key=lambda u: u.split), lambda u: u.split):
        bytes_in_last = size
        for utterance in those:
            length = utterance.path.stat().st_size
            if bytes_in_last + length > size:
                groups.append((split, []))
                bytes_in_last = 0
            groups[-1][1].append(utterance)
            bytes_in_last += length
    shards = []
    for number, (split, members) in enumerate(groups):
        digest = hashlib.sha256(json.dumps([_identity(u) for u in members]).encode())
        name = f"{split.replace('/', '-')}-{number:05d}-{digest.hexdigest()[:12]}.tfrecord"
        shards.append(Shard(folder / name, tuple(members)))
    return shards


def with_sounds(utterances: Iterable[Utterance]) -> Iterator[tuple[Utterance, bytes | None]]:
    """Each utterance with the bytes of its recording; None where that is a file of its own.

    Raises:
        DataError: a shard is damaged, missing, or not the one that the manifest speaks of.
    """
    for path, members in groupby(utterances, lambda utterance: utterance.shard):
        if not path:
            yield from ((utterance, None) for utterance in members)
            continue
        records = enumerate(_records(path))
        number, record = -1, b""
        for utterance in members:
            while number < utterance.record:
                try:
                    number, record = next(records)
                except StopIteration:
                    raise DataError(
                        f"{path} has {number + 1} records, the manifest says that there is one "
                        f"with the number {utterance.record}; {DAMAGED}"
                    ) from None
            yield utterance, _sound(utterance, record)


def _write_shard(shard: Shard) -> None:
    import tensorflow as tf

    if shard.path.exists():
        return
    part = shard.path.with_name(f"{shard.path.name}.{os.getpid()}.part")
    try:
        with tf.io.TFRecordWriter(str(part)) as writer:
            for utterance in shard.utterances:
                writer.write(_example(utterance).SerializeToString())
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, shard.path)
    except tf.errors.OpError as error:
        raise OSError(0, str(error.message), str(shard.path)) from None
    finally:
        part.unlink(missing_ok=True)


def _example(utterance: Utterance) -> Any:
    import tensorflow as tf

    def text(*values: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    row = {name: text(str(value).encode()) for name, value in _row(utterance).items()}
    feature = {"audio": text(utterance.path.read_bytes()), **row}
    return tf.train.Example(features=tf.train.Features(feature=feature))


def _sound(utterance: Utterance, record: bytes) -> bytes:
    """The audio of a record, which is to be the utterance's."""
    import tensorflow as tf

    try:
        feature = tf.train.Example.FromString(record).features.feature
        name, sound = (feature[key].bytes_list.value[0] for key in ("path", "audio"))
    except Exception:  # protobuf's own, which is not always the same class
        raise DataError(f"{utterance.where} is no recording; {DAMAGED}") from None
    if name.decode() != _name(utterance):
        raise DataError(
            f"{utterance.where} is {name.decode()}, the manifest says {_name(utterance)}; {DAMAGED}"
        )
    return bytes(sound)


def _records(path: Path) -> Iterator[bytes]:
    import tensorflow as tf

    number = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield record
            number += 1
    except tf.errors.NotFoundError:
        raise DataError(f"there is no shard {path}; run the same `ds2edge data shard` again") from (
            None
        )
    except tf.errors.OpError as error:
        reason = str(error.message).split("}} ")[-1].split(" [Op:")[0].split("'")[0]
        raise DataError(f"{path}, record {number}: {reason}; {DAMAGED}") from None


def _row(utterance: Utterance) -> dict[str, object]:
    assert utterance.manifest
    return manifest_row(utterance, utterance.manifest.parent)


def _name(utterance: Utterance) -> str:
    """The path as the manifest has it."""
    assert utterance.manifest
    return os.path.relpath(utterance.path, utterance.manifest.parent)


def _identity(utterance: Utterance) -> list[Any]:
    status = utterance.path.stat()
    return [*_row(utterance).values(), status.st_size, status.st_mtime_ns]
