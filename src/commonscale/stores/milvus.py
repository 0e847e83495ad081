"""Milvus, asked through its own client: many questions in one call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.threads import off_thread
from commonscale.core.types import Vector
from commonscale.stores.milvus_clients import serves_this_loop
from commonscale.stores.table import Found

_KINDS = {"COSINE": "cosine", "IP": "inner_product", "L2": "squared_l2"}

_EXACT = frozenset({"FLAT", "IVF_FLAT", "HNSW"})
"""Indexes that compute with the stored vectors themselves; what AUTOINDEX is, only the server knows."""

_FLOATS = "FLOAT_VECTOR"

_BATCH = 100
"""Questions in one request: each answer holds whole rows, and servers limit the size of what they send."""


class _Settings(NamedTuple):
    metric: str
    dimension: int
    exact: bool
    primary: str
    fields: list[str]


class MilvusTable:
    """One vector field of a Milvus collection.

    With the metric COSINE and an index that keeps vectors as they are the distance that Milvus returns is the cosine,
    whatever the norms were. Otherwise the stored vectors are fetched along. A collection that is not loaded, as every
    one is when Milvus Lite opens a file again, is loaded before its first search.
    """

    def __init__(
        self,
        client: Any,
        collection: str,
        vector_field: str,
        condition: str = "",
        *,
        aclient: Any = None,
        search_params: dict[str, Any] | None = None,
        partitions: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Set up the table.

        Args:
            client: a ``pymilvus.MilvusClient``; database, token and consistency level are those it and the collection
                have.
            collection: the collection; it may be created later.
            vector_field: the field of dense vectors.
            condition: a boolean expression on the rows that may be found.
            aclient: a ``pymilvus.AsyncMilvusClient`` of the same server.
            search_params: what the store searches its index with.
            partitions: partitions to search; None for all.
            timeout: seconds that one request may take; None for the client's own.
        """
        self._client = client
        self._collection = collection
        self._vector_field = vector_field
        self._condition = condition
        self._aclient = aclient
        self._search_params = dict(search_params or {})
        self._partitions = None if partitions is None else list(partitions)
        self._timeout = timeout
        self._known: _Settings | None = None
        if aclient is not None:
            self.asearch = self._asearch

    @property
    def score_kind(self) -> str | None:
        """The kind of the collection's metric."""
        settings = self._settings()
        return None if settings is None else _KINDS[settings.metric]

    @property
    def trusted(self) -> bool:
        """Whether the metric is COSINE, and the index is known to compute with vectors as they are."""
        settings = self._settings()
        return settings is not None and settings.metric == "COSINE" and settings.exact

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        settings = self._settings()
        return None if settings is None else settings.dimension

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search many questions in one request per hundred."""
        settings = self._settings()
        if settings is None:
            return [Found((), (), ())] * len(rows)
        arguments = self._arguments(settings, k, with_vectors)
        answers: list[Any] = []
        for start in range(0, len(rows), _BATCH):
            answers += self._client.search(data=rows[start : start + _BATCH].tolist(), **arguments)
        return [self._found(hits, settings, with_vectors) for hits in answers]

    async def _asearch(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        settings = self._known
        if settings is None or not await serves_this_loop(self._aclient):
            return await off_thread(self.search, rows, k, with_vectors)
        arguments = self._arguments(settings, k, with_vectors)
        answers: list[Any] = []
        for start in range(0, len(rows), _BATCH):
            answers += await self._aclient.search(data=rows[start : start + _BATCH].tolist(), **arguments)
        return [self._found(hits, settings, with_vectors) for hits in answers]

    def _arguments(self, settings: _Settings, k: int, with_vectors: bool) -> dict[str, Any]:
        arguments = {
            "collection_name": self._collection,
            "anns_field": self._vector_field,
            "limit": k,
            "filter": self._condition,
            "output_fields": [*settings.fields, *([self._vector_field] if with_vectors else [])],
            # Milvus Lite would obey a metric that is not the index's, where servers refuse it.
            "search_params": {**self._search_params, "metric_type": settings.metric},
            "partition_names": self._partitions,
        }
        return arguments if self._timeout is None else {**arguments, "timeout": self._timeout}

    def _found(self, hits: Sequence[Any], settings: _Settings, with_vectors: bool) -> Found:
        rows = [dict(hit["entity"]) for hit in hits]
        vectors = [row.pop(self._vector_field, None) for row in rows]
        return Found(
            [str(hit[settings.primary]) for hit in hits],
            [hit["distance"] for hit in hits],
            rows,
            vectors if with_vectors else None,
        )

    def _settings(self) -> _Settings | None:
        if self._known is None and self._client.has_collection(self._collection):
            settings = self._read()
            if getattr(self._client.get_load_state(self._collection)["state"], "name", "") == "NotLoad":
                self._client.load_collection(self._collection)
            self._known = settings
        return self._known

    def _read(self) -> _Settings:
        info = self._client.describe_collection(self._collection)
        fields = {field["name"]: field for field in info["fields"]}
        field = fields.get(self._vector_field)
        kinds = {name: getattr(one["type"], "name", str(one["type"])) for name, one in fields.items()}
        if field is None or kinds[self._vector_field] != _FLOATS:
            held = "no such field" if field is None else kinds[self._vector_field]
            dense = [name for name, kind in kinds.items() if kind == _FLOATS]
            raise InvalidInputError(
                f"the Milvus collection {self._collection!r} must have a field {self._vector_field!r} of type {_FLOATS}"
                f", but has {held}; fields of that type: {', '.join(dense) or 'none'}. Name one of them in the store"
            )
        metric, index = self._index()
        others = [name for name, kind in kinds.items() if "VECTOR" not in kind]
        return _Settings(
            metric,
            int(field["params"]["dim"]),
            index in _EXACT,
            next(name for name, one in fields.items() if one.get("is_primary")),
            [*others, "$meta"] if info.get("enable_dynamic_field") else others,
        )

    def _index(self) -> tuple[str, str]:
        """Give metric and type of the vectors' index."""
        names = self._client.list_indexes(self._collection, field_name=self._vector_field)
        if not names:
            raise InvalidInputError(
                f"the field {self._vector_field!r} of the Milvus collection {self._collection!r} has no index, so it "
                f"cannot be searched; create one with the metric COSINE (client.create_index)"
            )
        index = self._client.describe_index(self._collection, names[0])
        metric = str(index["metric_type"]).upper()
        if metric not in _KINDS:
            raise UnknownScoreKindError(
                f"the Milvus collection {self._collection!r} compares by {metric}, of which no cosine can be made; "
                f"create its index with one of: {', '.join(_KINDS)} (COSINE is best)"
            )
        return metric, str(index["index_type"])


def text_literal(value: str) -> str:
    """Write a text for a boolean expression of Milvus."""
    return json.dumps(value, ensure_ascii=False)
