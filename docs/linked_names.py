"""Links what stands in code marks to the reference, in pages and in docstrings alike.

`Stream.feed` or `load_bundle(path)` in a page, and `feed` in the docstring of a stream's method,
become links where the reference has the name. `Stream.fed` is a warning: there is no such method.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.nodes import find_pending_xref_condition, make_refnode

COMPAT = "ds2edge.compat."  # repeats names of ds2edge; only meant by its own docstrings
MEMBERS = ("method", "property", "attribute")
NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(.*\))?")

log = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("doctree-resolved", _link_literals)
    app.add_post_transform(_FullNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _link_literals(app: Sphinx, tree: nodes.document, page: str) -> None:
    for literal in list(tree.findall(nodes.literal)):
        match = NAME.fullmatch(literal.astext())
        if not match or isinstance(literal.parent, nodes.reference | nodes.title):
            continue
        name = match[1]
        found = _find(app.env, name, list(_surroundings(literal)))
        if found:
            literal.replace_self(_reference(app, page, found, literal.deepcopy()))
        elif "." in name and _is_class(app.env, name.rpartition(".")[0]):
            log.warning("the reference has no %r", name, location=literal)


class _FullNames(SphinxPostTransform):
    """Of the types and exceptions that signatures and docstrings have by their bare names."""

    default_priority = 5  # before references are resolved

    def run(self, **_: Any) -> None:
        for node in list(self.document.findall(addnodes.pending_xref)):
            name = node["reftarget"]
            found = node["refdomain"] == "py" and _find(self.env, name, [node.get("py:module", "")])
            if hasattr(builtins, name) and not found:
                # Or `bytes` would be taken for somebody's property.
                shown = find_pending_xref_condition(node, "resolved") or node
                node.replace_self(shown.children)
            elif found:
                node["reftarget"] = found


def _find(env: BuildEnvironment, name: str, surroundings: list[str]) -> str | None:
    """The full name of what is meant; None if it is unknown or may be several."""
    known = env.get_domain("py").objects  # type: ignore[attr-defined]
    for outer in [*surroundings, ""]:
        if (full := f"{outer}.{name}".lstrip(".")) in known:
            return full
    fitting = [full for full in known if full.endswith(f".{name}") and not full.startswith(COMPAT)]
    if len(fitting) != 1:
        return None
    unclear = "." not in name and _kind(env, fitting[0]) in MEMBERS
    return None if unclear else fitting[0]


def _kind(env: BuildEnvironment, full: str) -> str:
    return str(env.get_domain("py").objects[full].objtype)  # type: ignore[attr-defined]


def _is_class(env: BuildEnvironment, name: str) -> bool:
    found = _find(env, name, [])
    return found is not None and _kind(env, found) == "class"


def _surroundings(node: nodes.Node) -> Iterator[str]:
    """Class and module in whose docstring a node stands."""
    while (node := node.parent) is not None:
        if isinstance(node, addnodes.desc):
            signature: Any = node.next_node(addnodes.desc_signature)
            module = signature.get("module") or ""
            yield f"{module}.{signature.get('fullname')}"
            yield f"{module}.{signature.get('class')}"
            yield module


def _reference(app: Sphinx, page: str, name: str, shown: nodes.Element) -> nodes.reference:
    entry = app.env.get_domain("py").objects[name]  # type: ignore[attr-defined]
    return make_refnode(app.builder, page, entry.docname, entry.node_id, shown, name)
