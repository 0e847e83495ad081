"""What every vector store becomes: a source of true cosines that can also deliver nodes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from llama_index.core.schema import BaseNode, ImageNode, TextNode
from llama_index.core.vector_stores.types import MetadataFilters

from commonscale.core.attempts import store_name
from commonscale.core.calibration import Provenance
from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.probing import probe_of
from commonscale.core.types import IMAGE, Candidates, Hit, Modality, Probe, Question, Source
from commonscale.core.unbounded import is_by_text, is_unbounded
from commonscale.llama_index.catalog import NodeCatalog
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY

if TYPE_CHECKING:
    from commonscale.index.document import Document
    from commonscale.index.source import IndexSource

ScoreKindName: TypeAlias = str | Converter

SOURCE_KEY = "source"
"""Metadata key for the path of a document of Commonscale's own index."""


@dataclass(frozen=True)
class StoreRequest:
    """What is asked of one store.

    Attributes:
        modality: the modality to search.
        mixed: whether the store holds other modalities too, to be filtered out.
        catalog: where nodes come from, for stores that keep only vectors.
        filters: metadata filters of the caller.
        modality_key: metadata key that names a node's modality.
        score_kind: what the store's scores are, if the caller says so.
    """

    modality: Modality
    mixed: bool = False
    catalog: NodeCatalog | None = None
    filters: MetadataFilters | None = None
    modality_key: str = DEFAULT_MODALITY_KEY
    score_kind: ScoreKindName | None = None

    def needed_catalog(self, store: object) -> NodeCatalog:
        """Give the catalog.

        Raises:
            InvalidInputError: if there is none and ``store`` keeps only vectors.
        """
        if self.catalog is None:
            raise InvalidInputError(
                f"{type(store).__name__} keeps only vectors, so the nodes must come from elsewhere: use "
                f"from_index(index), or pass docstore=, or text_nodes=, image_nodes= or nodes= (nodes by the "
                f"store's id, or a list in the order of its rows)"
            )
        return self.catalog


class NodeSource(Source, Protocol):
    """A core ``Source`` that also says where its cosines come from, and delivers nodes.

    The payload of a candidate is its node where the store returned it; the others are read by ``nodes``, for
    the few hits that are kept.
    """

    @property
    def provenance(self) -> Provenance:
        """Where the cosines come from, as far as the store knows."""
        ...

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Give the nodes of this source's hits, in order; they are not copied.

        Raises:
            SourceError: if one cannot be found.
        """
        ...


StoreOpener: TypeAlias = Callable[[Any, StoreRequest], NodeSource]


class CoreSource:
    """A core ``Source`` of the caller's own, with nodes from its payloads or a catalog."""

    def __init__(self, source: Source, request: StoreRequest) -> None:
        """Wrap ``source``.

        Raises:
            InvalidInputError: if filters are given, which only vector stores understand.
        """
        if request.filters is not None:
            raise InvalidInputError(f"{type(source).__name__} is no vector store: filters= cannot be applied to it")
        self._source = source
        self.store_name = store_name(source)
        self._catalog = request.catalog
        self._modality_key = request.modality_key
        self.provenance = Provenance()
        # Only a real coroutine function may take the place of a search in a thread.
        asearch = getattr(source, "asearch", None)
        if inspect.iscoroutinefunction(asearch):
            self.asearch = asearch
        if probe := probe_of(source):
            self.probe = probe

    def search(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        """Search the wrapped source."""
        return self._source.search(questions, k)

    @property
    def concurrent(self) -> bool:
        """Whether the wrapped source says that it may be searched in a helping thread."""
        return bool(getattr(self._source, "concurrent", False))

    @property
    def needs_check(self) -> bool:
        """Whether it is checked before the first search: unless the wrapped source says that it need not be."""
        return bool(getattr(self._source, "needs_check", True))

    @property
    def remote(self) -> bool:
        """Whether the wrapped source says that it asks another process."""
        return bool(getattr(self._source, "remote", False))

    @property
    def unbounded(self) -> bool:
        """Whether the wrapped source says that its scores are of another kind than cosines."""
        return is_unbounded(self._source)

    @property
    def by_text(self) -> bool:
        """Whether the wrapped source says that it searches by words."""
        return is_by_text(self._source)

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Give the nodes of hits: their payloads (nodes or ``Document``s), or what the catalog has."""
        return [self._node(hit) for hit in hits]

    def _node(self, hit: Hit) -> BaseNode:
        from commonscale.index.document import Document

        if isinstance(hit.payload, BaseNode):
            return hit.payload
        if isinstance(hit.payload, Document):
            return node_from_document(hit.payload, self._modality_key)
        if self._catalog is None:
            raise SourceError(
                f"{type(self._source).__name__} returned the document {hit.id!r} without its node; put nodes into "
                f"Candidates.payloads, or pass docstore=, text_nodes=, image_nodes= or nodes="
            )
        return self._catalog.fetch([hit.id])[0]


class EmbeddedSource:
    """Searches one modality of a ``FaissIndex``; only the hits that are kept become nodes."""

    concurrent = True
    needs_check = False

    def __init__(self, index: Any, request: StoreRequest) -> None:
        """Set up the source.

        Args:
            index: a ``commonscale.index.FaissIndex`` or ``MemoryIndex``; it may grow later.
            request: what to search in it.

        Raises:
            InvalidInputError: if filters are given, which the index does not have.
        """
        if request.filters is not None:
            raise InvalidInputError("commonscale's own index has no metadata filters; leave filters= out")
        self._source: IndexSource = index.source(request.modality)
        self._modality_key = request.modality_key
        self.provenance = Provenance(index.encoder_fingerprint, index.dimension, "cosine")

    def search(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        """Search the modality."""
        return self._source.search(questions, k)

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the cosines beside the stored vectors, for verifying on demand."""
        return self._source.probe(questions, k)

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Turn documents into nodes."""
        return [node_from_document(hit.payload, self._modality_key) for hit in hits]


def node_from_document(document: Document, modality_key: str = DEFAULT_MODALITY_KEY) -> BaseNode:
    """Turn a document of Commonscale's own index into a node.

    Args:
        document: the document.
        modality_key: metadata key for its modality.

    Returns:
        An ``ImageNode`` with the document's path for an image, else a ``TextNode``; id, text and metadata are
        the document's. The modality and, under ``"source"``, the path are added to the metadata, unless the
        document has these keys itself; what is added is hidden from LLMs and embedding models.
    """
    added = {modality_key: document.modality} | ({} if document.path is None else {SOURCE_KEY: document.path})
    hidden = [key for key in added if key not in document.metadata]
    fields: dict[str, Any] = {
        "id_": document.id,
        "text": document.text,
        "metadata": {**added, **copy.deepcopy(dict(document.metadata))},
        "excluded_llm_metadata_keys": hidden,
        "excluded_embed_metadata_keys": list(hidden),
    }
    return ImageNode(image_path=document.path, **fields) if document.modality == IMAGE else TextNode(**fields)


def kind_name(kind: ScoreKindName) -> str:
    """Name a score kind, also one that is a function."""
    return kind if isinstance(kind, str) else getattr(kind, "__name__", "custom")
