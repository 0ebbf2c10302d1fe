"""The directive `command-help`: what `ds2edge NAME --help` prints, as of now."""

from __future__ import annotations

import argparse
import os

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from ds2edge.cli import build_parser

WIDTH = 84  # characters


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_directive("command-help", _CommandHelp)
    return {"parallel_read_safe": True}


class _CommandHelp(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        (name,) = self.arguments
        parsers = next(
            action.choices
            for action in build_parser()._actions
            if isinstance(action, argparse._SubParsersAction)
        )
        if name not in parsers:
            raise self.error(f"ds2edge has no command {name!r}")
        os.environ["COLUMNS"] = str(WIDTH)  # what argparse asks
        shown = parsers[name].format_help()
        return [nodes.literal_block(shown, shown, language="none")]
