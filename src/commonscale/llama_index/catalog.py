"""From what a vector store returns (ids, row numbers) to nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.docstore.types import BaseDocumentStore

from commonscale.core.errors import SourceError
from commonscale.core.types import Hit

NodeMap: TypeAlias = Mapping[str, BaseNode] | Sequence[BaseNode]
"""Nodes by the store's id, or in the order of its rows (FAISS)."""


class NodeCatalog(Protocol):
    """Finds nodes by a store's ids."""

    @property
    def in_memory(self) -> bool:
        """Whether any thread may look nodes up, since they are plain objects in memory."""
        ...

    def resolve(self, store_ids: Sequence[str]) -> tuple[list[str], list[BaseNode] | None]:
        """Give the node ids of a store's ids and, where they cost nothing, the nodes.

        Raises:
            SourceError: if the catalog does not know one of them.
        """
        ...

    def content(self) -> Sequence[object] | None:
        """List what is held, in order of addition, to be compared with an earlier list of it.

        What is replaced is another object then; what is altered in place is not. None if it lies elsewhere.
        """
        ...

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Give nodes by node id, where ``resolve`` did not.

        Raises:
            SourceError: if one is missing.
        """
        ...


def nodes_of(hits: Sequence[Hit], catalog: NodeCatalog) -> list[BaseNode]:
    """Give the nodes of hits: their payloads, or in one call what the catalog has.

    Raises:
        SourceError: if the catalog misses one.
    """
    missing = [hit.id for hit in hits if hit.payload is None]
    fetched = iter(catalog.fetch(missing) if missing else ())
    return [hit.payload if hit.payload is not None else next(fetched) for hit in hits]


class MappedNodes:
    """Nodes that the caller holds in memory, by store id or in row order."""

    def __init__(self, nodes: NodeMap) -> None:
        self._nodes = nodes

    @property
    def in_memory(self) -> bool:
        """Whether they are held in a plain container; one of the caller's own may be a connection underneath."""
        return isinstance(self._nodes, (dict, list, tuple))

    def resolve(self, store_ids: Sequence[str]) -> tuple[list[str], list[BaseNode] | None]:
        """Look nodes up; a sequence is indexed by row number."""
        nodes = self.fetch(store_ids)
        return [node.node_id for node in nodes], nodes

    def content(self) -> Sequence[object] | None:
        """List the nodes; a list is given as it is."""
        if isinstance(self._nodes, dict):
            return list(self._nodes.values())
        return self._nodes if isinstance(self._nodes, (list, tuple)) else None

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Give nodes by store id."""
        held = self._nodes
        try:
            if isinstance(held, Mapping):
                return [held[store_id] for store_id in node_ids]
            return [held[int(store_id)] for store_id in node_ids]
        except (LookupError, ValueError) as error:
            raise SourceError(
                f"the vector store returned the id {error.args[0]!r} or another one that is not among the "
                f"{len(held)} nodes given; give every node of the store, by its id there (FAISS: in row order)"
            ) from error


class DocstoreNodes:
    """Nodes kept in a LlamaIndex docstore, found through an index's table of store ids where it has one."""

    def __init__(self, docstore: BaseDocumentStore, node_ids: Mapping[str, str] | None = None) -> None:
        """Set up the catalog.

        Args:
            docstore: holds the nodes.
            node_ids: node ids by store id (``index.index_struct.nodes_dict``); None if both are the same.
        """
        self._docstore = docstore
        self._node_ids = node_ids

    @property
    def in_memory(self) -> bool:
        """Whether it is LlamaIndex's own docstore; others may have connections that belong to one thread."""
        return isinstance(self._docstore, SimpleDocumentStore)

    def resolve(self, store_ids: Sequence[str]) -> tuple[list[str], list[BaseNode] | None]:
        """Look node ids up; nodes are left to ``fetch``, since a docstore parses each from JSON."""
        table = self._node_ids
        if table is None:
            return list(store_ids), None
        try:
            return [table[store_id] for store_id in store_ids], None
        except KeyError as error:
            raise SourceError(
                f"the vector store returned the id {error.args[0]!r}, which the index does not know: the store "
                f"holds vectors that were not added through this index; build the index anew, or pass the nodes"
            ) from error

    def content(self) -> Sequence[object] | None:
        """List the records of LlamaIndex's own docstore, which makes a new one whenever a node is put in."""
        if not isinstance(self._docstore, SimpleDocumentStore):
            return None
        # The docstore itself would parse every node.
        collections = getattr(self._docstore._kvstore, "_collections_mappings", None)
        return None if collections is None else list(collections.get(self._docstore._node_collection, {}).values())

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Read nodes from the docstore."""
        try:
            return list(self._docstore.get_nodes(list(node_ids)))
        except ValueError as error:
            raise SourceError(
                f"a node that the vector store found is missing from the docstore ({error}); "
                f"load the docstore that belongs to the store, or add its nodes again"
            ) from error
