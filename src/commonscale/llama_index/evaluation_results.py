"""What a joint evaluation found: for each question, and on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from llama_index.core.bridge.pydantic import Field
from llama_index.core.evaluation.retrieval.base import RetrievalEvalResult
from llama_index.core.evaluation.retrieval.metrics_base import RetrievalMetricResult

from commonscale.core.types import Modality

JOINT = "all"
"""The row of the means over all questions, whatever the modality of their expected nodes."""


class JointEvalResult(RetrievalEvalResult):
    """LlamaIndex's result for one question, with the modalities of what was retrieved and expected.

    Attributes:
        retrieved_modalities: modality of each retrieved node, in their order.
        by_modality: metrics for the expected nodes of one modality, at their ranks in the joint list; only for
            modalities of which nodes were expected.
    """

    retrieved_modalities: list[str] = Field(..., description="Modalities of the retrieved nodes")
    by_modality: dict[str, dict[str, RetrievalMetricResult]] = Field(
        default_factory=dict, description="Metrics by modality of the expected nodes"
    )

    @property
    def modality_vals_dict(self) -> dict[Modality, dict[str, float]]:
        """Metric values by modality of the expected nodes."""
        return {
            modality: {name: metric.score for name, metric in metrics.items()}
            for modality, metrics in self.by_modality.items()
        }


@dataclass(frozen=True, eq=False)
class JointEvaluation:
    """The scores of a retriever on many questions; printed, a table of means.

    Attributes:
        results: one for each question, in their order.
    """

    results: Sequence[JointEvalResult]

    @property
    def counts(self) -> dict[str, int]:
        """How many questions each row of ``means`` is over."""
        return {row: len(values) for row, values in self._rows().items()}

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """Mean of every metric: in row ``"all"`` over all questions, then for the expected nodes of each modality.

        A modality's mean is over the questions that expect a node of it.
        """
        return {
            row: {name: fmean(value[name] for value in values) for name in values[0]}
            for row, values in self._rows().items()
        }

    def __str__(self) -> str:
        """Write the means as a table."""
        means, counts = self.means, self.counts
        names = list(means[JOINT])
        first = max(len("expected"), *map(len, means))
        lines = [f"{'expected':<{first}}  questions  " + "  ".join(f"{name:>9}" for name in names)]
        for row, values in means.items():
            figures = "  ".join(f"{values[name]:>9.3f}" for name in names)
            lines.append(f"{row:<{first}}  {counts[row]:>9}  {figures}")
        return "\n".join(lines)

    def _rows(self) -> dict[str, list[dict[str, float]]]:
        rows: dict[str, list[dict[str, float]]] = {JOINT: []}
        for result in self.results:
            rows[JOINT].append(result.metric_vals_dict)
        modalities = dict.fromkeys(modality for result in self.results for modality in result.by_modality)
        for modality in modalities:
            scores = [result.modality_vals_dict for result in self.results]
            rows[modality] = [score[modality] for score in scores if modality in score]
        return rows
