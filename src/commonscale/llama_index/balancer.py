"""A node postprocessor that balances text and images."""

from __future__ import annotations

from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from commonscale.core.errors import InvalidInputError
from commonscale.core.ranking import Quotas, first_of_each, select, warn_of_shortages
from commonscale.core.recorded import MODALITY_KEY
from commonscale.core.types import Modality
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY, modality_of


class ModalityBalancer(BaseNodePostprocessor):
    """Keeps at least and at most so many nodes of each modality, and so many in all.

    Nodes are expected best first, as every retriever of Commonscale returns them, and keep their order; a node
    that comes twice counts once. The modality is what the node is, since that is what it costs an LLM: a
    captioned image that was found by its caption is an image. Give an upper limit for images where the LLM's
    context is small (LlamaIndex counts 2,125 tokens for each).

    Attributes:
        minimum: at least this many nodes of a modality; where fewer came in, all of them, with a
            ``CommonscaleWarning``.
        maximum: at most this many nodes of a modality.
        top_n: how many nodes in all; None for as many as came.
        modality_key: metadata key naming the modality of nodes whose class does not tell; without one, the modality
            that Commonscale found the node in counts, and without that it is text.
    """

    minimum: dict[str, int] = Field(default_factory=dict, description="At least this many nodes per modality.")
    maximum: dict[str, int] = Field(default_factory=dict, description="At most this many nodes per modality.")
    top_n: int | None = Field(default=None, description="How many nodes in all.")
    modality_key: str = Field(default=DEFAULT_MODALITY_KEY, description="Metadata key that names the modality.")

    def __init__(self, **data: Any) -> None:
        """Set up the balancer.

        Args:
            data: the attributes.

        Raises:
            InvalidInputError: if a number is negative, a minimum lies above its maximum, or the minima add up
                to more than ``top_n``.
        """
        super().__init__(**data)
        quotas = Quotas(self.minimum, self.maximum)
        if self.top_n is not None:
            if self.top_n < 1:
                raise InvalidInputError(f"top_n must be at least 1, or None for no limit, got {self.top_n!r}")
            quotas.check(self.top_n)

    @classmethod
    def class_name(cls) -> str:
        """Name the class for serialization."""
        return "ModalityBalancer"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        del query_bundle
        budget = len(nodes) if self.top_n is None else self.top_n
        quotas = Quotas(self.minimum, self.maximum)
        chosen = select(nodes, budget, quotas, self._modality, _identity)
        if self.minimum:
            retrieved = len(first_of_each(nodes, _identity))
            warn_of_shortages(quotas, map(self._modality, chosen), retrieved, what="nodes", setting="similarity_top_k")
        return chosen

    def _modality(self, node: NodeWithScore) -> Modality:
        return modality_of(node.node, self.modality_key, MODALITY_KEY)


def _identity(node: NodeWithScore) -> str:
    return node.node.node_id
