"""Reading all documents of an index of Elasticsearch or OpenSearch, by scrolling."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from commonscale.core.attempts import described
from commonscale.core.errors import UnreadableVectorsError
from commonscale.stores.conversations import Conversation, Step, run
from commonscale.stores.table import Found

if TYPE_CHECKING:
    from commonscale.stores.search_api import VectorField

KEPT = "5m"
"""For how long the server keeps the place between two pages."""

_MOST = 500
"""Documents of one page: vectors come as text, some 10 kB each at 512 dimensions."""

_REFUSED = (400, 403, 405, 501)
"""What servers say that do not scroll (Amazon's serverless offering), or not for everybody."""


class SearchPages(ABC):
    """What a table of either database gives of the vectors themselves."""

    _client: Any
    _index: str
    _restriction: list[Any]

    def pages(self, size: int, with_payloads: bool) -> Iterator[Found]:
        """Scroll through the documents that have a vector and pass the filter, in the order of the index.

        The server keeps the place for five minutes between two pages; a scan sees the index as it was at its beginning.
        """
        field = run(self._field(), self._client)
        if field is None:
            return
        passing = {"bool": {"filter": [{"exists": {"field": field.name}}, *self._restriction]}}
        body = {"size": min(size, _MOST), "query": passing, "sort": ["_doc"], **self.shown(field, with_payloads)}
        place: str | None = None
        try:
            reply = self._scrolling(body)
            while reply is not None:
                place = reply.get("_scroll_id")
                found = self._found(field, reply, True)
                yield found
                if not found.ids or place is None:
                    return
                reply = self.following(place)(self._client)
        finally:
            if place is not None:
                # The server forgets the place by itself too.
                with contextlib.suppress(Exception):
                    self.forgetting(place)(self._client)

    def by_id(self, ids: Sequence[str]) -> Found:
        """Read the documents with these ids, as far as they are there."""
        field = run(self._field(), self._client)
        if field is None:
            return Found((), (), (), ())
        found: list[Found] = []
        for start in range(0, len(ids), _MOST):
            part = list(ids[start : start + _MOST])
            having = [{"exists": {"field": field.name}}, {"ids": {"values": part}}]
            body = {"size": len(part), "query": {"bool": {"filter": having}}, **self.shown(field, False)}
            reply = run(self._replied(self.one(body)), self._client)
            if reply is not None:
                found.append(self._found(field, reply, True))
        vectors = [vector for one in found for vector in one.vectors or ()]
        return Found([one for part in found for one in part.ids], (), (), vectors)

    def _scrolling(self, body: dict[str, Any]) -> Any:
        try:
            return run(self._replied(self.beginning(body)), self._client)
        except Exception as error:
            if getattr(error, "status_code", None) not in _REFUSED:
                raise
            raise UnreadableVectorsError(
                f"the server does not let the index {self._index!r} be scrolled through ({described(error)}), so its "
                f"vectors cannot be read; allow it, or use a method that needs none (method='standardized')"
            ) from error

    def _replied(self, call: Callable[[Any], Any]) -> Conversation[Any]:
        """Make a call; None if there is no index."""
        try:
            return (yield Step(call, (self.missing(),)))
        except self.missing():
            return None

    @abstractmethod
    def _field(self) -> Conversation[VectorField | None]: ...

    @abstractmethod
    def _found(self, field: VectorField, reply: Any, with_vectors: bool) -> Found: ...

    @abstractmethod
    def one(self, body: dict[str, Any]) -> Callable[[Any], Any]:
        """Make the call that searches once."""

    @abstractmethod
    def missing(self) -> type[Exception]:
        """Name the client's error for an index that does not exist."""

    @abstractmethod
    def shown(self, field: VectorField, with_payloads: bool) -> Mapping[str, Any]:
        """Say in the body of a search what is shown of each document: its vector, and the rest if it is needed."""

    @abstractmethod
    def beginning(self, body: dict[str, Any]) -> Callable[[Any], Any]:
        """Make the call that begins to scroll."""

    @abstractmethod
    def following(self, place: str) -> Callable[[Any], Any]:
        """Make the call that reads the next page."""

    @abstractmethod
    def forgetting(self, place: str) -> Callable[[Any], Any]:
        """Make the call that ends it."""
