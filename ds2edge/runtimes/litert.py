"""LiteRT's Python modules and its name, or one clear error."""

from __future__ import annotations

import importlib
from typing import Any

from ds2edge.errors import BackendError


def litert_module(name: str) -> Any:
    """A module of LiteRT.

    Raises:
        BackendError: it is not installed, or cannot be loaded here.
    """
    try:
        return importlib.import_module(f"ai_edge_litert.{name}")
    except ImportError as error:
        raise BackendError(
            f"LiteRT is not installed ({error}); pip install ai-edge-litert"
        ) from None


def litert_name() -> str:
    """Name and version.

    Raises:
        BackendError: it is not installed.
    """
    litert_module("interpreter")
    return f"LiteRT {importlib.import_module('ai_edge_litert').__version__}"
