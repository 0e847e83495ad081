"""From a LlamaIndex index to the stores, nodes and models behind it."""

from __future__ import annotations

from typing import Any

from llama_index.core.indices import MultiModalVectorStoreIndex, VectorStoreIndex

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.catalog import DocstoreNodes
from commonscale.llama_index.live_store import LiveVectorStore


def settings_of(index: VectorStoreIndex, given: dict[str, Any]) -> dict[str, Any]:
    """Give the retriever's settings that an index implies.

    The stores are searched themselves: ``as_retriever`` restricts a mixed store to its image nodes, and the
    index's marks of an empty modality are set by any insertion that has no node of that modality.

    Args:
        index: a ``MultiModalVectorStoreIndex``, or a ``VectorStoreIndex`` over a mixed store.
        given: settings of the caller, which come first.

    Returns:
        Both together.

    Raises:
        InvalidInputError: if it is no such index, or its row numbers cannot be told apart.
    """
    if not isinstance(index, VectorStoreIndex):
        raise InvalidInputError(
            f"from_index takes a MultiModalVectorStoreIndex or a VectorStoreIndex, got a {type(index).__name__}"
        )
    catalog = DocstoreNodes(index.docstore, index.index_struct.nodes_dict)
    implied: dict[str, Any] = {"embed_model": index._embed_model, "callback_manager": index._callback_manager}
    if isinstance(index, MultiModalVectorStoreIndex):
        _refuse_shared_rows(index, given)
        implied |= {
            "text_store": index.vector_store,
            "image_store": index.image_vector_store,
            "image_embed_model": index.image_embed_model,
            "text_nodes": catalog,
            "image_nodes": catalog,
        }
    else:
        implied |= {"store": index.vector_store, "nodes": catalog}
    return implied | given


def _refuse_shared_rows(index: MultiModalVectorStoreIndex, given: dict[str, Any]) -> None:
    """Refuse two FAISS stores whose rows the index has mixed up.

    Both stores number their rows from 0, and ``MultiModalVectorStoreIndex`` keeps one table of them: row 0 of
    the images overwrites row 0 of the texts.
    """
    given_stores = (index.vector_store, index.image_vector_store)
    stores = [store.store if isinstance(store, LiveVectorStore) else store for store in given_stores]
    numbered = all(any(cls.__name__ == "FaissVectorStore" for cls in type(store).__mro__) for store in stores)
    if numbered and not {"text_nodes", "image_nodes"} <= given.keys():
        raise InvalidInputError(
            "this MultiModalVectorStoreIndex has two FaissVectorStores, whose row numbers it keeps in one table, so "
            "texts and images cannot be told apart: pass text_nodes= and image_nodes=, each a list of nodes in the "
            "order in which they were added, or keep one of the two in another store"
        )
