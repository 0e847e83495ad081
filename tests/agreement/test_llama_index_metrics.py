"""The joint evaluator for LlamaIndex against ir-measures, where both define a metric alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("ir_measures")

import ir_measures
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode

from commonscale.llama_index import JointRetrieverEvaluator
from commonscale.llama_index.evaluation_results import JointEvalResult

DOCUMENTS = [f"{kind}{i}" for i in range(6) for kind in "ti"]
K = len(DOCUMENTS)


class Listed(BaseRetriever):
    """Gives a list of ids as texts and images in turn."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__()
        self._ids = ids

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        del query_bundle
        nodes = [ImageNode(id_=name) if name.startswith("i") else TextNode(id_=name) for name in self._ids]
        return [NodeWithScore(node=node, score=-float(place)) for place, node in enumerate(nodes)]


@given(
    retrieved=st.lists(st.sampled_from(DOCUMENTS), unique=True, max_size=K),
    expected=st.lists(st.sampled_from(DOCUMENTS), unique=True, min_size=1, max_size=K),
)
def test_metrics_agree(retrieved: list[str], expected: list[str]) -> None:
    evaluator = JointRetrieverEvaluator.from_metric_names(
        ["hit_rate", "mrr", "precision", "recall", "ap", "ndcg"],
        retriever=Listed(retrieved),
        modalities=lambda node_id: "image" if node_id.startswith("i") else "text",
    )
    result = evaluator.evaluate("q", expected)
    # LlamaIndex's precision is over what was retrieved, where ir-measures counts K places even if they are empty.
    at = max(1, len(retrieved))
    measures = {"hit_rate": Success @ K, "mrr": RR, "precision": P @ at, "recall": R @ K, "ap": AP, "ndcg": nDCG @ K}
    run = [ir_measures.ScoredDoc("q", name, -float(place)) for place, name in enumerate(retrieved)]
    for wanted, values in [(expected, result.metric_vals_dict), *_by_modality(expected, result)]:
        qrels = [ir_measures.Qrel("q", name, 1) for name in wanted]
        theirs = (
            ir_measures.calc_aggregate(measures.values(), qrels, run) if run else dict.fromkeys(measures.values(), 0)
        )
        assert values == pytest.approx({name: theirs[measure] for name, measure in measures.items()})


def _by_modality(expected: list[str], result: JointEvalResult) -> Iterator[tuple[list[str], dict[str, float]]]:
    for modality, values in result.modality_vals_dict.items():
        yield [name for name in expected if name.startswith(modality[0])], values
