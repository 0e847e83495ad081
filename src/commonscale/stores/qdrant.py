"""Qdrant, asked through its own client: many questions in one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Vector
from commonscale.stores.qdrant_settings import LiveSettings, is_local
from commonscale.stores.table import Found

_BATCH = 100
"""Questions in one request: each answer holds whole payloads, and servers limit the size of what they send."""


class QdrantTable:
    """One named vector of a Qdrant collection.

    A collection with cosine distance normalizes vectors as it stores them, so its score is the cosine whatever the
    norms were; unless it is quantized, when scores may come from compressed vectors. With dot product or Euclidean
    distance the stored vectors are fetched along.
    """

    def __init__(
        self,
        client: Any,
        collection: str,
        vector_name: Callable[[], str | None],
        restriction: Any = None,
        aclient: Any = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up the table.

        Args:
            client: a ``qdrant_client.QdrantClient``.
            collection: the collection; it may be created later.
            vector_name: gives the name of the dense vector, None or ``""`` for the unnamed one; asked when the
                collection is there, since a store may only then know.
            restriction: a ``qdrant_client.models.Filter``.
            aclient: a ``qdrant_client.AsyncQdrantClient`` of the same server.
            clock: gives seconds; settings that a server gave are asked for again every 5.

        Raises:
            InvalidInputError: if there is only an asynchronous client.
        """
        if client is None:
            raise InvalidInputError(
                "this Qdrant store has only an asynchronous client; give it the synchronous one too "
                "(QdrantVectorStore(client=..., aclient=...)): calibration and synchronous searches need it"
            )
        self._client = client
        self._collection = collection
        self._restriction = restriction
        self._aclient = aclient
        self._settings = LiveSettings(client, collection, vector_name, clock)
        # In local mode two clients are two databases, so the asynchronous one may hold something else.
        if aclient is not None and not is_local(aclient):
            self.asearch = self._asearch

    @property
    def score_kind(self) -> str | None:
        """The kind of the collection's distance."""
        settings = self._settings.read()
        return None if settings is None else settings.kind

    @property
    def trusted(self) -> bool:
        """Whether the collection's distance is the cosine, and its vectors are not quantized."""
        settings = self._settings.read()
        return settings is not None and settings.kind == "cosine" and not settings.compressed

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        settings = self._settings.read()
        return None if settings is None else settings.dimension

    @property
    def absent(self) -> str | None:
        """Name the collection if the last search did not find it."""
        return f"the Qdrant collection {self._collection!r}" if self._settings.known is None else None

    @property
    def version(self) -> Any:
        """The collection's settings; None if there is none, or if the server must be asked for them again."""
        return self._settings.without_asking()

    def read_version(self) -> Any:
        """Read the collection's settings, from the server if need be; None if there is no collection."""
        return self._settings.read()

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search many questions in one request per hundred."""
        if self._settings.read() is None:
            return [Found((), (), ())] * len(rows)
        answers: list[Any] = []
        for start in range(0, len(rows), _BATCH):
            requests = self._requests(rows[start : start + _BATCH], k, with_vectors)
            answers += self._client.query_batch_points(self._collection, requests=requests)
        return [self._found(answer.points, with_vectors) for answer in answers]

    async def _asearch(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        if self._settings.known is None and not await self._aclient.collection_exists(self._collection):
            return [Found((), (), ())] * len(rows)
        if self._settings.known is None:
            self._settings.known = self._settings.of(await self._aclient.get_collection(self._collection))
        answers: list[Any] = []
        for start in range(0, len(rows), _BATCH):
            requests = self._requests(rows[start : start + _BATCH], k, with_vectors)
            answers += await self._aclient.query_batch_points(self._collection, requests=requests)
        return [self._found(answer.points, with_vectors) for answer in answers]

    def pages(self, size: int, with_payloads: bool) -> Iterator[Found]:
        """Scroll through the points that pass the filter and have the vector."""
        settings = self._settings.read()
        following: Any = None
        while settings is not None:
            points, following = self._client.scroll(
                self._collection,
                scroll_filter=self._restriction,
                limit=size,
                offset=following,
                with_payload=with_payloads,
                with_vectors=[settings.vector_name] if settings.vector_name else True,
            )
            yield self._stored(points)
            if following is None:
                return

    def by_id(self, ids: Sequence[str]) -> Found:
        """Read the points with these ids, as far as they are there and have the vector."""
        settings = self._settings.read()
        if settings is None:
            return Found((), (), (), ())
        name = settings.vector_name
        # Ids are UUIDs or numbers; of the latter Qdrant takes no text.
        known = [int(one) if one.isascii() and one.isdigit() else one for one in ids]
        vectors = [name] if name else True
        return self._stored(self._client.retrieve(self._collection, known, with_payload=False, with_vectors=vectors))

    def _stored(self, points: Sequence[Any]) -> Found:
        having = [point for point in points if self._vector(point) is not None]
        return Found([str(point.id) for point in having], (), having, [self._vector(point) for point in having])

    def _requests(self, rows: Vector, k: int, with_vectors: bool) -> list[Any]:
        # Whoever holds a client has the package.
        from qdrant_client import models

        name = None if self._settings.known is None else self._settings.known.vector_name
        vectors: bool | list[str] = [name] if with_vectors and name else with_vectors
        return [
            models.QueryRequest(
                query=row,
                using=name,
                limit=k,
                filter=self._restriction,
                with_payload=True,
                with_vector=vectors,
            )
            for row in rows.tolist()
        ]

    def _found(self, points: Sequence[Any], with_vectors: bool) -> Found:
        return Found(
            [str(point.id) for point in points],
            [point.score for point in points],
            points,
            [self._vector(point) for point in points] if with_vectors else None,
        )

    def _vector(self, point: Any) -> Any:
        name = None if self._settings.known is None else self._settings.known.vector_name
        return point.vector.get(name or "") if isinstance(point.vector, dict) else point.vector
