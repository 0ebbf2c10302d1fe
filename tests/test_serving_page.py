"""The page on serving lists what there is: messages, codes, limits, measurements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from ds2edge import Transcriber
from ds2edge.serving import protocol
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.exported import Exporter
from ds2edge.serving.limits import ServerOptions
from ds2edge.serving.schema import protocol_schema
from ds2edge.serving.service import Service

PAGE = (Path(__file__).parents[1] / "docs" / "serving.md").read_text(encoding="utf-8")


def test_the_page_has_every_code() -> None:
    rows = re.findall(r"^\| (\d{4}) \| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    faults = {
        name: (str(fault.close_code), name, fault.meaning)
        for name, fault in protocol.FAULTS.items()
        if name != "bad_audio"  # of files only
    }
    assert rows[0][:2] == (str(protocol.FINISHED), "finished")
    assert sorted(rows[1:]) == sorted(faults.values())


def test_the_page_has_every_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.+) \|$", PAGE, re.MULTILINE)
    told = {
        name: int(status) for status, names in rows for name in re.findall(r"`([a-z_]+)`", names)
    }
    faults = {name: fault.status for name, fault in protocol.FAULTS.items()}
    assert told == {name: faults[name] for name in faults if name not in ("version", "slow_reader")}


def test_the_page_has_every_message() -> None:
    defined = protocol_schema()["$defs"]
    kinds = {
        part["properties"]["type"]["const"]
        for part in defined.values()
        if "type" in part.get("properties", {}) and "const" in part["properties"]["type"]
    }
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)?) \|", PAGE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} >= kinds


def test_the_page_has_every_limit() -> None:
    section = PAGE.partition("\n## Limits\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`--.*?) \|", section, re.MULTILINE)
    flags = {flag for row in rows for flag in re.findall(r"--([\w-]+)", row)}
    others = ["host", "port", "token_file", "token_needed", "tls_certificate", "tls_key"]
    others += ["allow_origin", "max_batch", "threads"]
    limits = {field.name.replace("_", "-") for field in fields(ServerOptions)}
    assert flags == limits - {name.replace("_", "-") for name in others}


@pytest.fixture
def exporter(transcriber: Transcriber) -> Iterator[Exporter]:
    with Dispatcher(transcriber) as dispatcher:
        yield Exporter(Service(dispatcher, ServerOptions(), ""))


def test_the_page_has_every_measurement(exporter: Exporter) -> None:
    section = PAGE.partition("\n## Measurements\n")[2]
    shown = " ".join(re.findall(r"^\| (`(?:ds2edge|_).*?) \|", section, re.MULTILINE))
    names = set(re.findall(r"`(\w+?)(?:_total)?(?:\{[^`]*)?`", shown))
    names |= {f"ds2edge_streams{name}" for name in names if name.startswith("_")}
    there = {family.name for family in exporter.collect()}
    assert {name for name in names if name.startswith("ds2edge")} == there
