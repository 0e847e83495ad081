"""Every behavior over every store of both frameworks, in both layouts."""

from __future__ import annotations

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import CommonscaleWarning
from store_suite.checks import recall
from store_suite.corpus import QUESTIONS, Corpus, even
from store_suite.kind import BEHAVIOURS, Kind
from store_suite.registry import KINDS

over_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
over_layouts = pytest.mark.parametrize("layout", ["two", "mixed"])


def same(found: list[tuple[str, float]], expected: list[tuple[str, float]], kind: Kind) -> None:
    """Compare a ranking with brute force: exactly, or by recall for approximate stores."""
    ids, wanted = [i for i, _ in found], [i for i, _ in expected]
    if kind.recall == 1.0:
        assert ids == wanted
        assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-4)
    else:
        assert len(found) == len(expected)
        assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)


def mean_recall(found: list[Any], expected: list[Any]) -> float:
    return float(np.mean([recall([i for i, _ in f], [i for i, _ in e]) for f, e in zip(found, expected, strict=True)]))


@over_layouts
@over_kinds
def test_joint_ranking_and_calibration_are_those_of_numpy(kind: Kind, layout: str, open_kind: Any) -> None:
    ours = open_kind(kind, layout, behaviour="ranking")
    retriever = ours.retriever()
    calibration = retriever.calibrate(list(QUESTIONS), method="standardized")
    tolerance = 1e-5 if kind.recall == 1.0 else 0.02
    for modality, (mean, std) in ours.corpus.statistics().items():
        fitted = calibration.modalities[modality].statistics
        assert (fitted.mean, fitted.std) == pytest.approx((mean, std), abs=tolerance)
        assert fitted.count == len(QUESTIONS)
    found = ours.ask_all(retriever, QUESTIONS)
    expected = [ours.corpus.ranking(q, 20) for q in range(len(QUESTIONS))]
    for one, other in zip(found, expected, strict=True):
        same(one, other, kind)
    assert mean_recall(found, expected) >= kind.recall


@over_layouts
@over_kinds
def test_the_users_filter_joins_that_of_the_modality(kind: Kind, layout: str, open_kind: Any) -> None:
    ours = open_kind(kind, layout, behaviour="filters")
    retriever = ours.calibrated(even=True)
    found = ours.ask_all(retriever, QUESTIONS[:10])
    assert all(even(ours.corpus[i]) for pairs in found for i, _ in pairs)
    expected = [ours.corpus.ranking(q, 20, where=even) for q in range(10)]
    for one, other in zip(found, expected, strict=True):
        same(one, other, kind)
    assert mean_recall(found, expected) >= kind.recall


@over_kinds
def test_a_rare_modality_is_not_starved(kind: Kind, open_kind: Any) -> None:
    corpus = Corpus(texts=297, images=3, norm=kind.norm)
    ours = open_kind(kind, "mixed", corpus, behaviour="rare")
    retriever = ours.retriever(k=6, raw=True, minimum={"image": 3})
    found = ours.ask_all(retriever, QUESTIONS[:10])
    for question, pairs in enumerate(found):
        images = [i for i, _ in pairs if corpus[i].modality == "image"]
        assert images == corpus.nearest(question, 3, "image")
        assert len(pairs) == 6


@over_layouts
@over_kinds
def test_one_by_one_is_as_in_a_batch(kind: Kind, layout: str, open_kind: Any) -> None:
    ours = open_kind(kind, layout, behaviour="batch")
    retriever = ours.calibrated()
    together = ours.ask_all(retriever, QUESTIONS[:8])
    for question, pairs in zip(QUESTIONS[:8], together, strict=True):
        alone = ours.ask(retriever, question)
        assert [i for i, _ in alone] == [i for i, _ in pairs]
        assert [s for _, s in alone] == pytest.approx([s for _, s in pairs], abs=1e-4)
    assert ours.ask_all(retriever, []) == []


