"""Every fault of `make faults` can be planted: the line that it spoils is still there."""

from __future__ import annotations

import ast

import pytest
from fault import Fault
from plant_faults import FAULTS, ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_right_line_stands_exactly_once(fault: Fault) -> None:
    source = (ROOT / fault.file).read_text(encoding="utf-8")
    assert source.count(fault.right) == 1
    assert fault.wrong != fault.right
    if fault.file.endswith(".py"):
        ast.parse(source.replace(fault.right, fault.wrong))
    files = [name for name in fault.tests if name.startswith("tests/")]
    assert files
    assert all((ROOT / name).is_file() for name in files)


def test_names_tell_faults_apart() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
