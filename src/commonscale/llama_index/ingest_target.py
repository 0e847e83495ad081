"""What nodes are put into: a vector store, and a docstore or an index beside it where the store keeps only vectors."""

from __future__ import annotations

from typing import Any

from llama_index.core.indices import MultiModalVectorStoreIndex, VectorStoreIndex
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.types import BaseDocumentStore

from commonscale.core.errors import InvalidInputError, SourceUnavailableError
from commonscale.core.passing import is_passing
from commonscale.llama_index.catalog import MappedNodes
from commonscale.llama_index.ingest_stores import Labels, Way, add_rows, way_of
from commonscale.llama_index.live_store import LiveVectorStore
from commonscale.llama_index.sources import ScoreKindName, StoreRequest
from commonscale.llama_index.stores import open_source

_ROWS = "FaissVectorStore"


class Target:
    """One store to put nodes into.

    Attributes:
        store: the vector store.
        name: what messages call it.
        way: how it takes nodes.
    """

    def __init__(self, store: Any, docstore: BaseDocumentStore | None) -> None:
        """Find the store, and where its nodes go.

        Args:
            store: a vector store, or a ``VectorStoreIndex`` over one that keeps only vectors.
            docstore: where nodes go too.

        Raises:
            InvalidInputError: if the store keeps only vectors, and there is nowhere for the nodes to go.
        """
        self._index: VectorStoreIndex | None = None
        self._docstore = docstore
        if isinstance(store, VectorStoreIndex):
            self._index = store = _plain(store)
            if docstore is not None:
                raise InvalidInputError("the index has a docstore of its own; leave docstore= out")
            self._docstore, store = store.docstore, store.vector_store
        self._live = store if isinstance(store, LiveVectorStore) else None
        self.store = store = store if self._live is None else self._live.store
        self.name = type(store).__name__
        self.way: Way = way_of(store)
        if self._docstore is None and getattr(store, "stores_text", True) is False:
            raise InvalidInputError(_LOST.format(store=self.name))
        if self._index is None and self._numbers_rows:
            raise InvalidInputError(_ROWS_ONLY)

    def check(self, labels: Labels, score_kind: ScoreKindName | None) -> int | None:
        """Check that the store's numbers are functions of the cosine of unit vectors.

        Returns:
            The length of its vectors; None while it has none.

        Raises:
            UnknownScoreKindError: if they are not, or the store is not known and no score kind is named.
            InvalidInputError: if it is no vector store.
            SourceUnavailableError: if it cannot be asked.
        """
        request = StoreRequest(labels.modality, catalog=MappedNodes({}), score_kind=score_kind)
        source = open_source(self.store, request)
        if not hasattr(self.store, "add"):
            raise InvalidInputError(
                f"{self.name} cannot be added to; give a vector store or a commonscale.index.FaissIndex"
            )
        table: Any = getattr(source, "table", None)
        try:
            if table is not None and score_kind is None:
                _ = table.score_kind
            return source.provenance.dimension
        except Exception as error:
            if not is_passing(error):
                raise
            raise SourceUnavailableError(f"the {self.name} cannot be asked, so nothing was put in: {error}") from error

    def write(self, nodes: list[BaseNode], labels: Labels) -> None:
        """Put nodes in, their docstore first, so that no vector is ever found whose node is missing."""
        if self._live is None:
            self._write(nodes, labels)
            return
        with self._live.changes.turns.turn():
            memory = self._live.changes.remember([node.node_id for node in nodes])
            self._write(nodes, labels)
            self._live.told(nodes, memory)

    def _write(self, nodes: list[BaseNode], labels: Labels) -> None:
        if self._docstore is not None:
            bare = [node.model_copy(update={"embedding": None}) for node in nodes]
            self._docstore.add_documents(bare, allow_update=True)
        if self._index is None:
            self.way.write(self.store, nodes, labels)
            return
        struct = self._index.index_struct
        if self._numbers_rows:
            rows = {node_id: int(row) for row, node_id in struct.nodes_dict.items()}
            added = add_rows(self.store, nodes, rows)
        else:
            self.way.write(self.store, nodes, labels)
            added = [(node, node.node_id) for node in nodes]
        for node, store_id in added:
            struct.add_node(node, text_id=store_id)
        self._index.storage_context.index_store.add_index_struct(struct)

    @property
    def _numbers_rows(self) -> bool:
        return self.name != "FaissMapVectorStore" and any(cls.__name__ == _ROWS for cls in type(self.store).__mro__)


def _plain(index: VectorStoreIndex) -> VectorStoreIndex:
    if isinstance(index, MultiModalVectorStoreIndex):
        raise InvalidInputError(
            "a MultiModalVectorStoreIndex holds two stores; give one of them: index.vector_store for texts, "
            "index.image_vector_store for images, with docstore=index.docstore if it keeps only vectors"
        )
    if index.vector_store.stores_text:
        raise InvalidInputError(
            f"the {type(index.vector_store).__name__} of this index keeps its nodes itself; give index.vector_store"
        )
    return index


_LOST = (
    "{store} keeps only vectors, so the items themselves would be lost: pass docstore=SimpleDocumentStore(), and give "
    "the same docstore= to the retriever; or give a VectorStoreIndex over the store"
)
_ROWS_ONLY = (
    "a FaissVectorStore numbers its vectors and knows no ids, so that nobody could tell which vector is which item: "
    "give the VectorStoreIndex over it, which keeps a table of both, or use a FaissMapVectorStore over "
    "faiss.IndexIDMap2(faiss.IndexFlatIP(dimension)), or a commonscale.index.FaissIndex"
)
