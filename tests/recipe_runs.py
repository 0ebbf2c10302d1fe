"""The recipes of training/*.mk, run with real commands or with a stand-in for them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "build" / "tools"
HEADER = "path\tseconds\ttext\tspeaker\tsplit\n"
# As KenLM's, which needs Boost; the model stays as it is.
BUILD_BINARY = '#!/bin/sh\nwhile [ "$3" ]; do shift; done\ncp "$1" "$2"\n'
# Writes down what it is asked for and makes what a step makes; fails in the command $FAILS.
STAND_IN = """#!/bin/sh
echo "$*" >> {log}
case "$*" in "$FAILS "*) exit 130;; esac
kind="$1 $2"
while :; do case "$1" in -o | --out | ds2edge.training.steady*) break;; esac; shift; done
case "$kind" in "data text" | "data tokens") seq 100 > "$2"; exit;; esac
mkdir -p "$2"
for name in manifest.tsv manifest.json language_model.json best.npz; do echo > "$2/$name"; done
"""


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def make(
    recipe: str, folder: Path, *options: str, **variables: object
) -> subprocess.CompletedProcess[str]:
    """A recipe, below a folder; `variables` count before those of the environment's."""
    given = {
        "SPEECH": folder / "speech",
        "TEXT": folder / "text",
        "WORK": folder / "work",
        "CONFIGS": folder / "configs",
        "TOOLS": folder / "tools",
        "DS2EDGE": f"{sys.executable} -P -m ds2edge.cli",
        "PYTHON": sys.executable,
        **variables,
    }
    environment = {name: text for name, text in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", "-f", f"training/{recipe}.mk", *options, *(f"{k}={v}" for k, v in given.items())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "DS2EDGE_CACHE": str(folder / "cache")},
    )


def commands(
    recipe: str,
    folder: Path,
    *options: str,
    fails: str = "nothing",
    **variables: object,
) -> list[str]:
    """What `make model` runs, with a stand-in for the commands: a line each."""
    log = folder / "log"
    log.write_text("")
    path = program(folder / "stand_in", STAND_IN.format(log=shlex.quote(str(log))))
    command = f"FAILS='{fails}' {path}"
    done = make(recipe, folder, "model", *options, DS2EDGE=command, PYTHON=command, **variables)
    assert (done.returncode == 0) == (fails == "nothing"), done.stderr
    return log.read_text().splitlines()
