"""What `ds2edge bundle show` tells of a bundle, as plain values and for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ds2edge.bundle import MANIFEST, Bundle

SHORT = 12  # digits of a digest
LISTED = 12  # tokens of a set, and values of a list


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """Plain values, as JSON has them."""
    manifest = bundle.manifest
    grid, milliseconds = manifest.grid, 1000 / manifest.features.frame_rate
    raw = json.loads((bundle.folder / MANIFEST).read_bytes())
    sizes = {name: (bundle.folder / name).stat().st_size for name in manifest.members}
    return {
        "name": manifest.name,
        "format": raw["format"],
        "licence": manifest.licence,
        "bytes": bundle.size,
        "artefacts": [{**asdict(a), "bytes": sizes[a.file]} for a in manifest.artefacts],
        "tokens": list(manifest.tokens.tokens),
        "token_set": manifest.tokens.digest,
        "features": manifest.features.as_dict(),
        "grid": {
            "step_ms": grid.time_stride * milliseconds,
            "chunk_ms": grid.chunk_frames * milliseconds,
            "look_ahead_ms": grid.look_ahead * grid.time_stride * milliseconds,
            "delay_ms": 1000 * manifest.delay,
        },
        "lexicon": None if bundle.words is None else len(bundle.words),
        "language_model": manifest.language_model,
        "decoder": manifest.decoder.plain(),
        "confidence": sorted(manifest.confidence),
        "accuracy": manifest.accuracy,
        "parity": manifest.parity,
        "training": manifest.training,
        "members": {
            name: {"bytes": sizes[name], "sha256": digest}
            for name, digest in manifest.members.items()
        },
    }


def print_facts(facts: Mapping[str, Any]) -> None:
    """Tables, for people."""
    from rich import box  # late: slow to import
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)  # names are taken literally
    title = f"{facts['name']}: {facts['bytes'] / 1e6:.2f} MB, format {facts['format']}"
    for heading, rows in (
        (title, list(_rows(facts))),
        ("artefacts", [_artefact(a) for a in facts["artefacts"]]),
        ("accuracy", list(_figures(facts["accuracy"]))),
        ("parity", list(_figures(facts["parity"]))),
        ("members", [_member(name, m) for name, m in facts["members"].items()]),
    ):
        if not rows:
            continue
        table = Table(title=heading, title_justify="left", show_header=False, box=box.SIMPLE)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _rows(facts: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    tokens, grid, training = facts["tokens"], facts["grid"], facts["training"]
    yield "licence", facts["licence"] or "none given"
    yield "tokens", f"{len(tokens)}: {' '.join(map(repr, tokens[:LISTED]))} ..."
    yield "features", ", ".join(_pairs(facts["features"]))
    yield "grid", ", ".join(f"{k.removesuffix('_ms')} {v:g} ms" for k, v in grid.items())
    lexicon = facts["lexicon"]
    yield "lexicon", "any word" if lexicon is None else f"{lexicon} words"
    yield "language model", ", ".join(_pairs(facts["language_model"])) or "none"
    yield "decoder", ", ".join(_pairs(facts["decoder"]))
    yield "confidence", ", ".join(facts["confidence"]) or "as the tokens have it; nothing fitted"
    yield "training", ", ".join(_pairs(training))


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    """`name value`, without what is long: nested tables, means, digests."""
    for name, value in values.items():
        if isinstance(value, str) and len(value) == 64:
            value = value[:SHORT]
        if isinstance(value, list | tuple):
            if len(value) > LISTED or any(isinstance(v, Mapping) for v in value):
                continue
            value = " ".join(map(str, value))
        if not isinstance(value, Mapping) and value not in ("", None):
            yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _figures(values: Mapping[str, Any], name: str = "") -> Iterator[Sequence[str]]:
    """A row for each table of numbers, the name of the table first."""
    if plain := ", ".join(_pairs(values)):
        yield name, plain
    for inner, value in values.items():
        if isinstance(value, Mapping):
            yield from _figures(value, f"{name} {inner}".strip())


def _artefact(artefact: Mapping[str, Any]) -> Sequence[str]:
    batches = " ".join(map(str, artefact["batches"]))
    kind = f"{artefact['weights']}, {artefact['form']}"
    return artefact["file"], f"{artefact['bytes'] / 1e6:.2f} MB", kind, f"batches {batches}"


def _member(name: str, member: Mapping[str, Any]) -> Sequence[str]:
    return name, f"{member['bytes']}", member["sha256"][:SHORT]
