"""How Sphinx builds the site: pages in Markdown, the reference from the docstrings alone.

`make docs` does so, and every warning is an error: a link that leads nowhere, a public name that
is not documented.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.inspect import stringify_signature

sys.path.insert(0, str(Path(__file__).parent))  # for what stands beside this file
from documented import MODULES, comments_of, public_names

project = "ds2edge"
copyright = "the authors of ds2edge; Apache-2.0"
version = release = version_of("ds2edge")

extensions = ["command_help", "linked_names", "myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_static_path, html_css_files = ["_static"], ["wide.css"]
html_title = f"ds2edge {version}"
html_copy_source = html_show_sphinx = False

myst_heading_anchors = 3  # the levels of headings that links may point to
add_module_names = False
highlight_language = "none"  # where none is named
default_role = "literal"  # of `code` in docstrings; linked_names makes links of it
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    "FloatArray": "ds2edge.audio.FloatArray",
    "Seconds": "ds2edge.results.Seconds",
}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

smartquotes = False  # "" is no pair of quotation marks

nitpicky = True
# Nothing is fetched while the site is built, so what other libraries document has no links.
nitpick_ignore_regex = [
    ("py:.*", r"(_native|argparse|asyncio|collections|np|npt|numpy|os|pathlib|typing)\..*"),
    ("py:.*", r"Any|Callable|Iterable|Iterator|AsyncIterator|Mapping|Sequence|Literal|Path"),
    ("py:.*", r"ModuleType|ndarray|dtype"),
    ("py:.*", r"Board|Work|T"),  # of the inside
]

log = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("builder-inited", _read_comments)
    app.connect("autodoc-process-docstring", _read_sections)
    app.connect("autodoc-process-signature", _as_written)
    app.connect("env-check-consistency", _check_complete)


def _read_comments(app: Sphinx) -> None:
    """Let Sphinx take the comments beside names for their documentation."""
    for module in MODULES:
        analyzer = ModuleAnalyzer.for_module(module)
        analyzer.analyze()
        for (owner, name), comment in comments_of(importlib.import_module(module)).items():
            if owner or "TypeAlias" in analyzer.annotations.get((owner, name), ""):
                analyzer.attr_docs[owner, name] = [comment, ""]


def _read_sections(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    if what not in ("property", "attribute", "data"):  # whose colons would be taken for types
        settings = Config(napoleon_use_rtype=False)
        lines[:] = GoogleDocstring(lines, settings, app, what, name, value, options).lines()


def _as_written(
    app: Sphinx, what: str, name: str, value: Any, options: Any, arguments: Any, returned: Any
) -> tuple[str, str | None] | None:
    """The signature with its annotations as the source has them, not as they evaluate."""
    if arguments is None or what not in ("class", "exception", "function", "method"):
        return None
    if inspect.isbuiltin(value):  # native, imported there, and not documented
        return None
    signature = inspect.signature(value)
    if what == "method" and inspect.isfunction(value):
        owner, _, last = name.rpartition(".")
        if not isinstance(inspect.getattr_static(_named(owner), last), staticmethod):
            without_self = list(signature.parameters.values())[1:]
            signature = signature.replace(parameters=without_self)
    plain = [_without_factory(parameter) for parameter in signature.parameters.values()]
    signature, result = signature.replace(parameters=plain), signature.return_annotation
    shown = stringify_signature(signature, show_return_annotation=False)
    return shown, result if isinstance(result, str) and what != "class" else None


def _without_factory(parameter: inspect.Parameter) -> inspect.Parameter:
    made = repr(parameter.default) == "<factory>"  # of a dataclass; it would be no Python
    return parameter.replace(default=_Shown("...")) if made else parameter


class _Shown(str):
    """A default that is shown as it stands."""

    __repr__ = str.__str__


def _check_complete(app: Sphinx, env: Any) -> None:
    """Every public name is somewhere in the reference."""
    known = env.get_domain("py").objects
    for name in (name for module in MODULES for name in public_names(_named(module))):
        if name not in known:
            log.warning("%s is not in the reference", name)


def _named(path: str) -> Any:
    """A module, or a class in one."""
    try:
        return importlib.import_module(path)
    except ImportError:
        module, _, name = path.rpartition(".")
        return getattr(_named(module), name)
