"""The pages in docs/ tell the truth: what they show works, what they list is what there is."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_readme import Recording, blocks_of

import ds2edge
from ds2edge import cli
from ds2edge.bundle import load_bundle, pack_bundle

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
PYTHON = {
    name: code
    for name, page in PAGES.items()
    if (code := [code for language, code in blocks_of(page) if language == "python"])
}
COMMANDS = sorted(
    {
        line
        for page in PAGES.values()
        for language, code in blocks_of(page)
        for line in code.splitlines()
        if language != "python" and re.match(r"ds2edge (transcribe.* tests/data|info)", line)
        if "--bundle" not in line  # of a bundle that is trained first: test_first_run.py
    }
)
RECORDING = "tests/data/speech/LJ001-0011.opus"


def load_documented():
    specification = importlib.util.spec_from_file_location("documented", DOCS / "documented.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


documented = load_documented()


# ---- What is shown


def test_the_pages_have_examples():
    assert len(PYTHON) >= 6
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("name", PYTHON)
def test_the_python_blocks_of_a_page_run_one_after_the_other(name, monkeypatch):
    monkeypatch.chdir(ROOT)  # the paths in them are the repository's
    monkeypatch.setattr("ds2edge.microphone.Microphone", Recording)
    names: dict[str, object] = {}
    for number, code in enumerate(PYTHON[name]):
        exec(compile(code, f"{name}.md, Python block {number}", "exec"), names)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_pages_run(command):
    program, *arguments = shlex.split(command)
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


# ---- What is listed


@pytest.mark.parametrize("name", documented.MODULES)
def test_everything_public_is_documented(name):
    assert documented.undocumented(importlib.import_module(name)) == []


def test_what_is_undocumented_is_found(tmp_path, monkeypatch):
    source = '''
from dataclasses import dataclass
from typing import NamedTuple

class Bare:
    """Said."""

    beside: int  # said
    # Said
    # above.
    above: int
    field: int

    def method(self): ...

    @property
    def property(self): ...

    @classmethod
    def said(cls):
        """Said."""

@dataclass
class Made:
    field: int  # said

class Tuple(NamedTuple):
    field: int

def function(): ...

def _private(): ...
'''
    (tmp_path / "bare.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    bare = importlib.import_module("bare")
    assert documented.undocumented(bare) == [
        *("bare", "bare.Bare.method", "bare.Bare.property", "bare.Bare.field"),
        *("bare.Made", "bare.Tuple", "bare.Tuple.field", "bare.function"),
    ]
    assert documented.comments_of(bare)["Bare", "above"] == "Said above."


def test_the_reference_has_every_module():
    pages = "".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    assert sorted(re.findall(r"automodule:: (\S+)", pages)) == sorted(documented.MODULES)
    homes = {getattr(ds2edge, name).__module__ for name in ds2edge.__all__}
    assert homes <= set(documented.MODULES)


def test_what_is_imported_from_ds2edge_is_listed():
    page = (DOCS / "reference/ds2edge.md").read_text()
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == set(ds2edge.__all__)


def test_every_command_is_described():
    page = PAGES["commands"]
    (commands,) = (
        action
        for action in cli.build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    names = [name for name in commands.choices if name not in cli.EXTRA_COMMANDS]
    assert re.findall(r"^## ds2edge (\w+)$", page, re.MULTILINE) == names
    assert re.findall(r"^```{command-help} (\w+)$", page, re.MULTILINE) == names
    rows = re.findall(r"^\| `ds2edge (\w+)[` ]", PAGES["bundle"], re.MULTILINE)
    assert set(rows) == set(cli.EXTRA_COMMANDS)


def test_the_exit_codes_are_those_of_the_command():
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", PAGES["commands"], re.MULTILINE)
    shown = [" ".join(line.split()) for line in cli.EXIT_CODES.splitlines()[1:]]
    assert [f"{code} {meaning}" for code, meaning in rows] == shown


def test_every_example_is_shown():
    shown = re.findall(r"literalinclude} \.\./examples/(\w+\.py)", PAGES["examples"])
    assert sorted(shown) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def test_the_environment_variables_are_listed():
    sources = [
        p for name in ("ds2edge", "training", "convert") for p in (ROOT / name).rglob("*.py")
    ]
    read = {
        name
        for path in sources
        for line in path.read_text().splitlines()
        if "environ" in line or line.startswith("THREADS")
        for name in re.findall(r'"([A-Z][A-Z0-9_]+)"', line)
    }
    assert "DS2EDGE_CACHE" in read
    assert read <= set(re.findall(r"`(\w+)`", PAGES["privacy"]))


# ---- What is written and sent

# Runs in a process of its own: a hook cannot be taken away again.
WATCH = """
import json, os, runpy, sys

