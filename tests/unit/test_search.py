from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonscale import (
    Calibration,
    Candidates,
    Hit,
    JointSearch,
    ModalityCalibration,
    ModalityStatistics,
    Provenance,
    Question,
    Ranking,
)
from commonscale.core.errors import (
    CalibrationMismatchError,
    InvalidInputError,
    NotCalibratedError,
    SourceError,
)
from sources import ArraySource, unit_rows


def scale(**statistics: tuple[float, float]) -> Calibration:
    return Calibration({m: ModalityCalibration(ModalityStatistics(*s, 100)) for m, s in statistics.items()})


class ListSource:
    """Returns fixed hits, whatever the question."""

    def __init__(self, *hits: tuple[str, float], payloads: bool = False) -> None:
        self.hits = sorted(hits, key=lambda hit: -hit[1])
        self.payloads = payloads

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        best = self.hits[:k]
        ids = [name for name, _ in best]
        payloads = [name.upper() for name in ids] if self.payloads else None
        return [Candidates(ids, np.array([c for _, c in best], dtype=float), payloads) for _ in questions]


ASK = Question("which?", np.array([1.0, 0.0], dtype=np.float32))
TWO = {"text": ListSource(("t1", 0.9), ("t2", 0.8)), "image": ListSource(("i1", 0.36), ("i2", 0.2))}
SCALE = scale(text=(0.8, 0.1), image=(0.3, 0.02))


def test_hits_keep_cosine_modality_score_and_payload() -> None:
    sources = {"text": ListSource(("t1", 0.9), payloads=True), "image": TWO["image"]}
    ranking = JointSearch(sources, SCALE).search(ASK, 2)
    assert ranking.ids == ["i1", "t1"]
    assert [hit.modality for hit in ranking] == ["image", "text"]
    assert [hit.cosine for hit in ranking] == [0.36, 0.9]
    assert [hit.score for hit in ranking] == pytest.approx([3.0, 1.0])
    assert ranking[1].payload == "T1"
    assert ranking[:1] == (ranking[0],)
    assert ranking.of("text") == [ranking[1]]


def test_raw_ranks_by_cosine_without_calibration() -> None:
    ranking = JointSearch(TWO).search(ASK, 3, raw=True)
    assert ranking.ids == ["t1", "t2", "i1"]
    assert ranking[2].score == ranking[2].cosine == 0.36


def test_without_calibration_the_error_says_what_to_do() -> None:
    with pytest.raises(NotCalibratedError, match=r"calibrate\(questions\).*raw=True"):
        JointSearch(TWO).search(ASK, 3)


def test_a_modality_seen_in_search_but_not_in_calibration() -> None:
    with pytest.raises(NotCalibratedError, match="'image' has no statistics"):
        JointSearch(TWO, scale(text=(0.8, 0.1))).search(ASK, 3)


def test_an_uncalibrated_modality_without_documents_is_no_error() -> None:
    sources = {"text": TWO["text"], "image": ListSource()}
    assert JointSearch(sources, scale(text=(0.8, 0.1))).search(ASK, 3).ids == ["t1", "t2"]


def test_no_documents_at_all_give_an_empty_ranking() -> None:
    assert len(JointSearch({"text": ListSource()}, SCALE).search(ASK, 3)) == 0


def test_fewer_documents_than_k() -> None:
    assert len(JointSearch(TWO, SCALE).search(ASK, 100)) == 4


@pytest.mark.parametrize("k", [0, -1, 1.0, True, None])
def test_k_that_cannot_be_used(k: object) -> None:
    with pytest.raises(InvalidInputError, match="k must be an integer of at least 1"):
        JointSearch(TWO, SCALE).search(ASK, k)  # type: ignore[arg-type]


def test_ties_go_to_the_first_modality_then_to_the_sources_order() -> None:
    same = {"image": ListSource(("b", 0.5), ("a", 0.5)), "text": ListSource(("c", 0.5))}
    both = scale(image=(0.5, 0.1), text=(0.5, 0.2))
    assert JointSearch(same, both).search(ASK, 3).ids == ["b", "a", "c"]


def test_quotas() -> None:
    search = JointSearch(TWO, scale(text=(0.0, 0.1), image=(0.3, 0.02)))
    assert search.search(ASK, 2).ids == ["t1", "t2"]
    assert search.search(ASK, 2, minimum={"image": 1}).ids == ["t1", "i1"]
    assert search.search(ASK, 4, maximum={"text": 1}).ids == ["t1", "i1", "i2"]
    with pytest.raises(InvalidInputError, match="unknown modality 'video'"):
        search.search(ASK, 2, maximum={"video": 1})


