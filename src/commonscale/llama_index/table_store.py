"""A database's table as LlamaIndex nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.schema import BaseNode

from commonscale.core.calibration import Provenance
from commonscale.core.errors import SourceError
from commonscale.core.types import Hit
from commonscale.llama_index.restriction import watch_of
from commonscale.llama_index.sources import StoreRequest, kind_name
from commonscale.stores.table import Table, TableSource


class NodeTableSource(TableSource):
    """Searches a table; nodes are made from its payloads for the hits that are kept."""

    def __init__(
        self,
        store: Any,
        table: Table,
        request: StoreRequest,
        node: Callable[[str, Any], BaseNode],
        *,
        node_id: Callable[[str, Any], str] | None = None,
        concurrent: bool = False,
        remote: bool = False,
    ) -> None:
        """Set up the source.

        Args:
            store: the LlamaIndex store, for messages.
            table: its table, restricted as the request says.
            request: what to search in it.
            node: makes a node from the table's id and payload.
            node_id: gives the node's id from the table's id and payload, cheaply; None if it is the table's id.
            concurrent: whether helping threads may search it.
            remote: whether the database is another process.
        """
        super().__init__(
            table,
            request.modality,
            lambda row_id, payload: (row_id if node_id is None else node_id(row_id, payload), (row_id, payload)),
            score_kind=request.score_kind,
            concurrent=concurrent,
            remote=remote,
            after=watch_of(store, request),
            store_name=type(store).__name__,
            own_ids=node_id is None,
        )
        self._node = node

    @property
    def provenance(self) -> Provenance:
        """The table's dimension; the cosines are true ones, unless a score kind was named."""
        return Provenance(dimension=self.dimension, score_kind=kind_name(self.score_kind))

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Make the nodes of hits."""
        return [self._made(*hit.payload) for hit in hits]

    def _made(self, row_id: str, payload: Any) -> BaseNode:
        try:
            return self._node(row_id, payload)
        except Exception as error:  # Whatever the framework's parser throws at a payload that it did not write.
            raise SourceError(
                f"{type(error).__name__} while reading the node {row_id!r} of {self.store_name}: {error}; only nodes "
                f"that were added through LlamaIndex can be read"
            ) from error
