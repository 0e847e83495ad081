"""What every vector store becomes: a source of true cosines that can also deliver nodes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters

from commonscale.core.calibration import Provenance
from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.types import Candidates, Modality, Question, Source
from commonscale.llama_index.catalog import NodeCatalog
from commonscale.llama_index.modality import MODALITY_KEY

ScoreKindName: TypeAlias = str | Converter


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
    modality_key: str = MODALITY_KEY
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

    The payload of a candidate is its node where the store returned it; else ``fetch`` reads the node, for the
    few hits that are kept.
    """

    @property
    def provenance(self) -> Provenance:
        """Where the cosines come from, as far as the store knows."""
        ...

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Give the nodes of candidates without payload."""
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
        self._catalog = request.catalog
        self.provenance = Provenance()
        # Only a real coroutine function may take the place of a search in a thread.
        asearch = getattr(source, "asearch", None)
        if inspect.iscoroutinefunction(asearch):
            self.asearch = asearch

    def search(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        """Search the wrapped source."""
        return self._source.search(questions, k)

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Read nodes from the catalog."""
        if self._catalog is None:
            raise SourceError(
                f"{type(self._source).__name__} returned the document {node_ids[0]!r} without its node; put nodes "
                f"into Candidates.payloads, or pass docstore=, text_nodes=, image_nodes= or nodes="
            )
        return self._catalog.fetch(node_ids)


def stack(questions: Sequence[Question], modality: Modality, dimension: int, store: object) -> npt.NDArray[np.float32]:
    """Stack the questions' vectors (q, d), contiguous float32.

    Raises:
        InvalidInputError: if a question has no vector for ``modality``, or one of another dimension.
    """
    vectors = [question.vector_for(modality) for question in questions]
    for question, vector in zip(questions, vectors, strict=True):
        if vector.shape != (dimension,):
            raise InvalidInputError(
                f"question {question.text!r} has a vector of shape {vector.shape}, but the {type(store).__name__} of "
                f"modality {modality!r} holds vectors of dimension {dimension}; use the model that it was built with"
            )
    return np.ascontiguousarray(np.stack(vectors), dtype=np.float32)