def test_a_document_in_two_modalities_is_ranked_once_at_its_best_score() -> None:
    sources = {"text": ListSource(("cap", 0.7), ("t", 0.6)), "image": ListSource(("cap", 0.36), ("i", 0.1))}
    ranking = JointSearch(sources, SCALE).search(ASK, 4)
    assert ranking.ids == ["cap", "t", "i"]
    assert ranking[0] == Hit("cap", "image", 0.36, ranking[0].score)


def test_quotas_take_a_document_in_two_modalities_where_they_leave_room() -> None:
    # Captioned pictures that score higher as texts still count as pictures when pictures are asked for.
    sources = {
        "text": ListSource(*[(f"c{n}", 0.9 - n / 100) for n in range(3)]),
        "image": ListSource(*[(f"c{n}", 0.3 - n / 100) for n in range(3)], ("only", 0.1)),
    }
    search = JointSearch(sources, scale(text=(0.0, 0.1), image=(0.3, 0.1)))
    assert [(h.id, h.modality) for h in search.search(ASK, 2)] == [("c0", "text"), ("c1", "text")]
    wanted = search.search(ASK, 3, minimum={"image": 1})
    assert [(h.id, h.modality) for h in wanted] == [("c1", "text"), ("c2", "text"), ("c0", "image")]
    assert search.search(ASK, 4, maximum={"text": 0}).ids == ["c0", "c1", "c2", "only"]
    assert search.search(ASK, 4).ids == ["c0", "c1", "c2", "only"]


def test_a_ranking_under_quotas_begins_alike_for_every_k() -> None:
    # "d" is both; the only place for a picture goes to "a", so it is ranked as a text, whatever k is.
    sources = {
        "text": ListSource(("d", 0.9), ("e", 0.85), ("f", 0.84)),
        "image": ListSource(("a", 0.5), ("x", 0.49), ("y", 0.48), ("d", 0.47)),
    }
    search = JointSearch(sources, scale(text=(0.8, 0.1), image=(0.3, 0.1)))
    expected = [("a", "image"), ("d", "text"), ("e", "text"), ("f", "text")]
    for k in range(1, 8):
        found = search.search(ASK, k, maximum={"image": 1})
        assert [(hit.id, hit.modality) for hit in found] == expected[:k]


def greedy(
    entries: list[tuple[float, str, str]], k: int, minimum: dict[str, int], maximum: dict[str, int]
) -> list[tuple[float, str, str]]:
    """Choose among all entries (score, modality, id), best first: minima, then the rest, each id once."""
    chosen: list[tuple[float, str, str]] = []
    for limits, otherwise in ((minimum, 0), (maximum, k)):
        for entry in entries:
            _, modality, name = entry
            count = sum(other[1] == modality for other in chosen)
            free = all(other[2] != name for other in chosen)
            if len(chosen) < k and free and count < limits.get(modality, otherwise):
                chosen.append(entry)
    return sorted(chosen, key=lambda entry: -entry[0])


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    shared=st.booleans(),
    k=st.integers(1, 15),
    least=st.integers(0, 3),
    most=st.integers(0, 6),
)
def test_equals_brute_force_over_all_documents(
    seed: int, sizes: list[int], shared: bool, k: int, least: int, most: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = [f"m{i}" for i in range(len(sizes))]
    vectors = {m: unit_rows(rng, n, 6) for m, n in zip(labels, sizes, strict=True)}
    # Shared ids: document 3 of every modality is the same document.
    ids = {m: [f"{'' if shared else m}-{i}" for i in range(len(v))] for m, v in vectors.items()}
    sources = {m: ArraySource(ids[m], v, m) for m, v in vectors.items()}
    calibration = scale(**{m: (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(0.01, 1))) for m in labels})
    questions = [Question(vector=v) for v in unit_rows(rng, 3, 6)]
    minimum, maximum = {labels[0]: min(least, most, k)}, {labels[0]: most}
    rankings = JointSearch(sources, calibration).search_batch(questions, k, minimum=minimum, maximum=maximum)
    for question, ranking in zip(questions, rankings, strict=True):
        entries = [
            (float(score), m, ids[m][i])
            for m, v in vectors.items()
            for i, score in enumerate(calibration.standardize((v @ question.vector).astype(float), m))
        ]
        entries.sort(key=lambda entry: -entry[0])
        expected = greedy(entries, k, minimum, maximum)
        assert [(hit.modality, hit.id) for hit in ranking] == [(m, name) for _, m, name in expected]
        assert [hit.score for hit in ranking] == pytest.approx([score for score, _, _ in expected], abs=1e-6)


