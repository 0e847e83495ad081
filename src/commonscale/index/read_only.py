"""Dicts and lists that nobody can change, so that an index can hand out its own documents without copying them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NoReturn

from commonscale.core.errors import InvalidInputError


class ReadOnlyDict(dict[str, Any]):
    """A dict that refuses changes; ``copy.deepcopy`` of it gives plain dicts and lists that take them."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple[type[ReadOnlyDict], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)


class ReadOnlyList(list[Any]):
    """A list that refuses changes; ``copy.deepcopy`` of it gives plain dicts and lists that take them."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [deepcopy(value, memo) for value in self]

    def __reduce__(self) -> tuple[type[ReadOnlyList], tuple[list[Any]]]:
        return type(self), (list(self),)


def read_only(value: Any) -> Any:
    """Give what JSON can hold in a form that cannot be changed, at any depth; it equals the original.

    Args:
        value: as ``json.loads`` gives it.
    """
    if isinstance(value, dict):
        return ReadOnlyDict((key, read_only(item)) for key, item in value.items())
    if isinstance(value, list):
        return ReadOnlyList(read_only(item) for item in value)
    return value


def _refuse(_self: object, *_: object, **__: object) -> NoReturn:
    raise InvalidInputError(
        "metadata of a stored document is read-only; change a copy (copy.deepcopy(document.metadata)) and add the "
        "document again with it"
    )


# Subclasses of dict and list, because json, pydantic and isinstance take nothing else for a dict or a list.
_SHARED = ("__setitem__", "__delitem__", "clear", "pop")
_CHANGES: dict[type, tuple[str, ...]] = {
    ReadOnlyDict: (*_SHARED, "__ior__", "popitem", "setdefault", "update"),
    ReadOnlyList: (*_SHARED, "__iadd__", "__imul__", "append", "extend", "insert", "remove", "reverse", "sort"),
}
for _kind, _names in _CHANGES.items():
    for _name in _names:
        setattr(_kind, _name, _refuse)
