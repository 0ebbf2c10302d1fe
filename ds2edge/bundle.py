"""The model bundle: one folder, or the same as one .ds2 file, with all that a language needs::

    manifest.json     everything small, and the SHA-256 of every other member
    int8.tflite       the acoustic model, once for each kind of weights
    check.npz         features and the model's answer, which every runtime has to give
    lexicon.txt       the words, one a line
    language_model.bin    KenLM
    MODEL_CARD.md, LICENSE.txt

A bundle is verified when it is loaded. Nothing in it is executed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ds2edge.bundle_archive import AGAIN, file_digest, unpack
from ds2edge.decoder import Confidence, SearchOptions
from ds2edge.errors import BundleError, ConfigError, DecoderError, TextError
from ds2edge.features import FeatureSettings
from ds2edge.plain_values import as_type, from_dict
from ds2edge.text import TokenSet

FORMAT = 3  # raised when an older ds2edge could not read the bundle
MANIFEST = "manifest.json"
CHECK = "check.npz"
LEXICON, LANGUAGE_MODEL = "lexicon.txt", "language_model.bin"
CARD, LICENCE = "MODEL_CARD.md", "LICENSE.txt"
PLOT = "formats.png"  # of bundles with several artefacts
ARCHIVE = ".ds2"  # ends the name of a bundle in one file
FORMAT_2 = [{"file": "model.tflite", "weights": "int8"}]  # what bundles of that format have
EMBEDDED = Path(__file__).parent / "bundles"
LONGEST_DELAY = 5.0  # seconds


@dataclass(frozen=True)
class StepGrid:
    """The fixed grid of frames on which the step graph runs."""

    chunk_frames: int  # feature frames in one step
    time_stride: int  # feature frames for each output
    look_ahead: int  # outputs by which the answer lags behind the features

    @property
    def chunk_outputs(self) -> int:
        """Outputs of one step."""
        return self.chunk_frames // self.time_stride


Weights: TypeAlias = Literal["int8", "int8-static", "fp16", "fp32"]  # of an artefact

# Where each kind can run, the best first; the only place that says so.
RUNNABLE: dict[str, tuple[Weights, ...]] = {
    "cpu": ("int8", "int8-static", "fp32", "fp16"),
    "gpu": ("fp16", "fp32"),
    "delegate": ("fp32", "fp16", "int8", "int8-static"),
}


def shares_weights(weights: Weights) -> bool:
    """Whether LiteRT's steps may share packed weights: int8-static would then be off."""
    return weights != "int8-static"


@dataclass(frozen=True)
class Artefact:
    """One TFLite file of the acoustic model."""

    file: str  # a member
    # int8: of matrices, but for the small ones; int8-static: of activations, too
    weights: Weights
    # stream: a step graph; whole: layer by layer over a whole recording, for both directions
    form: Literal["stream", "whole"] = "stream"
    batches: tuple[int, ...] = (1,)  # streams that the step graph takes at once
    tolerance: float = 0.5  # nats by which its answer to the test chunk may be off

    def __post_init__(self) -> None:
        if 1 not in self.batches or min(self.batches) < 1:
            raise ConfigError(f"batches of {self.file} need 1 among them, got {self.batches}")


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself."""

    name: str  # for people to read
    tokens: TokenSet  # the outputs of the acoustic model
    features: FeatureSettings  # its inputs
    grid: StepGrid  # on which its step graph runs
    artefacts: tuple[Artefact, ...]  # the model's files
    decoder: SearchOptions  # the best found on development data
    language: str = "en"  # whose figures and capital letters `ds2edge.display` writes
    delay: float = 0.0  # seconds from what is spoken to the output that says so
    # Of words, "language_model" with the bundle's and "letters" without; as fitted.
    confidence: dict[str, Confidence] = field(default_factory=dict)
    licence: str = ""  # of the weights
    language_model: dict[str, Any] = field(default_factory=dict)  # token digest, order, words
    training: dict[str, Any] = field(default_factory=dict)  # what the model learned from
    accuracy: dict[str, Any] = field(default_factory=dict)  # measured figures
    parity: dict[str, Any] = field(default_factory=dict)  # difference from the checkpoint
    members: dict[str, str] = field(default_factory=dict)  # SHA-256 of each file

    def __post_init__(self) -> None:
        if not 0 <= self.delay <= LONGEST_DELAY:
            raise ConfigError(f"delay must be 0 to {LONGEST_DELAY} seconds, got {self.delay}")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    folder: Path  # of its members
    manifest: Manifest  # what it says of itself

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """The bundle in the bytes of a .ds2 file.

        Raises:
            BundleError: as `load_bundle`.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise BundleError(f"needed the bytes of a .ds2 file, got {type(data).__name__}")
        with tempfile.TemporaryDirectory(prefix="ds2edge-") as folder:
            path = Path(folder) / "from_bytes.ds2"
            path.write_bytes(data)
            return load_bundle(path)

    def artefact(self, device: str, precision: str = "auto") -> Artefact | None:
        """The best one for a device of `RUNNABLE`.

        Args:
            precision: int8, fp16 or fp32: nothing else; auto: any.
        """
        by_weights = {artefact.weights: artefact for artefact in self.manifest.artefacts}
        fitting = [w for w in RUNNABLE[device] if precision in ("auto", w.split("-")[0])]
        return next((by_weights[w] for w in fitting if w in by_weights), None)

    def path(self, artefact: Artefact) -> Path:
        """Its file."""
        return self.folder / artefact.file

    @property
    def check(self) -> Path:
        """Features and the model's answer to them."""
        return self.folder / CHECK

    @property
    def language_model(self) -> Path | None:
        """The n-gram model, if the bundle has one."""
        return self.folder / LANGUAGE_MODEL if LANGUAGE_MODEL in self.manifest.members else None

    @cached_property
    def words(self) -> list[str] | None:
        """The lexicon, if the bundle has one."""
        if LEXICON not in self.manifest.members:
            return None
        return (self.folder / LEXICON).read_text(encoding="utf-8").split()

    @property
    def size(self) -> int:
        """Bytes of all members together."""
        names = (MANIFEST, *self.manifest.members)
        return sum((self.folder / name).stat().st_size for name in names)