@over_layouts
@over_kinds
def test_asynchronous_answers_are_the_same_and_the_event_loop_goes_on(kind: Kind, layout: str, open_kind: Any) -> None:
    ours = open_kind(kind, layout, behaviour="async")
    retriever = ours.calibrated()
    expected = ours.ask_all(retriever, QUESTIONS)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async def ask() -> tuple[Any, Any, int]:
        ticking = asyncio.create_task(tick())
        together = await ours.aask_all(retriever, QUESTIONS)
        seen = ticks
        alone = await ours.aask(retriever, QUESTIONS[0])
        ticking.cancel()
        return together, alone, seen

    together, alone, seen = asyncio.run(ask())
    for one, other in zip([*together, alone], [*expected, expected[0]], strict=True):
        assert [i for i, _ in one] == [i for i, _ in other]
        assert [s for _, s in one] == pytest.approx([s for _, s in other], abs=1e-4)
    # A loop that is blocked for the search ticks once or twice in all.
    assert seen > 10


@over_layouts
@over_kinds
def test_a_store_that_is_opened_again_ranks_the_same(kind: Kind, layout: str, open_kind: Any, tmp_path: Any) -> None:
    from commonscale import Calibration

    if kind.reopen is None and "reopen" not in kind.skips:
        pytest.skip(f"{kind.id}, reopen: it lives in memory only")
    ours = open_kind(kind, layout, behaviour="reopen")
    retriever = ours.retriever()
    retriever.calibrate(list(QUESTIONS), method="standardized").save(tmp_path / "calibration.json")
    before = ours.ask_all(retriever, QUESTIONS[:5])
    ours.reopen()
    again = ours.retriever(calibration=Calibration.load(tmp_path / "calibration.json"))
    after = ours.ask_all(again, QUESTIONS[:5])
    assert [[i for i, _ in pairs] for pairs in after] == [[i for i, _ in pairs] for pairs in before]


@over_kinds
def test_eight_threads_get_the_answers_of_one(kind: Kind, open_kind: Any) -> None:
    ours = open_kind(kind, "mixed", behaviour="threads")
    retriever = ours.calibrated(k=5)
    expected = {question: ours.ask(retriever, question) for question in QUESTIONS}
    asked = [QUESTIONS[i % len(QUESTIONS)] for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda question: ours.ask(retriever, question), asked))
    for question, pairs in zip(asked, found, strict=True):
        assert [i for i, _ in pairs] == [i for i, _ in expected[question]]


@over_layouts
@over_kinds
def test_what_is_deleted_is_not_found(kind: Kind, layout: str, open_kind: Any) -> None:
    if kind.delete is None and "delete" not in kind.skips:
        pytest.skip(f"{kind.id}, delete: the store cannot delete")
    ours = open_kind(kind, layout, behaviour="delete")
    retriever = ours.calibrated(k=10)
    gone = [ours.corpus.nearest(0, 1, modality)[0] for modality in ("text", "image")]
    assert gone[0] in [i for i, _ in ours.ask(retriever, QUESTIONS[0])]
    ours.delete(gone)
    found = ours.ask_all(retriever, QUESTIONS)
    assert not {i for pairs in found for i, _ in pairs} & set(gone)
    left = ours.corpus.without(gone)
    rest = ours.retriever(k=10, raw=True)
    for question, pairs in enumerate(ours.ask_all(rest, QUESTIONS[:5])):
        same(pairs, left.ranking(question, 10, raw=True), kind)


@over_kinds
def test_what_is_added_is_found(kind: Kind, open_kind: Any) -> None:
    corpus = Corpus(norm=kind.norm)
    late = [corpus.nearest(0, 1, modality)[0] for modality in ("text", "image")]
    ours = open_kind(kind, "mixed", corpus.without(late), behaviour="add")
    if kind.nodes == "rows":
        ours.corpus.items = [*ours.corpus.items, *(corpus[i] for i in late)]
    elif kind.nodes == "ids":
        ours.corpus.items = list(corpus.items)
    retriever = ours.retriever(k=60, raw=True)
    if kind.nodes is None:
        assert not {i for i, _ in ours.ask(retriever, QUESTIONS[0])} & set(late)
    kind.add(ours.stores["store"], [corpus[i] for i in late])
    assert set(late) <= {i for i, _ in ours.ask(retriever, QUESTIONS[0])}