def test_a_batch_asks_each_source_once_and_equals_single_searches() -> None:
    rng = np.random.default_rng(1)
    sources = {m: ArraySource([f"{m}{i}" for i in range(30)], unit_rows(rng, 30, 4), m) for m in ("text", "image")}
    search = JointSearch(sources, SCALE)
    questions = [Question(vector=v) for v in unit_rows(rng, 5, 4)]
    batch = search.search_batch(questions, 7)
    assert [source.calls for source in sources.values()] == [[(5, 7)], [(5, 7)]]
    for one, question in zip(batch, questions, strict=True):
        alone = search.search(question, 7)
        assert one.ids == alone.ids
        # Matrix products of other shapes may round differently in the last float32 digit.
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in alone], abs=1e-4)
    assert search.search_batch([], 7) == []


async def test_async_equals_sync_and_runs_sources_off_the_event_loop() -> None:
    loop_thread = threading.get_ident()
    seen: list[bool] = []

    class Recording(ListSource):
        def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
            seen.append(threading.get_ident() == loop_thread)
            return super().search(questions, k)

    sources = {"text": Recording(*TWO["text"].hits), "image": Recording(*TWO["image"].hits)}
    found = await JointSearch(sources, SCALE).asearch(ASK, 3)
    assert found == JointSearch(TWO, SCALE).search(ASK, 3)
    assert seen == [False, False]
    assert await JointSearch(TWO, SCALE).asearch_batch([], 3) == []


async def test_async_honors_quotas() -> None:
    sources = {"text": ListSource(("c", 0.9)), "image": ListSource(("c", 0.3), ("only", 0.1))}
    ranking = await JointSearch(sources, SCALE).asearch(ASK, 1, minimum={"image": 1}, maximum={"text": 0})
    assert [(hit.id, hit.modality) for hit in ranking] == [("c", "image")]


def test_only_sources_that_allow_it_leave_the_callers_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonscale.core.concurrency.processors", lambda: 2)
    seen: dict[str, int] = {}
    barrier = threading.Barrier(2, timeout=10)

    class Recording(ListSource):
        def __init__(self, name: str, concurrent: bool) -> None:
            super().__init__((name, 0.5))
            self.name, self.concurrent = name, concurrent

        def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
            seen[self.name] = threading.get_ident()
            if self.name in ("b", "c"):
                barrier.wait()  # met only if both run at the same time
            return super().search(questions, k)

    sources = {name: Recording(name, concurrent=name == "c") for name in ("a", "b", "c")}
    JointSearch(sources).search(ASK, 3, raw=True)
    assert seen["a"] == seen["b"] == threading.get_ident()
    assert seen["c"] != threading.get_ident()


async def test_a_source_with_asearch_is_awaited() -> None:
    class Native(ListSource):
        async def asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
            return ListSource(("native", 0.9)).search(questions, k)

    assert (await JointSearch({"text": Native(("other", 0.5))}, SCALE).asearch(ASK, 1)).ids == ["native"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "answered 0 of 1 questions"),
        ([Candidates(["a", "b", "c"], np.zeros(3))], "3 hits where 2 were asked for"),
        ([Candidates(["a"], np.zeros(2))], r"1 ids with cosines of shape \(2,\)"),
        ([[("a", 0.3)]], r"list for a question; search\(\) must return Candidates"),
        ([Candidates(["a"], [0.5])], "1 ids with cosines of shape list; a numpy array"),
        ([Candidates(["a", "a"], np.zeros(2))], "a document twice"),
        (
            [Candidates(["a"], np.array([37.5]))],
            "a cosine of 37.5 in absolute value; a source must return true cosines",
        ),
        ([Candidates(["a", "b"], np.array([0.1, -1.5]))], "a cosine of 1.5 in absolute value"),
        ([Candidates(["a"], np.zeros(1), [])], "1 ids with 0 payloads"),
        ([Candidates(["a", "b"], np.array([np.inf, 0.1]))], "cosine inf for document 'a'"),
        ([Candidates(["a", "b"], np.array([0.1, np.nan]))], "cosine nan for document 'b'"),
        ([Candidates(["a", "b"], np.array([0.1, 0.2]))], r"not sorted by cosine, best first: \[0.1, 0.2\]"),
    ],
)
async def test_a_source_that_breaks_its_contract(answer: list[Candidates], message: str) -> None:
    class Broken:
        def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
            return answer

    search = JointSearch({"text": Broken()}, SCALE)
    with pytest.raises(SourceError, match=f"modality 'text' .*{message}"):
        search.search(ASK, 2)
    with pytest.raises(SourceError, match=message):
        await search.asearch(ASK, 2)


