"""A fake Elasticsearch, of the generation that keeps vectors in ``_source`` and of the one that does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from store_suite.fakes.documents import Index, known
from store_suite.fakes.http import Rejected, Request
from store_suite.fakes.lucene import LuceneRoutes, Scored, best, filtered_source

_SCRIPT = re.compile(r"cosineSimilarity\(params\.query_vector, '([^']+)'\) \+ 1\.0")
_MOST = 10_000


class FakeElasticsearch(LuceneRoutes):
    """Elasticsearch of version ``"8.19.3"`` or ``"9.2.0"``, in memory, exact."""

    content_type = "application/vnd.elasticsearch+json;compatible-with=8"

    def __init__(self, version: str) -> None:
        super().__init__()
        self.version = version
        self.headers = {"X-Elastic-Product": "Elasticsearch"}

    @property
    def excludes_vectors(self) -> bool:
        """Whether new indices leave vectors out of ``_source``."""
        return tuple(map(int, self.version.split(".")))[:2] >= (9, 2)

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [*super().routes(), ("GET", r"/([^_/][^/]*)/_mapping/field/(.+)", self.field_mapping)]

    def info(self, request: Request) -> tuple[int, Any]:
        version = {"number": self.version, "build_flavor": "default", "lucene_version": "10.3.0"}
        return 200, {"name": "fake", "cluster_name": "fake", "version": version, "tagline": "You Know, for Search"}

    def field_mapping(self, request: Request, name: str, fields: str) -> tuple[int, Any]:
        """Give the mapping of fields, with what is set by default."""
        request.only("include_defaults")
        index = self.index(name)
        described = {}
        for field in fields.split(","):
            if (mapped := index.mapped(field)) is None:
                continue
            if mapped["type"] == "dense_vector":
                indexed = mapped.get("index", True)
                defaults = {"element_type": "float", "dims": None, "index": True, "similarity": "cosine"}
                mapped = {**(defaults if indexed else {"element_type": "float"}), **mapped}
            described[field] = {"full_name": field, "mapping": {field.split(".")[-1]: mapped}}
        return 200, {name: {"mappings": described}}

    def check_vector(self, index: Index, document: dict[str, Any]) -> None:
        for field, mapped in index.mappings.get("properties", {}).items():
            vector = document.get(field)
            if mapped.get("type") != "dense_vector" or vector is None:
                continue
            if len(vector) != mapped["dims"]:
                raise Rejected(
                    400,
                    "document_parsing_exception",
                    f"The [dense_vector] field [{field}] in doc has a different number of dimensions [{len(vector)}] "
                    f"than defined in the mapping [{mapped['dims']}]",
                )
            norm, similarity = float(np.linalg.norm(vector)), mapped.get("similarity", "cosine")
            if mapped.get("index", True) and similarity == "cosine" and norm == 0:
                reason = "The [cosine] similarity does not support vectors with zero magnitude."
                raise Rejected(400, "document_parsing_exception", reason)
            if similarity == "dot_product" and abs(norm - 1) > 1e-3:
                reason = "The [dot_product] similarity can only be used with unit-length vectors."
                raise Rejected(400, "document_parsing_exception", reason)

    def scored(self, index: Index, body: dict[str, Any]) -> Scored:
        known(body, {"knn", "query", "size", "_source", "fields"})
        if body.get("size", 10) > _MOST:
            raise Rejected(400, "illegal_argument_exception", f"Result window is too large, must be <= {_MOST}")
        if ("knn" in body) == ("query" in body):
            raise Rejected(400, "parsing_exception", "this fake answers kNN or a script, and not both")
        return self._nearest(index, body) if "knn" in body else self._by_script(index, body)

    def _nearest(self, index: Index, body: dict[str, Any]) -> Scored:
        knn = body["knn"]
        known(knn, {"field", "query_vector", "k", "num_candidates", "filter"})
        field, k = knn["field"], knn["k"]
        mapped = index.mapped(field)
        if mapped is None or mapped["type"] != "dense_vector" or not mapped.get("index", True):
            raise Rejected(
                400, "query_shard_exception", f"failed to create query: [knn] field [{field}] is not an indexed vector"
            )
        if not 1 <= k <= knn["num_candidates"] <= _MOST:
            raise Rejected(400, "illegal_argument_exception", f"[k] {k} and [num_candidates] {knn['num_candidates']}")
        ids, rows = vectors(index, field, index.selected(knn.get("filter") or []), len(knn["query_vector"]))
        scores = similarity(np.array(knn["query_vector"]), rows, mapped.get("similarity", "cosine"))
        return best(ids, scores, min(k, body.get("size", 10)))

    def _by_script(self, index: Index, body: dict[str, Any]) -> Scored:
        known(body["query"], {"script_score"})
        known(body["query"]["script_score"], {"query", "script"})
        script = body["query"]["script_score"]["script"]
        known(script, {"source", "params"})
        match = _SCRIPT.fullmatch(script["source"])
        if match is None:
            raise Rejected(400, "script_exception", f"compile error in {script['source']!r}")
        passing = index.selected(body["query"]["script_score"]["query"])
        question = np.array(script["params"]["query_vector"])
        ids, rows = vectors(index, match[1], passing, len(question))
        if len(ids) < len(passing):
            raise Rejected(400, "script_exception", f"A document doesn't have a value for a vector field! {match[1]}")
        return best(ids, 2 * similarity(question, rows, "cosine"), body.get("size", 10))

    def hit(self, index: Index, document_id: str, score: float, body: dict[str, Any]) -> dict[str, Any]:
        document, wanted = index.documents[document_id], body.get("_source", True)
        if isinstance(wanted, dict):
            known(wanted, {"includes", "excludes"} | ({"exclude_vectors"} if self.excludes_vectors else set()))
        vector_fields = [f for f, m in index.mappings.get("properties", {}).items() if m.get("type") == "dense_vector"]
        kept = not self.excludes_vectors or (isinstance(wanted, dict) and wanted.get("exclude_vectors") is False)
        source = filtered_source(document, wanted)
        found = {
            "_index": index.name,
            "_id": document_id,
            "_score": score,
            "_source": {name: value for name, value in source.items() if kept or name not in vector_fields},
        }
        # Values are always in a list; those of a vector are its numbers.
        fields = {name: document[name] for name in body.get("fields", []) if document.get(name) is not None}
        return {**found, "fields": fields} if fields else found


def vectors(index: Index, field: str, ids: list[str], dimension: int) -> tuple[list[str], np.ndarray]:
    """The documents that have a vector, and their vectors (n, d) as stored: in single precision."""
    having = [i for i in ids if index.documents[i].get(field) is not None]
    mapped = index.mapped(field) or {}
    if dimension != mapped.get("dims", mapped.get("dimension")):
        raise Rejected(
            400,
            "query_shard_exception",
            f"the query vector has a different dimension [{dimension}] than the index vectors [{mapped.get('dims')}]",
        )
    rows = np.array([index.documents[i][field] for i in having], dtype=np.float32).reshape(len(having), dimension)
    return having, rows.astype(np.float64)


def similarity(question: np.ndarray, rows: np.ndarray, metric: str) -> np.ndarray:
    """Scores as Elasticsearch defines them."""
    inner = rows @ question
    if metric == "cosine":
        return (1 + inner / np.linalg.norm(rows, axis=1) / np.linalg.norm(question)) / 2
    if metric == "dot_product":
        return (1 + inner) / 2
    if metric == "l2_norm":
        return 1 / (1 + ((rows - question) ** 2).sum(axis=1))
    if metric == "max_inner_product":
        return np.where(inner < 0, 1 / (1 - inner), inner + 1)
    raise Rejected(400, "mapper_parsing_exception", f"unknown similarity {metric}")
