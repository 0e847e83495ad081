"""A fake OpenSearch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from store_suite.fakes.documents import Index, known
from store_suite.fakes.elasticsearch import similarity, vectors
from store_suite.fakes.http import Rejected, Request
from store_suite.fakes.lucene import LuceneRoutes, Scored, best, filtered_source

_SPACES = {"l2": "l2_norm", "innerproduct": "max_inner_product", "cosinesimil": "cosine"}
_ENGINES = {"faiss": _SPACES, "lucene": _SPACES, "nmslib": _SPACES}


class FakeOpenSearch(LuceneRoutes):
    """OpenSearch with its k-NN plugin, in memory, exact."""

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [*super().routes(), ("GET", r"/([^_/][^/]*)", self.describe)]

    def info(self, request: Request) -> tuple[int, Any]:
        version = {"distribution": "opensearch", "number": "3.2.0", "lucene_version": "10.2.2"}
        return 200, {"name": "fake", "cluster_name": "fake", "version": version, "tagline": "The OpenSearch Project"}

    def describe(self, request: Request, name: str) -> tuple[int, Any]:
        """Give an index with aliases, mappings and settings."""
        request.only()
        index = self.index(name)
        settings = {key: str(value).lower() for key, value in index.settings.get("index", {}).items()}
        described = {"aliases": {}, "mappings": index.mappings, "settings": {"index": settings}}
        return 200, {name: described}

    def check_vector(self, index: Index, document: dict[str, Any]) -> None:
        for field, mapped in index.mappings.get("properties", {}).items():
            if mapped.get("type") != "knn_vector" or document.get(field) is None:
                continue
            if len(document[field]) != mapped["dimension"]:
                reason = f"Vector dimension mismatch. Expected: {mapped['dimension']}, Given: {len(document[field])}"
                raise Rejected(400, "mapper_parsing_exception", reason)

    def scored(self, index: Index, body: dict[str, Any]) -> Scored:
        known(body, {"query", "size", "_source", "min_score"})
        kind, query = next(iter(body["query"].items()))
        if kind == "knn":
            return self._nearest(index, query, body.get("size", 10))
        if kind == "script_score":
            return self._by_script(index, query, body.get("size", 10))
        raise Rejected(400, "parsing_exception", f"this fake answers kNN or a script, not [{kind}]")

    def _nearest(self, index: Index, query: dict[str, Any], size: int) -> Scored:
        field, asked = next(iter(query.items()))
        known(asked, {"vector", "k", "filter"})
        mapped = index.mapped(field)
        if mapped is None or mapped["type"] != "knn_vector" or not index.settings.get("index", {}).get("knn"):
            raise Rejected(400, "query_shard_exception", f"Field '{field}' is not knn_vector type.")
        method = mapped["method"]
        if "filter" in asked and method["engine"] == "nmslib":
            raise Rejected(400, "query_shard_exception", "Engine [NMSLIB] does not support filters")
        ids, rows = vectors(index, field, index.selected(asked.get("filter") or []), len(asked["vector"]))
        metric = _ENGINES[method["engine"]][method["space_type"]]
        scores = similarity(np.array(asked["vector"]), rows, metric)
        if method["engine"] == "nmslib" and metric == "cosine":
            scores = 1 / (1 + 2 * (1 - scores))
        return best(ids, scores, min(asked["k"], size))

    def _by_script(self, index: Index, query: dict[str, Any], size: int) -> Scored:
        known(query, {"query", "script"})
        known(query["script"], {"source", "lang", "params"})
        if (query["script"]["source"], query["script"]["lang"]) != ("knn_score", "knn"):
            raise Rejected(400, "script_exception", f"unknown script {query['script']['source']!r}")
        asked = query["script"]["params"]
        known(asked, {"field", "query_value", "space_type"})
        passing = index.selected(query["query"])
        ids, rows = vectors(index, asked["field"], passing, len(asked["query_value"]))
        if len(ids) < len(passing):
            raise Rejected(400, "script_exception", "a document has no vector")
        scores = similarity(np.array(asked["query_value"]), rows, _SPACES[asked["space_type"]])
        return best(ids, 2 * scores if asked["space_type"] == "cosinesimil" else scores, size)

    def hit(self, index: Index, document_id: str, score: float, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("_source", True)
        if isinstance(wanted, dict):
            known(wanted, {"includes", "excludes"})
        source = filtered_source(index.documents[document_id], wanted)
        return {"_index": index.name, "_id": document_id, "_score": score, "_source": source}
