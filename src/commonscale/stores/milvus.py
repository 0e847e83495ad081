"""Milvus, asked through its own client: many questions in one call."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from commonscale.core.threads import off_thread
from commonscale.core.types import Vector
from commonscale.stores.milvus_clients import is_local, serves_this_loop
from commonscale.stores.milvus_pages import iterated
from commonscale.stores.milvus_settings import KINDS, Condition, Settings, read_settings
from commonscale.stores.table import Found

_BATCH = 100
"""Questions in one request: each answer holds whole rows, and servers limit the size of what they send."""

_FRESH, _FRESH_LITE = 2.0, 30.0
"""Seconds for which the settings of a server and of Milvus Lite are taken as they were: somebody may make the
collection anew. Lite counts all rows to describe an index, which takes as long as a search; so there only what it says
of the collection (1 ms) is read for every search. It obeys the metric that it is asked for, whatever its index has."""


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
        condition: Condition = "",
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
            condition: which rows may be found.
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
        self._known: Settings | None = None
        self._local = is_local(client)
        self._read_at = 0.0
        if aclient is not None:
            self.asearch = self._asearch

    @property
    def score_kind(self) -> str | None:
        """The kind of the collection's metric."""
        settings = self._settings()
        return None if settings is None else KINDS[settings.metric]

    @property
    def trusted(self) -> bool:
        """Whether the metric is COSINE, and the index is known to compute with vectors as they are."""
        settings = self._settings()
        return settings is not None and settings.metric == "COSINE" and settings.exact

    @property
    def dimension(self) -> int | None:
        """Length of the vectors.

        Every search asks for it first, so this is where settings that have aged are read again.
        """
        settings = self._settings(renew=self._aged())
        return None if settings is None else settings.dimension

    @property
    def absent(self) -> str | None:
        """Name the collection if the last search did not find it."""
        return f"the Milvus collection {self._collection!r}" if self._known is None else None

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

    def pages(self, size: int, with_payloads: bool) -> Iterator[Found]:
        """Read all rows that pass the filter, by the client's iterator."""
        settings = self._settings(renew=self._aged())
        if settings is None:
            return
        fields = [*(settings.fields if with_payloads else [settings.primary]), self._vector_field]
        for rows in iterated(self._client, size, self._reading(settings.condition, fields)):
            yield self._stored(rows, settings, with_payloads)

    def by_id(self, ids: Sequence[str]) -> Found:
        """Read the rows with these ids, as far as they are there."""
        settings = self._settings(renew=self._aged())
        if settings is None or not ids:
            return Found((), (), (), ())
        numbers = settings.primary_type == "INT64"
        known = [int(one) for one in ids] if numbers else list(ids)
        asked = self._reading(f"{settings.primary} in {json.dumps(known)}", [settings.primary, self._vector_field])
        return self._stored(self._client.query(**asked), settings, with_payloads=False)

    def _reading(self, condition: str, fields: list[str]) -> dict[str, Any]:
        asked = {
            "collection_name": self._collection,
            "filter": condition,
            "output_fields": fields,
            "partition_names": self._partitions,
        }
        return asked if self._timeout is None else {**asked, "timeout": self._timeout}

    def _stored(self, rows: Sequence[Any], settings: Settings, with_payloads: bool) -> Found:
        entries = [dict(row) for row in rows]
        vectors = [entry.pop(self._vector_field, None) for entry in entries]
        return Found([str(entry[settings.primary]) for entry in entries], (), entries if with_payloads else (), vectors)

    def _arguments(self, settings: Settings, k: int, with_vectors: bool) -> dict[str, Any]:
        arguments = {
            "collection_name": self._collection,
            "anns_field": self._vector_field,
            "limit": k,
            "filter": settings.condition,
            "output_fields": [*settings.fields, *([self._vector_field] if with_vectors else [])],
            # Milvus Lite would obey a metric that is not the index's, where servers refuse it.
            "search_params": {**self._search_params, "metric_type": settings.metric},
            "partition_names": self._partitions,
        }
        return arguments if self._timeout is None else {**arguments, "timeout": self._timeout}

    def _found(self, hits: Sequence[Any], settings: Settings, with_vectors: bool) -> Found:
        rows = [dict(hit["entity"]) for hit in hits]
        vectors = [row.pop(self._vector_field, None) for row in rows]
        return Found(
            [str(hit[settings.primary]) for hit in hits],
            [hit["distance"] for hit in hits],
            rows,
            vectors if with_vectors else None,
        )

    def _aged(self) -> bool:
        known = self._known
        if known is None or time.monotonic() - self._read_at >= (_FRESH_LITE if self._local else _FRESH):
            return True
        if not self._local:
            return False
        there = self._client.has_collection(self._collection)
        return not there or self._client.describe_collection(self._collection) != known.described

    def _settings(self, renew: bool = False) -> Settings | None:
        known = self._known
        if known is None or renew:
            known = (
                read_settings(self._client, self._collection, self._vector_field, self._condition)
                if self._client.has_collection(self._collection)
                else None
            )
            if known and getattr(self._client.get_load_state(self._collection)["state"], "name", "") == "NotLoad":
                self._client.load_collection(self._collection)
            self._known, self._read_at = known, time.monotonic()
        return known


def text_literal(value: str) -> str:
    """Write a text for a boolean expression of Milvus."""
    return json.dumps(value, ensure_ascii=False)
