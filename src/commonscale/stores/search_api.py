"""The search interface that Elasticsearch and OpenSearch, its fork, have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.threads import off_thread
from commonscale.core.types import Vector
from commonscale.stores.conversations import Conversation, PerLoop, Step, arun, run
from commonscale.stores.search_pages import SearchPages
from commonscale.stores.table import Found

MOST_HITS = 10_000
"""The most hits that either server returns for one question (``index.max_result_window``)."""

_QUESTIONS = 100
_HITS = 2_000
"""Questions in one request, and hits in its answer: every hit brings its vector as text, about 10 kB at 512-d."""


class VectorField(NamedTuple):
    """What an index says of the field that holds the vectors.

    Attributes:
        name: the field.
        kind: what scores mean; None if no function of them alone is known to be the cosine.
        dimension: length of the vectors; None if not known.
        searchable: whether it has a structure for kNN search, with the filters in question; otherwise it is scored
            one by one.
        detail: what else the database's table needs.
    """

    name: str
    kind: str | Converter | None = None
    dimension: int | None = None
    searchable: bool = True
    detail: str = ""


class SearchTable(SearchPages):
    """One vector field of an index; what the two databases do differently is left to their own classes.

    Scores are never used: the stored vectors come along with the hits, whatever the index compressed them to.
    """

    trusted = False

    def __init__(self, client: Any, aclients: PerLoop[Any] | None, index: str, restriction: Sequence[Any]) -> None:
        """Set up the table.

        Args:
            client: the synchronous client.
            aclients: asynchronous clients of the same server.
            index: the index; it may be created later.
            restriction: clauses that all hold.
        """
        self._client = client
        self._aclients = aclients
        self._index = index
        self._restriction = list(restriction)
        self._known: VectorField | None = None
        self._missing = False
        if aclients is not None:
            self.asearch = self._asearch

    @property
    def score_kind(self) -> str | Converter | None:
        """What the server's scores mean, by the metric of the field."""
        field = run(self._field(), self._client)
        return None if field is None else field.kind

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        field = run(self._field(), self._client)
        return None if field is None else field.dimension

    @property
    def absent(self) -> str | None:
        """Name the index if the last search did not find it."""
        return f"the index {self._index!r}" if self._missing else None

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search many questions in one request."""
        return run(self._searched(rows, k, with_vectors), self._client)

    async def _asearch(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        if self._aclients is None:
            return await off_thread(self.search, rows, k, with_vectors)
        async with self._aclients.client() as client:
            return await arun(self._searched(rows, k, with_vectors), client)

    def _searched(self, rows: Vector, k: int, with_vectors: bool) -> Conversation[list[Found]]:
        if k > MOST_HITS:
            raise InvalidInputError(f"{k!r} hits were asked for, but this server returns at most {MOST_HITS}")
        field = yield from self._field()
        self._missing = field is None
        if field is None:
            return [Found((), (), ())] * len(rows)
        bodies = [self.body(field, row, k, with_vectors) for row in rows.tolist()]
        step = max(1, min(_QUESTIONS, _HITS // k))
        found: list[Found] = []
        for start in range(0, len(bodies), step):
            replies = yield from self._replies(bodies[start : start + step])
            found += [self._found(field, reply, with_vectors) for reply in replies]
        return found

    def _replies(self, bodies: list[dict[str, Any]]) -> Conversation[list[Any]]:
        # A single question is asked by itself, which is cheaper.
        call = self.one(bodies[0]) if len(bodies) == 1 else self.many(bodies)
        try:
            reply = yield Step(call, (self.missing(),))
            replies = [reply] if len(bodies) == 1 else reply["responses"]
            for one in replies:
                # A question that failed among others is an entry without hits, not an error.
                if one.get("error") is not None:
                    raise self.failure(reply, one)
        except self.missing():
            self._known, self._missing = None, True
            return [{"hits": {"hits": []}}] * len(bodies)
        if len(replies) != len(bodies):
            raise SourceError(f"the server answered {len(replies)} of {len(bodies)} questions to {self._index!r}")
        return replies

    def _found(self, field: VectorField, reply: Any, with_vectors: bool) -> Found:
        if reply.get("timed_out") or reply.get("_shards", {}).get("failed"):
            raise SourceError(
                f"only a part of the index {self._index!r} was searched, so the best documents may be missing "
                f"(timed out: {reply.get('timed_out')!r}, shards: {reply.get('_shards')!r}); see the server's log, and "
                f"ask again"
            )
        hits = reply["hits"]["hits"]
        vectors = [self._vector(field, hit) for hit in hits] if with_vectors else None
        return Found([hit["_id"] for hit in hits], [hit["_score"] for hit in hits], hits, vectors)

    def _vector(self, field: VectorField, hit: Mapping[str, Any]) -> Any:
        found = self.vector_of(field, hit)
        if found is None:
            raise SourceError(
                f"the index {self._index!r} returned document {hit['_id']!r} without its vector {field.name!r}, so its "
                f"cosine is not known; do not exclude that field from _source when the index is made (mappings._source)"
            )
        return found

    def _field(self) -> Conversation[VectorField | None]:
        if self._known is None:
            try:
                reply = yield Step(self.mapping(), (self.missing(), self.forbidden()))
            except self.missing():
                return None
            except self.forbidden():
                # Keys that may only search see no mappings. Cosines come from the vectors, so they are not needed.
                self._known = self.unseen()
            else:
                self._known = self.field_of(reply)
        return self._known

    @abstractmethod
    def mapping(self) -> Callable[[Any], Any]:
        """Make the call that reads how the vectors are mapped."""

    @abstractmethod
    def field_of(self, reply: Any) -> VectorField | None:
        """Read the reply to ``mapping``; None if there is no index."""

    @abstractmethod
    def unseen(self) -> VectorField:
        """Give what is assumed of the field where mappings may not be read."""

    @abstractmethod
    def body(self, field: VectorField, row: list[float], k: int, with_vectors: bool) -> dict[str, Any]:
        """Make the body of one search."""

    @abstractmethod
    def vector_of(self, field: VectorField, hit: Mapping[str, Any]) -> Any:
        """Give a hit's vector, None if it has none."""

    def one(self, body: dict[str, Any]) -> Callable[[Any], Any]:
        """Make the call that searches once."""
        return lambda client: client.search(index=self._index, body=body)

    @abstractmethod
    def many(self, bodies: list[dict[str, Any]]) -> Callable[[Any], Any]:
        """Make the call that searches many times."""

    @abstractmethod
    def failure(self, reply: Any, entry: Mapping[str, Any]) -> Exception:
        """Make the client's own error of one entry in the reply to ``many``: what the question alone would raise."""

    @abstractmethod
    def missing(self) -> type[Exception]:
        """Name the client's error for an index that does not exist."""

    @abstractmethod
    def forbidden(self) -> type[Exception]:
        """Name the client's error for a request that one may not make."""