seen = []

def hook(event, arguments):
    if event == "open":
        path, _, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
        if writes and not isinstance(path, int):  # a descriptor was opened before
            seen.append([event, os.fsdecode(path)])
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
        seen.append([event, str(arguments[0])])
    elif event in ("os.rename", "os.link", "os.symlink"):
        seen.append([event, *map(str, arguments[:2])])
    elif event.startswith(("socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn",
                           "os.system", "urllib.", "http.", "ftplib.", "smtplib.")):
        seen.append([event, repr(arguments)])

sys.addaudithook(hook)
try:
    exec(sys.argv[1], {"__name__": "__main__"})
finally:
    sys.__stdout__.flush()
    os.write(3, json.dumps(seen).encode())
"""
COMMAND = "from ds2edge.cli import main; assert main({!r}) == 0"
USES = {
    "transcribe": COMMAND.format(["transcribe", "--display", RECORDING]),
    "info": COMMAND.format(["info"]),
    "python": f"""
import soundfile
from ds2edge import StreamOptions, Transcriber
samples, rate = soundfile.read({RECORDING!r})
transcriber = Transcriber()
options = StreamOptions(boost={{"William Morris": 6}}, alternatives=2)
with transcriber.stream(rate, options) as stream:
    stream.feed(samples)
    assert stream.finish()[-1].text
assert transcriber.transcribe({RECORDING!r}).to_json()
""",
}


class Watched:
    """What a piece of Python does to files and sockets, in folders of its own."""

    def __init__(self, code: str, folder: Path) -> None:
        self.folders = {name: folder / name for name in ("home", "cache", "temporary")}
        for name in ("home", "temporary"):
            self.folders[name].mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folders["home"]),
            "DS2EDGE_CACHE": str(self.folders["cache"]),
            "TMPDIR": str(self.folders["temporary"]),
        }
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-BP", "-c", f"import os; os.dup2({writer}, 3)\n{WATCH}", code],
            cwd=ROOT,
            env=environment,
            pass_fds=[writer],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writer)
        with os.fdopen(reader) as told:
            self.events = json.loads(told.read())
        self.out, self.err = process.communicate()
        assert process.returncode == 0, self.err

    def written(self, *allowed: str) -> list[list[str]]:
        """Events, but those within the named folders."""
        inside = tuple(str(self.folders[name]) for name in allowed)
        return [
            event
            for event in self.events
            if not all(str(path).startswith(inside) for path in event[1:])
        ]


@pytest.mark.parametrize("use", USES)
def test_nothing_is_sent_and_only_packed_weights_stay(use, tmp_path):
    watched = Watched(USES[use], tmp_path)
    weights = watched.folders["cache"] / "weights"
    written = [event[1] for event in watched.written("temporary")]
    assert [path for path in written if not path.startswith(str(weights.parent))] == []
    (kept,) = weights.iterdir()
    assert kept.suffix == ".xnnpack"
    assert [path.name for path in watched.folders["cache"].iterdir()] == ["weights"]
    assert not any(any(watched.folders[name].iterdir()) for name in ("home", "temporary"))


def test_an_archive_is_unpacked_into_the_cache_only(tmp_path):
    archive = pack_bundle(load_bundle("en"), tmp_path / "en.ds2")
    watched = Watched(f"from ds2edge import load_bundle; load_bundle({str(archive)!r})", tmp_path)
    assert watched.written("temporary", "cache") == []
    assert [path.name for path in watched.folders["cache"].iterdir()] == ["bundles"]
    (unpacked,) = (watched.folders["cache"] / "bundles").iterdir()
    assert load_bundle(unpacked).size == load_bundle("en").size
    assert list(watched.folders["temporary"].iterdir()) == []


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("open('{}/file', 'w')", "open"),
        ("import os; os.mkdir('{}/folder')", "os.mkdir"),
        ("import socket; socket.socket()", "socket.__new__"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    ],
)
def test_the_watch_sees(code, event, tmp_path):
    watched = Watched(code.format(tmp_path), tmp_path)
    assert event in [seen[0] for seen in watched.written("temporary", "cache")]
