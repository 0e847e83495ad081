"""What every vector store becomes: a source of true cosines that can also deliver nodes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from llama_index.core.schema import BaseNode, ImageNode, TextNode
from llama_index.core.vector_stores.types import MetadataFilters

from commonscale.core.calibration import Provenance
from commonscale.core.changes import Watchable
from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError
from commonscale.core.pages import PAGE, Page
from commonscale.core.types import IMAGE, Candidates, Hit, Modality, Probe, Question, Source, Vector
from commonscale.llama_index.catalog import NodeCatalog
from commonscale.llama_index.conditions import pruned
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
        filters: metadata filters of the caller; groups that demand nothing are left out.
        modality_key: metadata key that names a node's modality.
        score_kind: what the store's scores are, if the caller says so.
    """

    modality: Modality
    mixed: bool = False
    catalog: NodeCatalog | None = None
    filters: MetadataFilters | None = None
    modality_key: str = DEFAULT_MODALITY_KEY
    score_kind: ScoreKindName | None = None

    def __post_init__(self) -> None:
        """Leave out empty groups of filters."""
        object.__setattr__(self, "filters", pruned(self.filters))

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

    @property
    def changes(self) -> Watchable:
        """Tells when documents of the modality come and go."""
        return self._source.changes

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield the ids and unit vectors of all documents of the modality, ``size`` at a time."""
        return self._source.scan(size)

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the unit vectors (n, d) of documents."""
        return self._source.vectors_of(ids)

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
