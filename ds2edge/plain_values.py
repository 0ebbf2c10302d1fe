"""Plain values, as TOML and JSON give them, to dataclasses: checked key by key, type by type."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from ds2edge.errors import ConfigError

T = TypeVar("T")


def from_dict(kind: type[T], values: dict[str, Any], where: str = "") -> T:
    """Build a dataclass from plain values, refusing what it does not know.

    Raises:
        ConfigError: an unknown or missing key, or a value of another type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where or 'it'} needs a table, got {values!r}")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ConfigError(f"unknown key {where + unknown[0]!r}; known: {', '.join(hints)}")
    converted = {k: as_type(hints[k], v, f"{where}{k}") for k, v in values.items()}
    try:
        return kind(**converted)
    except TypeError as error:
        raise ConfigError(f"{where or 'it'}: {error}") from None


def as_type(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type that `hint` asks for; `where` names it in the error.

    Raises:
        ConfigError: it is of another type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, f"{where}.")
    if origin in (tuple, Sequence) and isinstance(value, list | tuple):
        return tuple(as_type(arguments[0], item, where) for item in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {str(k): as_type(arguments[1], item, where) for k, item in value.items()}
    if origin is types.UnionType and types.NoneType in arguments:
        (other,) = (member for member in arguments if member is not types.NoneType)
        return None if value is None else as_type(other, value, where)
    if hint is Any:
        return value
    if origin is Literal and value in arguments:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    plain = isinstance(hint, type) and not isinstance(hint, types.GenericAlias)
    if plain and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = hint.__name__ if isinstance(hint, type) else hint
    raise ConfigError(f"{where} needs {wanted}, got {value!r}")
