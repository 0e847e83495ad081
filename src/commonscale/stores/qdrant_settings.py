"""What a Qdrant collection says of its vectors, as it is now: it may be deleted and made anew while it is in use."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from commonscale.core.errors import InvalidInputError, UnknownScoreKindError

_KINDS = {"cosine": "cosine", "dot": "inner_product", "euclid": "l2"}

_FRESH = 5.0
"""Seconds for which what a server said is relied upon."""


class Settings(NamedTuple):
    """What one vector of a collection is like.

    Attributes:
        vector_name: its name; None for the unnamed one.
        kind: the score kind of the distance.
        dimension: its length.
        compressed: whether it is quantized.
    """

    vector_name: str | None
    kind: str
    dimension: int
    compressed: bool


class LiveSettings:
    """The settings of a collection, read again when they may have changed.

    Attributes:
        known: what was read last; None if there was no collection.
    """

    def __init__(
        self,
        client: Any,
        collection: str,
        vector_name: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up without reading.

        Args:
            client: a ``qdrant_client.QdrantClient``.
            collection: the collection; it may be created later.
            vector_name: gives the name of the vector; asked when the collection is there.
            clock: gives seconds; what a server said is asked for again every 5.
        """
        self.known: Settings | None = None
        self._client = client
        self._collection = collection
        self._vector_name = vector_name
        self._clock = clock
        self._local = is_local(client)
        self._seen: Any = lambda: None
        self._expires = -float("inf")

    def without_asking(self) -> Settings | None:
        """Give the settings of now; None if there is no collection, or if a server must be asked for them."""
        return self.read() if self._local or self._clock() < self._expires else None

    def read(self) -> Settings | None:
        """Give the settings as they are now, or were seconds ago on a server; None if there is no collection."""
        now = self._clock()
        if self.known is not None and (self._is_the_same() if self._local else now < self._expires):
            return self.known
        known, seen = None, self._local_collection()
        if self._client.collection_exists(self._collection):
            known = self.of(self._client.get_collection(self._collection))
        # Only now, so that settings which cannot be used are an error each time; and in this order, for other threads.
        self.known = known
        self._seen, self._expires = seen, now + _FRESH
        return known

    def _is_the_same(self) -> bool:
        """Whether the local collection is the one whose settings were read; asking for them again costs 80 us."""
        seen = self._seen()
        return seen is not None and seen is self._local_collection()()

    def _local_collection(self) -> Any:
        """Refer to the local client's object, which is another one when the collection is made anew."""
        try:
            return weakref.ref(self._client._client._get_collection(self._collection))
        except (AttributeError, ValueError):  # A server's client, or no such collection.
            return lambda: None

    def of(self, info: Any) -> Settings:
        """Read a reply of ``get_collection``.

        Raises:
            InvalidInputError: if it has no vector of that name.
            UnknownScoreKindError: if no cosine can be made of its distance.
        """
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
        return Settings(name, _KINDS[distance], int(params.size), compressed)


def is_local(client: Any) -> bool:
    """Tell whether a client keeps its data in this process (in memory or in a folder) and asks no server."""
    return "Local" in type(client._client).__name__
