"""Qdrant, asked through its own client: many questions in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.types import Vector
from commonscale.stores.table import Found

_KINDS = {"cosine": "cosine", "dot": "inner_product", "euclid": "l2"}

_BATCH = 100
"""Questions in one request: each answer holds whole payloads, and servers limit the size of what they send."""


class _Settings(NamedTuple):
    vector_name: str | None
    kind: str
    dimension: int
    compressed: bool


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
    ) -> None:
        """Set up the table.

        Args:
            client: a ``qdrant_client.QdrantClient``.
            collection: the collection; it may be created later.
            vector_name: gives the name of the dense vector, None or ``""`` for the unnamed one; asked when the
                collection is there, since a store may only then know.
            restriction: a ``qdrant_client.models.Filter``.
            aclient: a ``qdrant_client.AsyncQdrantClient`` of the same server.

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
        self._vector_name = vector_name
        self._restriction = restriction
        self._aclient = aclient
        self._known: _Settings | None = None
        # In local mode two clients are two databases, so the asynchronous one may hold something else.
        if aclient is not None and not is_local(aclient):
            self.asearch = self._asearch

    @property
    def score_kind(self) -> str | None:
        """The kind of the collection's distance."""
        settings = self._settings()
        return None if settings is None else settings.kind

    @property
    def trusted(self) -> bool:
        """Whether the collection's distance is the cosine, and its vectors are not quantized."""
        settings = self._settings()
        return settings is not None and settings.kind == "cosine" and not settings.compressed

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        settings = self._settings()
        return None if settings is None else settings.dimension

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search many questions in one request per hundred."""
        if self._settings() is None:
            return [Found((), (), ())] * len(rows)
        answers: list[Any] = []
        for start in range(0, len(rows), _BATCH):
            requests = self._requests(rows[start : start + _BATCH], k, with_vectors)
            answers += self._client.query_batch_points(self._collection, requests=requests)
        return [self._found(answer.points, with_vectors) for answer in answers]

    async def _asearch(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        if self._known is None and not await self._aclient.collection_exists(self._collection):
            return [Found((), (), ())] * len(rows)
        if self._known is None:
            self._known = self._read(await self._aclient.get_collection(self._collection))
        answers: list[Any] = []
        for start in range(0, len(rows), _BATCH):
            requests = self._requests(rows[start : start + _BATCH], k, with_vectors)
            answers += await self._aclient.query_batch_points(self._collection, requests=requests)
        return [self._found(answer.points, with_vectors) for answer in answers]

    def _requests(self, rows: Vector, k: int, with_vectors: bool) -> list[Any]:
        # Whoever holds a client has the package.
        from qdrant_client import models

        name = None if self._known is None else self._known.vector_name
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
        name = None if self._known is None else self._known.vector_name
        return point.vector.get(name or "") if isinstance(point.vector, dict) else point.vector

    def _settings(self) -> _Settings | None:
        if self._known is None and self._client.collection_exists(self._collection):
            self._known = self._read(self._client.get_collection(self._collection))
        return self._known

    def _read(self, info: Any) -> _Settings:
        params = info.config.params.vectors
        name = self._vector_name() or None
        if isinstance(params, dict):
            if name not in params:
                raise InvalidInputError(
                    f"the Qdrant collection {self._collection!r} has no vector named {name!r}, only "
                    f"{sorted(params)}; name one of these in the store"
                )
            params = params[name]
        else:
            name = None
        distance = str(getattr(params.distance, "value", params.distance)).lower()
        if distance not in _KINDS:
            raise UnknownScoreKindError(
                f"the Qdrant collection {self._collection!r} compares by {distance} distance, of which no cosine can "
                f"be made; create it with one of: {', '.join(_KINDS)} (cosine is best)"
            )
        compressed = params.quantization_config is not None or info.config.quantization_config is not None
        return _Settings(name, _KINDS[distance], int(params.size), compressed)


def is_local(client: Any) -> bool:
    """Tell whether a client keeps its data in this process (in memory or in a folder) and asks no server."""
    return "Local" in type(client._client).__name__
