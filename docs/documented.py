"""What documents each public name: its docstring or, of fields and constants, a comment.

    index: int  # PortAudio's number of it

A comment on the line of a name, or on those above it, documents it; a field of `StreamOptions`
has the help of its flag.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# In the order in which the reference has them.
MODULES = [
    "ds2edge",
    "ds2edge.results",
    "ds2edge.transcriber",
    "ds2edge.stream",
    "ds2edge.asynchronous",
    "ds2edge.options",
    "ds2edge.subtitles",
    "ds2edge.segmentation",
    "ds2edge.display",
    "ds2edge.microphone",
    "ds2edge.bundle",
    "ds2edge.errors",
    "ds2edge.audio",
    "ds2edge.audio_file",
    "ds2edge.features",
    "ds2edge.acoustic",
    "ds2edge.backends",
    "ds2edge.runtimes.runtime",
    "ds2edge.decoder",
    "ds2edge.pipeline",
    "ds2edge.endpoint",
    "ds2edge.text",
    "ds2edge.token_files",
    "ds2edge.writing",
    "ds2edge.serving.dispatcher",
    "ds2edge.serving.live",
    "ds2edge.serving.asynchronous",
    "ds2edge.serving.metrics",
    "ds2edge.serving.server",
    "ds2edge.serving.limits",
    "ds2edge.serving.protocol",
    "ds2edge.compat.deepspeech",
]


def undocumented(module: ModuleType) -> list[str]:
    """The module, its public functions and classes, and their methods and fields without a word."""
    return [name for name, text in _texts(module) if not text]


def public_names(module: ModuleType) -> list[str]:
    """The same of which `undocumented` tells those without a word."""
    return [name for name, _ in _texts(module)]


def comments_of(module: ModuleType) -> dict[tuple[str, str], str]:
    """By class ("" for the module itself) and name: the comments that document plain names."""
    comments = _comments(Path(module.__file__ or ""))
    for kind in filter(dataclasses.is_dataclass, vars(module).values()):
        for field in dataclasses.fields(kind):
            if "help" in field.metadata and kind.__module__ == module.__name__:
                comments[kind.__qualname__, field.name] = field.metadata["help"]
    return {key: text for key, text in comments.items() if text}


def _texts(module: ModuleType) -> Iterator[tuple[str, str]]:
    yield module.__name__, module.__doc__ or ""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if inspect.isclass(value) or inspect.isfunction(value):
            made = (value.__doc__ or "").startswith(f"{name}(")  # by dataclass or NamedTuple
            yield f"{module.__name__}.{name}", "" if made else value.__doc__ or ""
        if inspect.isclass(value):
            for of_class, text in _members(value, comments_of(module)):
                yield f"{module.__name__}.{name}.{of_class}", text


def _members(kind: type, comments: dict[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    """Its methods, properties and fields, without those that it inherits."""
    for name in {**vars(kind), **vars(kind).get("__annotations__", {})}:
        if name.startswith("_"):
            continue
        value = inspect.getattr_static(kind, name, None)
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        code = inspect.isfunction(value) or hasattr(value, "__set_name__") or hasattr(value, "fget")
        yield name, (value.__doc__ or "") if code else comments.get((kind.__qualname__, name), "")


def _comments(path: Path) -> dict[tuple[str, str], str]:
    """The comment beside each name, or else the lines above it."""
    source = path.read_text(encoding="utf-8")
    beside, above = {}, {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = token.line.strip() == token.string
            (above if alone else beside)[token.start[0]] = token.string.lstrip("#: ")
    comments = {}
    for key, node in _assigned(ast.parse(source).body, ""):
        text, line = beside.get(node.end_lineno or 0, ""), node.lineno - 1
        while key[0] and not beside.get(node.end_lineno or 0) and line in above:
            text, line = f"{above[line]} {text}".rstrip(), line - 1
        comments[key] = text
    return comments


def _assigned(body: list[ast.stmt], owner: str) -> Iterator[tuple[tuple[str, str], ast.stmt]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _assigned(node.body, f"{owner}.{node.name}".lstrip("."))
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            for target in [node.target] if isinstance(node, ast.AnnAssign) else node.targets:
                if isinstance(target, ast.Name):
                    yield (owner, target.id), node
