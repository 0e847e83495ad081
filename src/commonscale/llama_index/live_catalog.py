"""Nodes that are in a vector store already, and not yet in the docstore beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llama_index.core.schema import BaseNode

from commonscale.core.errors import SourceError
from commonscale.llama_index.catalog import NodeCatalog


class LiveCatalog:
    """A catalog that also knows the nodes that were added last.

    An index adds nodes to its vector store first, and only then to its docstore and its table of ids. A calibration
    that is told of them in between must find them.
    """

    def __init__(self, catalog: NodeCatalog, fresh: dict[str, BaseNode]) -> None:
        """Set up the catalog.

        Args:
            catalog: the one that the store's owner gave.
            fresh: the nodes that were added last, by the store's ids; whoever adds puts them in, and those that the
                catalog knows by now are taken out.
        """
        self._catalog = catalog
        self._fresh = fresh

    @property
    def in_memory(self) -> bool:
        """Whether any thread may look nodes up."""
        return self._catalog.in_memory

    def resolve(self, store_ids: Sequence[str]) -> tuple[list[str], list[BaseNode] | None]:
        """Give the node ids of a store's ids, and the nodes where they cost nothing."""
        try:
            return self._catalog.resolve(store_ids)
        except SourceError:
            if not self._fresh.keys() & set(store_ids):
                raise
        old = [store_id for store_id in store_ids if store_id not in self._fresh]
        names = iter(self._catalog.resolve(old)[0])
        return [self._fresh[i].node_id if i in self._fresh else next(names) for i in store_ids], None

    def content(self) -> Sequence[object] | None:
        """List what the catalog holds."""
        return self._catalog.content()

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Give nodes by node id."""
        try:
            return self._catalog.fetch(node_ids)
        except SourceError:
            fresh = {node.node_id: node for node in self._fresh.values()}
            if not fresh.keys() & set(node_ids):
                raise
        old = iter(self._catalog.fetch([node_id for node_id in node_ids if node_id not in fresh]))
        return [fresh[node_id] if node_id in fresh else next(old) for node_id in node_ids]

    def learn(self, nodes: Mapping[str, BaseNode]) -> None:
        """Know further nodes, and forget those that the catalog knows by now."""
        for store_id in list(self._fresh):
            try:
                self._catalog.fetch(self._catalog.resolve([store_id])[0])
            except SourceError:
                continue
            del self._fresh[store_id]
        self._fresh.update(nodes)
