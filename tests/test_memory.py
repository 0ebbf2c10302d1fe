"""What training frees is used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
sys.path[:0] = {path}
{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
blocks = [b"x" * 50_000_000 for _ in range(3)]
del blocks
before = faults()
blocks = [b"x" * 50_000_000 for _ in range(3)]
print(faults() - before)
"""
KEEP = "from ds2edge.training.memory import keep_memory; keep_memory()"


@pytest.mark.parametrize(("before", "again"), [("", True), (KEEP, False)])
def test_memory_is_not_asked_for_twice(before: str, again: bool) -> None:
    program = PROGRAM.format(path=sys.path, before=before)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (int(done.stdout) > 10_000) == again  # pages of 4 kB or larger ones