def load_bundle(reference: str | os.PathLike[str] | Bundle = "en") -> Bundle:
    """Open and verify a bundle: the name of an embedded one, a folder, or a .ds2 file.

    Raises:
        BundleError: it is missing, damaged, incomplete, too new, or its parts do not belong
            together. The message names the member, what was found and what was expected.
    """
    if isinstance(reference, Bundle):
        return reference
    if not isinstance(reference, str | os.PathLike):
        raise BundleError(f"needed a bundle's name or path, got {type(reference).__name__}")
    embedded = EMBEDDED / str(reference)
    is_name = isinstance(reference, str) and reference.isidentifier()
    path = embedded if is_name and embedded.is_dir() else Path(reference)
    if path.is_file():
        return _load_archive(path)
    if not path.is_dir():
        names = sorted(p.name for p in EMBEDDED.glob("*") if p.is_dir())
        raise BundleError(
            f"no bundle {str(reference)!r}: needed a folder, a .ds2 file, or an embedded bundle "
            f"({', '.join(names) or 'none is installed'})"
        )
    return _load_folder(path)


def write_bundle(folder: Path, manifest: Manifest, members: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle folder, replacing an older one only when the new one is whole.

    Raises:
        BundleError: the folder holds something else.
    """
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".bundle-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        for name, content in members.items():
            if isinstance(content, Path):
                shutil.copyfile(content, new / name)
            else:
                (new / name).write_bytes(content)
        digests = {name: file_digest(new / name) for name in sorted(members)}
        values = {
            "format": FORMAT,
            **asdict(manifest),
            "tokens": manifest.tokens.tokens,
            "decoder": manifest.decoder.plain(),
            "members": digests,
        }
        text = json.dumps(values, ensure_ascii=False, indent=1)
        (new / MANIFEST).write_text(text + "\n", encoding="utf-8")
        old = Path(temporary) / "old"
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    return load_bundle(folder)


def check_replaceable(folder: Path) -> None:
    """Refuse to put a bundle in the place of anything but a bundle.

    Raises:
        BundleError: there is a file, or a folder with other things.
    """
    if not folder.exists():
        return
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    manifest = folder / MANIFEST
    known = listed_members(manifest.read_bytes()) if manifest.is_file() else set()
    if others := sorted(there - known):
        what = "is no bundle" if not known else f"has {others[0]}, which is not the bundle's,"
        raise BundleError(f"{folder} {what} and would be lost: name another folder")


def listed_members(manifest: bytes) -> set[str]:
    """What a bundle with this manifest.json consists of; nothing, if it is no bundle's."""
    try:
        values = json.loads(manifest)
        members, number = values["members"], values["format"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return set()
    is_one = isinstance(members, dict) and isinstance(number, int)
    return {MANIFEST, *members} if is_one else set()


def pack_bundle(bundle: Bundle, path: Path) -> Path:
    """Write a bundle as one .ds2 file; the same bundle gives the same bytes."""
    import zipfile  # late: whoever has a folder does not need it

    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (MANIFEST, *sorted(bundle.manifest.members)):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (bundle.folder / name).read_bytes())
    os.replace(part, path)
    return path


def _load_folder(folder: Path) -> Bundle:
    bundle = Bundle(folder, _read_manifest(folder / MANIFEST))
    _verify_members(bundle)
    _verify_pairing(bundle.manifest)
    return bundle


def _load_archive(path: Path) -> Bundle:
    folder, fresh = unpack(path)
    try:
        return _load_folder(folder)
    except BundleError:
        shutil.rmtree(folder, ignore_errors=True)
        if fresh:
            raise
        return _load_archive(path)  # the cached copy was damaged, not the archive


def _read_manifest(path: Path) -> Manifest:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{path.parent} has no {MANIFEST}: it is not a bundle") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read: {error}; {AGAIN}") from None
    found = values.get("format") if isinstance(values, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise BundleError(f"{path}: format is {found!r}, expected {FORMAT}; {AGAIN}")
    if found > FORMAT:
        raise BundleError(
            f"{path}: the bundle has format {found}, this ds2edge reads up to {FORMAT}; "
            "upgrade ds2edge"
        )
    try:
        return Manifest(
            tokens=TokenSet(as_type(tuple[str, ...], values["tokens"], "tokens")),
            features=FeatureSettings.from_dict(values["features"]),
            grid=from_dict(StepGrid, values["grid"], "grid."),
            artefacts=as_type(tuple[Artefact, ...], values.get("artefacts", FORMAT_2), "artefacts"),
            decoder=from_dict(SearchOptions, values["decoder"], "decoder."),
            language=as_type(str, values.get("language", "en"), "language"),
            delay=as_type(float, values.get("delay", 0.0), "delay"),
            confidence=as_type(dict[str, Confidence], values.get("confidence", {}), "confidence"),
            name=as_type(str, values["name"], "name"),
            licence=as_type(str, values["licence"], "licence"),
            members=as_type(dict[str, str], values["members"], "members"),
            **{
                name: as_type(dict[str, Any], values[name], name)
                for name in ("language_model", "training", "accuracy", "parity")
            },
        )
    except (KeyError, TypeError, ConfigError, DecoderError, TextError) as error:
        raise BundleError(f"{path} is incomplete or malformed ({error}); {AGAIN}") from None


def _verify_members(bundle: Bundle) -> None:
    members = bundle.manifest.members
    artefacts = bundle.manifest.artefacts
    if not artefacts:
        raise BundleError(f"{bundle.folder}: {MANIFEST} lists no model; {AGAIN}")
    for name in (CHECK, *(artefact.file for artefact in artefacts)):
        if name not in members:
            raise BundleError(f"{bundle.folder}: {MANIFEST} lists no {name}; {AGAIN}")
    for name, expected in members.items():
        if Path(name).name != name:
            raise BundleError(f"{bundle.folder}: member {name!r} is not a plain file name")
        try:
            found = file_digest(bundle.folder / name)
        except (OSError, ValueError) as error:
            raise BundleError(
                f"{bundle.folder}: member {name!r} cannot be read ({error}); {AGAIN}"
            ) from None
        if found != expected:
            raise BundleError(
                f"{bundle.folder}: member {name} is damaged: SHA-256 {found[:16]}..., "
                f"expected {expected[:16]}...; {AGAIN}"
            )


def _verify_pairing(manifest: Manifest) -> None:
    """Token set, model and language model belong together."""
    made_for = manifest.language_model.get("tokens")
    if manifest.language_model and made_for != manifest.tokens.digest:
        raise BundleError(
            f"the language model of bundle {manifest.name!r} was made for the token set "
            f"{str(made_for)[:16]}..., the acoustic model has {manifest.tokens.digest[:16]}...; "
            "build the language model again with the model's token set"
        )
    grid = manifest.grid
    whole = 0 < grid.time_stride <= grid.chunk_frames and not grid.chunk_frames % grid.time_stride
    if not whole or grid.look_ahead < 0:
        raise BundleError(f"bundle {manifest.name!r} has an impossible step grid: {grid}")