def test_a_calibration_for_another_encoder_is_refused_when_set() -> None:
    mine, other = Provenance("clip:1", 2), Provenance("clip:2", 2)
    foreign = Calibration({"text": ModalityCalibration(ModalityStatistics(0.5, 0.1, 100), other)})
    with pytest.raises(CalibrationMismatchError, match="'clip:2', not 'clip:1'"):
        JointSearch(TWO, foreign, provenance={"text": mine})
    search = JointSearch(TWO, SCALE, provenance={"text": mine})
    with pytest.raises(CalibrationMismatchError):
        search.calibration = foreign
    assert search.calibration is SCALE


def test_a_question_of_another_dimension_is_refused() -> None:
    entry = ModalityCalibration(ModalityStatistics(0.5, 0.1, 100), Provenance(dimension=3))
    with pytest.raises(CalibrationMismatchError, match=r"vector of shape \(2,\) for modality 'text'.*dimension 3"):
        JointSearch({"text": TWO["text"]}, Calibration({"text": entry})).search(ASK, 1)


def test_the_dimension_of_a_modality_that_is_not_searched_does_not_matter() -> None:
    entry = ModalityCalibration(ModalityStatistics(0.5, 0.1, 100), Provenance(dimension=2))
    other = ModalityCalibration(ModalityStatistics(0.5, 0.1, 100), Provenance(dimension=3))
    found = JointSearch({"text": TWO["text"]}, Calibration({"text": entry, "image": other})).search(ASK, 1)
    assert found.ids == ["t1"]


def test_sources_that_are_no_mapping() -> None:
    with pytest.raises(InvalidInputError, match="mapping from modality to source, got list"):
        JointSearch([ListSource()])  # type: ignore[arg-type]


def test_no_sources() -> None:
    with pytest.raises(InvalidInputError, match="at least one source"):
        JointSearch({})


def test_calibrate_uses_the_questions_and_then_searches() -> None:
    rng = np.random.default_rng(2)
    sources = {m: ArraySource([f"{m}{i}" for i in range(30)], unit_rows(rng, 30, 4), m) for m in ("text", "image")}
    search = JointSearch(sources, provenance={"text": Provenance("clip:1", 4, "cosine")})
    calibration = search.calibrate([Question(vector=v) for v in unit_rows(rng, 40, 4)], method="standardized")
    assert search.calibration is calibration
    assert calibration.questions == 40
    assert calibration.method == "standardized"
    assert calibration.modalities["text"].provenance == Provenance("clip:1", 4, "cosine")
    assert len(search.search(Question(vector=unit_rows(rng, 1, 4)[0]), 5)) == 5


def test_a_failed_calibration_keeps_the_one_in_use() -> None:
    search = JointSearch({"text": ListSource()}, SCALE)
    with (
        pytest.warns(UserWarning, match="no document"),
        pytest.raises(InvalidInputError, match="index documents first"),
    ):
        search.calibrate([ASK] * 30, method="standardized")
    assert search.calibration is SCALE


def test_a_calibration_swapped_in_during_a_search_serves_the_next_one() -> None:
    later = scale(text=(0.7, 0.1), image=(0.1, 0.1))

    class Swapping(ListSource):
        def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
            search.calibration = later
            return super().search(questions, k)

    first = scale(text=(0.8, 0.1), image=(0.2, 0.1))
    search = JointSearch({"text": Swapping(("t", 0.9)), "image": Swapping(("i", 0.3))}, first)
    assert [hit.score for hit in search.search(ASK, 2)] == pytest.approx([1, 1])
    assert [hit.score for hit in search.search(ASK, 2)] == pytest.approx([2, 2])


def test_swapping_calibrations_while_searching_never_mixes_two() -> None:
    # Under one calibration both scores are 1, under the other both are 2; a mixed ranking would hold 1 and 2.
    sources = {"text": ListSource(("t", 0.9)), "image": ListSource(("i", 0.3))}
    ones, twos = scale(text=(0.8, 0.1), image=(0.2, 0.1)), scale(text=(0.7, 0.1), image=(0.1, 0.1))
    search = JointSearch(sources, ones)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            search.calibration = twos
            search.calibration = ones

    def ask(_: int) -> Ranking:
        return search.search(ASK, 2)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            rankings = list(pool.map(ask, range(2000)))
    finally:
        stop.set()
        swapper.join()
    seen = {tuple(round(hit.score) for hit in ranking) for ranking in rankings}
    assert seen <= {(1, 1), (2, 2)}
