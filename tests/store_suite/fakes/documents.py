"""Documents of a Lucene index in memory: how fields are mapped, and which documents a query clause selects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from store_suite.fakes.http import Rejected

_LONGEST_KEYWORD = 256
_BOOLS = {"must", "filter", "should", "must_not", "minimum_should_match"}


class Index:
    """One index: its mapping, settings and documents by id."""

    def __init__(self, name: str, mappings: dict[str, Any], settings: dict[str, Any]) -> None:
        self.name = name
        self.mappings = mappings
        self.settings = settings
        self.documents: dict[str, dict[str, Any]] = {}
        self._selected: dict[str, list[str]] = {}

    def write(self, document_id: str, document: dict[str, Any]) -> None:
        """Add or replace a document."""
        self.documents[document_id] = document
        self._selected.clear()

    def remove(self, document_id: str) -> bool:
        """Delete a document; tells whether it was there."""
        self._selected.clear()
        return self.documents.pop(document_id, None) is not None

    def mapped(self, field: str) -> dict[str, Any] | None:
        """The explicit mapping of a field, by its path."""
        found: Any = self.mappings
        for part in field.split("."):
            found = (found.get("properties") or {}).get(part) if found else None
        return found

    def selected(self, clauses: Any) -> list[str]:
        """Ids of the documents that all clauses select."""
        wanted = clauses if isinstance(clauses, list) else [clauses]
        key = json.dumps(wanted)
        if key not in self._selected:
            documents = self.documents.items()
            self._selected[key] = [i for i, doc in documents if all(self.selects(c, i, doc) for c in wanted)]
        return self._selected[key]

    def selects(self, clause: Any, document_id: str, document: dict[str, Any]) -> bool:
        """Tell whether a clause of the query language selects a document."""
        if not isinstance(clause, dict) or len(clause) != 1:
            raise Rejected(400, "parsing_exception", f"a query clause must have one key, got {clause!r}")
        kind, body = next(iter(clause.items()))
        if kind == "match_all":
            return known(body, set()) is None or True
        if kind == "bool":
            return self._bool(body, document_id, document)
        if kind == "exists":
            known(body, {"field"})
            return bool(list(self.values(document, body["field"])))
        if kind == "ids":
            known(body, {"values"})
            return document_id in body["values"]
        if kind not in {"term", "terms", "range", "match_phrase"} or len(body) != 1:
            raise Rejected(400, "parsing_exception", f"unknown query [{kind}]")
        field, wanted = next(iter(body.items()))
        values = [document_id] if field == "_id" else list(self.values(document, field))
        return _LEAVES[kind](values, wanted)

    def _bool(self, body: Any, document_id: str, document: dict[str, Any]) -> bool:
        known(body, _BOOLS)
        parts = {name: value if isinstance(value, list) else [value] for name, value in body.items()}

        def holds(name: str) -> list[bool]:
            return [self.selects(clause, document_id, document) for clause in parts.get(name, [])]

        required = holds("must") + holds("filter")
        least = body.get("minimum_should_match", 1 if "should" in body and not required else 0)
        return all(required) and not any(holds("must_not")) and sum(holds("should")) >= least

    def values(self, document: dict[str, Any], field: str) -> Iterator[Any]:
        """The indexed terms of a field: words of a text, whole keywords, numbers."""
        mapped = self.mapped(field)
        if mapped is None and field.endswith(".keyword"):
            parent = field.removesuffix(".keyword")
            if self.mapped(parent) is None:
                whole = (v for v in found(document, parent) if isinstance(v, str))
                yield from (v for v in whole if len(v) <= _LONGEST_KEYWORD)
            return
        for value in found(document, field):
            if not isinstance(value, str) or (mapped or {}).get("type") == "keyword":
                yield value
            else:
                yield from words(value)


def known(body: Any, names: set[str]) -> None:
    """Refuse fields of a body that are not these."""
    if not isinstance(body, Mapping):
        raise Rejected(400, "parsing_exception", f"an object was expected, got {body!r}")
    if unknown := set(body) - names:
        raise Rejected(400, "parsing_exception", f"unknown field {sorted(unknown)}")


def found(document: Any, field: str) -> list[Any]:
    """The values at a path, of which there may be several; null values are not indexed."""
    for part in field.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    values = document if isinstance(document, list) else [document]
    return [value for value in values if value is not None]


def words(text: str) -> list[str]:
    """Cut a text as the standard analyzer does."""
    return re.findall(r"\w+", text.lower())


def _term(values: list[Any], wanted: Any) -> bool:
    if isinstance(wanted, dict):
        known(wanted, {"value"})
        wanted = wanted["value"]
    return wanted in values


def _range(values: list[Any], wanted: Any) -> bool:
    known(wanted, {"gt", "gte", "lt", "lte"})
    tests = {"gt": np.greater, "gte": np.greater_equal, "lt": np.less, "lte": np.less_equal}
    return any(all(tests[name](value, limit) for name, limit in wanted.items()) for value in values)


def _phrase(values: list[Any], wanted: Any) -> bool:
    known(wanted, {"query"})
    return " ".join(words(wanted["query"])) in " ".join(map(str, values))


_LEAVES = {"term": _term, "terms": lambda values, wanted: bool(set(values) & set(wanted)), "range": _range,
           "match_phrase": _phrase}  # fmt: skip
