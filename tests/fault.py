"""A fault to be planted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One line of the source replaced by a wrong one."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]  # pytest arguments; at least one of them has to fail

    @property
    def is_native(self) -> bool:
        return self.file.startswith("native/")
