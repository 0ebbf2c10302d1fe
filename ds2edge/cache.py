"""Where ds2edge keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$DS2EDGE_CACHE`, or ds2edge below the user's cache folder; it need not exist yet."""
    if configured := os.environ.get("DS2EDGE_CACHE"):
        return Path(configured)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "ds2edge"
    try:
        return Path.home() / ".cache" / "ds2edge"
    except RuntimeError:  # there is no home: as if it could not be written
        return Path(os.devnull) / "ds2edge"