@over_kinds
def test_an_empty_store_gives_nothing(kind: Kind, open_kind: Any) -> None:
    full = Corpus(norm=kind.norm)
    ours = open_kind(kind, "two", full.without([item.id for item in full.of("image")]), behaviour="empty")
    retriever = ours.retriever(raw=True)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", CommonscaleWarning)
        for ask in (ours.ask, lambda *given: asyncio.run(ours.aask(*given))):
            assert [i for i, _ in ask(retriever, QUESTIONS[0])] == full.nearest(0, 20, "text") or kind.recall < 1
    # Where the store makes its collection with the first document, its absence is said, and once.
    said = [str(one.message) for one in warned if issubclass(one.category, CommonscaleWarning)]
    assert len(said) <= 1
    assert all("does not exist, so the search for 'image' documents" in message for message in said)


def warned_of(kind: Kind, message: str) -> AbstractContextManager[Any]:
    """Expect a warning of databases; where every document is at hand, each is known to be an image or a text."""
    at_hand = kind.name.startswith("faiss") or kind.name in ("simple", "in-memory", "index")
    return nullcontext() if at_hand else pytest.warns(CommonscaleWarning, match=message)


@over_kinds
def test_an_absent_modality_and_a_filter_that_nothing_passes_give_no_hits(kind: Kind, open_kind: Any) -> None:
    full = Corpus(norm=kind.norm)
    corpus = full.without([item.id for item in full.items if item.modality == "image" or even(item)])
    ours = open_kind(kind, "mixed", corpus, behaviour="absent")
    retriever = ours.retriever(k=10, raw=True)
    with warned_of(kind, "first search for 'image' documents in this mixed .* found none"):
        found = ours.ask_all(retriever, QUESTIONS[:3])
    expected = [corpus.nearest(question, 10, "text") for question in range(3)]
    assert [[i for i, _ in pairs] for pairs in found] == expected or kind.recall < 1
    assert all(len(pairs) == 10 for pairs in found)
    if kind.even is None:
        return
    retriever = ours.retriever(k=10, raw=True, even=True)
    with warned_of(kind, "found none: it asks for documents that pass the filter"):
        assert ours.ask(retriever, QUESTIONS[0]) == []
    assert ours.ask_all(retriever, QUESTIONS[:3]) == [[], [], []]


@over_kinds
def test_images_come_back_as_images(kind: Kind, open_kind: Any) -> None:
    ours = open_kind(kind, "mixed", behaviour="images")
    retriever = ours.retriever(k=4, raw=True, minimum={"image": 2})
    if kind.framework == "langchain":
        found = [d for d in retriever.invoke(QUESTIONS[0]) if d.metadata["commonscale_modality"] == "image"]
        assert [d.metadata["modality"] for d in found] == ["image"] * 2
        if "index" not in kind.name:
            assert [d.metadata["image_path"] for d in found] == [f"{ours.corpus[d.id].text}.png" for d in found]
        return
    from llama_index.core.schema import ImageNode

    nodes = [hit.node for hit in retriever.retrieve(QUESTIONS[0])]
    images = [node for node in nodes if node.metadata["commonscale_modality"] == "image"]
    assert [type(node) for node in images] == [ImageNode] * 2
    if "index" not in kind.name:
        assert [node.image_path for node in images] == [f"{ours.corpus[n.node_id].text}.png" for n in images]


@over_layouts
@over_kinds
def test_verifying_finds_the_cosines_right(kind: Kind, layout: str, open_kind: Any) -> None:
    report = open_kind(kind, layout, behaviour="verify").retriever().verify(list(QUESTIONS[:1]))
    assert report.ok, str(report)
    assert list(report) == ["text", "image"]
    for check in report.values():
        assert check.pairs > 0, str(check)
        assert check.largest_difference == pytest.approx(0, abs=1e-3)
        assert kind.recall < 1.0 or check.recall == 1.0, str(check)


def test_every_skip_names_a_behavior() -> None:
    for kind in KINDS:
        assert set(kind.skips) <= set(BEHAVIOURS), kind.id
        assert all(kind.skips.values()), kind.id
        assert kind.recall == 1.0 or kind.settings, kind.id
    assert len({kind.id for kind in KINDS}) == len(KINDS)
