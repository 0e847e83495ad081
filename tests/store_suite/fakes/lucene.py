"""What the fakes of Elasticsearch and OpenSearch have in common: indices, bulk requests, searches."""

from __future__ import annotations

import copy
import fnmatch
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from store_suite.fakes.documents import Index, known
from store_suite.fakes.http import Rejected, Request, Routes

Scored = list[tuple[str, float]]


class LuceneRoutes(Routes):
    """Indices by name; subclasses score."""

    def __init__(self) -> None:
        super().__init__()
        self.indices: dict[str, Index] = {}
        self.scrolls: dict[str, tuple[int, list[dict[str, Any]]]] = {}

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [
            ("GET", "/", self.info),
            ("HEAD", r"/([^_/][^/]*)", lambda request, name: (200 if name in self.indices else 404, None)),
            ("PUT", r"/([^_/][^/]*)", self.create),
            ("DELETE", r"/([^_/][^/]*)", self.drop),
            ("POST", r"/([^_/][^/]*)/_refresh", self.refresh),
            ("PUT", "/_bulk", self.bulk),
            ("POST", "/_bulk", self.bulk),
            ("POST", r"/([^_/][^/]*)/_search", self.search),
            ("POST", "/_search/scroll", self.scroll),
            ("DELETE", "/_search/scroll", self.clear_scroll),
            ("POST", r"/([^_/][^/]*)/_msearch", self.msearch),
            ("POST", r"/([^_/][^/]*)/_delete_by_query", self.delete_by_query),
        ]

    def info(self, request: Request) -> tuple[int, Any]:
        """Say which server this is."""
        raise NotImplementedError

    def check_vector(self, index: Index, document: dict[str, Any]) -> None:
        """Refuse a document whose vector cannot be indexed."""
        raise NotImplementedError

    def scored(self, index: Index, body: dict[str, Any]) -> Scored:
        """Ids and scores of the best hits, best first."""
        raise NotImplementedError

    def hit(self, index: Index, document_id: str, score: float, body: dict[str, Any]) -> dict[str, Any]:
        """One hit in the reply."""
        raise NotImplementedError

    def index(self, name: str) -> Index:
        """The index of a name."""
        if name not in self.indices:
            raise Rejected(404, "index_not_found_exception", f"no such index [{name}]")
        return self.indices[name]

    def create(self, request: Request, name: str) -> tuple[int, Any]:
        """Create an index."""
        request.only()
        if name in self.indices:
            raise Rejected(400, "resource_already_exists_exception", f"index [{name}] already exists")
        body = request.body or {}
        known(body, {"mappings", "settings"})
        self.indices[name] = Index(name, copy.deepcopy(body.get("mappings", {})), body.get("settings", {}))
        return 200, {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def drop(self, request: Request, name: str) -> tuple[int, Any]:
        """Delete an index."""
        del self.indices[self.index(name).name]
        return 200, {"acknowledged": True}

    def refresh(self, request: Request, name: str) -> tuple[int, Any]:
        """Make what was written visible, as it is at once here."""
        self.index(name)
        return 200, {"_shards": {"total": 2, "successful": 1, "failed": 0}}

    def bulk(self, request: Request) -> tuple[int, Any]:
        """Write and delete documents."""
        request.only("refresh")
        items, lines = [], iter(request.body)
        for action in lines:
            kind, header = next(iter(action.items()))
            known(header, {"_index", "_id", "routing", "_routing"})
            index = self.index(header["_index"])
            if kind == "delete":
                there = index.remove(header["_id"])
                items.append({"delete": {**header, "status": 200 if there else 404}})
                continue
            items.append({"index": self._written(index, header, next(lines))})
        errors = any("error" in next(iter(item.values())) for item in items)
        return 200, {"took": 1, "errors": errors, "items": items}

    def _written(self, index: Index, header: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        try:
            self.check_vector(index, document)
        except Rejected as rejected:
            return {**header, "status": 400, "error": {"type": rejected.kind, "reason": rejected.reason}}
        index.write(header["_id"], document)
        return {**header, "status": 201, "result": "created", "_version": 1}

    def delete_by_query(self, request: Request, name: str) -> tuple[int, Any]:
        """Delete what a query selects."""
        request.only("refresh")
        known(request.body, {"query"})
        index = self.index(name)
        gone = list(index.selected(request.body["query"]))
        for document_id in gone:
            index.remove(document_id)
        return 200, {"took": 1, "deleted": len(gone), "failures": []}

    def search(self, request: Request, name: str) -> tuple[int, Any]:
        """Search once."""
        request.only("routing", "_source_includes", "scroll")
        body = {**request.body, **_included(request)}
        if "scroll" in request.parameters:
            return 200, self.begun(name, body)
        return 200, self.searched(name, body)

    def begun(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Begin to scroll: what is found now is shown page by page, whatever becomes of the index."""
        if body.get("sort") != ["_doc"]:
            raise Rejected(400, "illegal_argument_exception", f"this fake scrolls by _doc, not by {body.get('sort')!r}")
        listed = {key: value for key, value in body.items() if key not in ("sort", "size")}
        found = self.searched(name, {**listed, "size": len(self.index(name).documents)})["hits"]["hits"]
        place = f"scroll-{uuid.uuid4().hex}"
        self.scrolls[place] = (body.get("size", 10), found)
        return self.page(place)

    def page(self, place: str) -> dict[str, Any]:
        """Give the next page of a scroll."""
        if place not in self.scrolls:
            raise Rejected(404, "search_context_missing_exception", f"No search context found for id [{place}]")
        size, left = self.scrolls[place]
        self.scrolls[place] = (size, left[size:])
        return {**_reply(left[:size]), "_scroll_id": place}

    def scroll(self, request: Request) -> tuple[int, Any]:
        """Go on scrolling."""
        known(request.body, {"scroll", "scroll_id"})
        return 200, self.page(request.body["scroll_id"])

    def clear_scroll(self, request: Request) -> tuple[int, Any]:
        """Forget scrolls."""
        known(request.body, {"scroll_id"})
        given = request.body["scroll_id"]
        for place in given if isinstance(given, list) else [given]:
            del self.scrolls[place]
        return 200, {"succeeded": True, "num_freed": 1}

    def msearch(self, request: Request, name: str) -> tuple[int, Any]:
        """Search many times."""
        request.only()
        responses = []
        for header, body in zip(request.body[::2], request.body[1::2], strict=True):
            known(header, {"index", "routing"})
            try:
                responses.append({**self.searched(header.get("index", name), body), "status": 200})
            except Rejected as rejected:
                responses.append(self.rejection(rejected))
        return 200, {"took": 1, "responses": responses}

    def searched(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Search one index and give the reply."""
        index = self.index(name)
        scored = self.listed(index, body) if "bool" in body.get("query", {}) else self.scored(index, body)
        return _reply([self.hit(index, i, score, body) for i, score in scored])

    def listed(self, index: Index, body: dict[str, Any]) -> Scored:
        """What a filter selects, without scores."""
        known(body, {"query", "size", "_source", "fields"})
        return [(i, 0.0) for i in index.selected(body["query"])[: body.get("size", 10)]]


def _reply(hits: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "took": 1,
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
        "hits": {
            "total": {"value": len(hits), "relation": "eq"},
            "max_score": hits[0]["_score"] if hits else None,
            "hits": hits,
        },
    }


def _included(request: Request) -> dict[str, Any]:
    names = request.parameters.get("_source_includes")
    return {} if names is None else {"_source": {"includes": names.split(",")}}


def filtered_source(document: dict[str, Any], wanted: Any) -> dict[str, Any]:
    """Apply ``_source`` of a request, at the first level, to a document."""
    if isinstance(wanted, bool):
        return dict(document) if wanted else {}
    includes, excludes = wanted.get("includes") or ["*"], wanted.get("excludes") or []
    return {
        name: value
        for name, value in document.items()
        if any(fnmatch.fnmatch(name, p) for p in includes) and not any(fnmatch.fnmatch(name, p) for p in excludes)
    }


def best(ids: list[str], scores: np.ndarray, size: int) -> Scored:
    """The best of ids and scores, the earlier one first where they are equal."""
    order = np.argsort(-scores, kind="stable")[:size]
    return [(ids[i], float(np.float32(scores[i]))) for i in order]
