"""Methods that correct cosines, against numpy on all pairs of questions and documents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonscale import Background, Calibration, Candidates, JointSearch, Question, QuestionBank
from commonscale.core.background import unsuited
from commonscale.core.corrected import CorrectedSource
from commonscale.core.errors import (
    CalibrationMismatchError,
    DegenerateStatisticsWarning,
    FileFormatError,
    InvalidInputError,
    MethodFallbackWarning,
    NotCalibratedError,
    SourceError,
    StaleCalibrationWarning,
    UnreadableVectorsError,
)
from commonscale.core.methods import DEFAULT
from commonscale.core.rescoring import rescored
from naive_methods import METHODS, naive, unit
from sources import ArraySource


class Readable(ArraySource):
    """An exact source whose vectors can be read."""

    def scan(self, size: int) -> Iterator[tuple[list[str], np.ndarray]]:
        for start in range(0, len(self.ids), 7):
            yield self.ids[start : start + 7], 3.0 * self.vectors[start : start + 7]


class Giving(Readable):
    """One that gives single vectors too."""

    def vectors_of(self, ids: Sequence[str]) -> np.ndarray:
        return self.vectors[[self.ids.index(key) for key in ids]]


def world(seed: int, texts: int = 60, images: int = 40, bank: int = 25, dimension: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    cone = 2.0 * rng.standard_normal(dimension)
    counts = {"text": texts, "image": images, "bank": bank, "asked": 10}
    shifts = {"text": 1.0, "image": -0.7, "bank": 0.8, "asked": 0.8}
    made = {k: rng.standard_normal((n, dimension)) + shifts[k] * cone for k, n in counts.items()}
    return {k: unit(v).astype(np.float32) for k, v in made.items()}


def searching(data: dict[str, np.ndarray], kind: type[ArraySource] = Readable) -> JointSearch:
    return JointSearch({m: kind([f"{m}:{i}" for i in range(len(data[m]))], data[m], m) for m in ("text", "image")})


def questions(rows: np.ndarray) -> list[Question]:
    return [Question(f"question {i}", row) for i, row in enumerate(rows)]


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 120), bank=st.integers(5, 30))
@settings(max_examples=25, deadline=None)
def test_the_joint_top_k_is_that_of_all_pairs(method: str, seed: int, k: int, bank: int) -> None:
    data = world(seed, bank=bank)
    search = searching(data)
    # The bank may be small: what is said of that is tested elsewhere.
    bank_ = QuestionBank.fit(questions(data["bank"]), search.sources, method=method)
    search.calibration = Calibration.from_bank(bank_) if bank >= 30 else _quietly(bank_)
    expected = naive(data, method)
    names = [f"{m}:{i}" for m in ("text", "image") for i in range(len(data[m]))]
    everything = np.concatenate([expected["text"], expected["image"]], axis=1)
    for place, ranking in enumerate(search.search_batch(questions(data["asked"]), k)):
        scores = everything[place]
        best = np.sort(scores)[::-1][:k]
        np.testing.assert_allclose([hit.score for hit in ranking], best, rtol=2e-5, atol=2e-5)
        by_name = dict(zip(names, scores, strict=True))
        np.testing.assert_allclose(
            [hit.score for hit in ranking], [by_name[i] for i in ranking.ids], rtol=2e-5, atol=2e-5
        )
        for hit in ranking:
            vector = data[hit.modality][int(hit.id.split(":")[1])]
            assert hit.cosine == pytest.approx(float(vector @ data["asked"][place]), abs=1e-5)


def _quietly(bank: QuestionBank) -> Calibration:
    with pytest.warns(UserWarning, match="different question"):
        return Calibration.from_bank(bank)


def test_only_as_much_is_fetched_as_is_needed() -> None:
    data = world(1, texts=4000, dimension=16, bank=40)
    search = searching(data)
    search.calibrate(questions(data["bank"]), method="centered")
    search.search(questions(data["asked"])[0], 5)
    depths = [k for _, k in search.sources["text"].calls]
    assert depths[0] == 80
    assert depths[-1] < 4000


def test_a_stated_number_of_hits_is_the_most() -> None:
    data = world(2, texts=400)
    search = searching(data)
    bank = QuestionBank.fit(questions(data["bank"]), search.sources, method="chance")
    source = CorrectedSource(search.sources["text"], bank.corrections["text"], "text", most=50)
    found = source.search(questions(data["asked"]), 50)
    assert {len(candidates.ids) for candidates in found} == {50}
    assert max(k for _, k in search.sources["text"].calls) == 50
    assert source.search([], 5) == []


def test_asynchronous_searches_give_the_same() -> None:
    data = world(3, bank=30)

    class Asking(Readable):
        async def asearch(self, asked: Sequence[Question], k: int) -> list[Candidates]:
            return self.search(asked, k)

    search, other = searching(data), searching(data, Asking)

    async def both() -> Any:
        await other.acalibrate(questions(data["bank"]), method="chance")
        return await other.asearch_batch(questions(data["asked"]), 7)

    search.calibrate(questions(data["bank"]), method="chance")
    assert search.search_batch(questions(data["asked"]), 7) == asyncio.run(both())


def test_the_default_needs_vectors_and_says_when_it_falls_back() -> None:
    data = world(4, bank=30)
    assert searching(data).calibrate(questions(data["bank"]), method="chance").method == "chance"
    assert DEFAULT == "auto"
    search = searching(data, ArraySource)
    with pytest.warns(MethodFallbackWarning, match=r"'standardized' instead of 'chance'.*ArraySource"):
        calibration = search.calibrate(questions(data["bank"]), method="chance")
    assert calibration == Calibration(
        searching(data).calibrate(questions(data["bank"]), method="standardized").modalities,
        questions=30,
        created=calibration.created,
    )
    with pytest.raises(UnreadableVectorsError, match="does not give back the vectors"):
        QuestionBank.fit(questions(data["bank"]), search.sources, method="chance")
    with pytest.raises(InvalidInputError, match="unknown method 'magic'; calibrate with one of chance"):
        search.calibrate(questions(data["bank"]), method="magic")


@pytest.mark.parametrize("kind", [Readable, Giving])
def test_documents_that_came_later_are_found_with_a_warning(kind: type[ArraySource]) -> None:
    data = world(5, bank=30)
    search = searching(data, kind)
    search.calibrate(questions(data["bank"]), method="chance")
    source = search.sources["text"]
    source.ids.append("text:new")
    source.vectors = np.concatenate([source.vectors, data["asked"][:1]])
    with pytest.warns(StaleCalibrationWarning, match="came after the calibration, such as 'text:new'"):
        ranking = search.search(questions(data["asked"])[0], 70)
    new = next(hit for hit in ranking if hit.id == "text:new")
    assert ranking.of("text")[0] is new
    if kind is Giving:
        assert new.cosine == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_saved_and_read_again_whole(method: str, tmp_path: Path) -> None:
    data = world(6, bank=30)
    search = searching(data)
    calibration = search.calibrate(questions(data["bank"]), method=method)
    calibration.save(tmp_path / "calibration.json")
    calibration.save(tmp_path / "calibration.json")
    assert len(list(tmp_path.iterdir())) == 2
    read = Calibration.load(tmp_path / "calibration.json")
    assert read == calibration
    again = searching(data)
    again.calibration = read
    assert again.search_batch(questions(data["asked"]), 9) == search.search_batch(questions(data["asked"]), 9)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder, npz: npz.unlink(), "is missing, which calibration.json needs"),
        (lambda folder, npz: npz.write_bytes(npz.read_bytes()[:-9]), "is damaged, or not the file"),
        (
            lambda folder, npz: (folder / "calibration.json").write_text(
                (folder / "calibration.json").read_text().replace(npz.name, "../" + npz.name)
            ),
            "not beside it",
        ),
    ],
)
def test_a_lost_or_damaged_table_is_told(spoil, message: str, tmp_path: Path) -> None:
    data = world(7, bank=30)
    searching(data).calibrate(questions(data["bank"]), method="chance").save(tmp_path / "calibration.json")
    spoil(tmp_path, next(tmp_path.glob("*.npz")))
    with pytest.raises(FileFormatError, match=message):
        Calibration.load(tmp_path / "calibration.json")


def test_a_plain_calibration_leaves_no_table_behind(tmp_path: Path) -> None:
    data = world(8, bank=30)
    search = searching(data)
    search.calibrate(questions(data["bank"]), method="chance").save(tmp_path / "calibration.json")
    search.calibrate(questions(data["bank"]), method="standardized").save(tmp_path / "calibration.json")
    assert [file.name for file in tmp_path.iterdir()] == ["calibration.json"]
    assert '"schema_version": 1' in (tmp_path / "calibration.json").read_text()


def test_hits_of_others_get_the_same_scores() -> None:
    data = world(9, bank=30)
    search = searching(data)
    calibration = search.calibrate(questions(data["bank"]), method="chance")
    question = questions(data["asked"])[0]
    hits = search.search(question, 30).of("text")
    cosines = np.array([hit.cosine for hit in hits])
    found = rescored(calibration, "text", cosines, [hit.id for hit in hits], question.vector)
    np.testing.assert_allclose(found, [hit.score for hit in hits], atol=1e-5)
    with pytest.raises(InvalidInputError, match="pass the question, and what embeds it"):
        rescored(calibration, "text", cosines, [hit.id for hit in hits], None)
    with pytest.warns(StaleCalibrationWarning, match="'unheard of'"):
        rescored(calibration, "text", cosines[:1], ["unheard of"], question.vector)


def test_a_modality_without_documents_is_absent() -> None:
    data = world(10, bank=30) | {"image": np.empty((0, 8), dtype=np.float32)}
    search = searching(data)
    with pytest.warns(UserWarning, match="modality 'image' returned no document"):
        calibration = search.calibrate(questions(data["bank"]), method="chance")
    assert list(calibration.modalities) == ["text"]
    assert len(search.search(questions(data["asked"])[0], 5)) == 5


def test_a_source_is_held_to_its_contract() -> None:
    data = world(11, bank=30)
    search = searching(data)
    search.calibrate(questions(data["bank"]), method="chance")
    search.sources["text"].search = lambda asked, k: [Candidates(["a"], np.array([np.nan])) for _ in asked]
    with pytest.raises(SourceError, match="null or not finite"):
        search.search(questions(data["asked"])[0], 5)
    search = searching(data)
    search.sources["text"].scan = lambda size: iter([(["a", "b"], np.ones((1, 8)))])
    with pytest.raises(SourceError, match=r"gave 2 ids with vectors of shape \(1, 8\)"):
        search.calibrate(questions(data["bank"]), method="chance")
    search.sources["text"].scan = lambda size: iter([(["a"], np.zeros((1, 8)))])
    with pytest.raises(SourceError, match="have no direction"):
        search.calibrate(questions(data["bank"]), method="chance")


def test_another_dimension_is_refused() -> None:
    data = world(12, bank=30)
    search = searching(data)
    search.calibrate(questions(data["bank"]), method="chance")
    with pytest.raises((CalibrationMismatchError, InvalidInputError), match="8"):
        search.search(Question("?", np.ones(5, dtype=np.float32)), 5)


def test_pictures_and_words_have_scales_of_their_own() -> None:
    data = world(13, bank=30)
    search = searching(data)
    words = questions(data["bank"])
    pictures = [Question(vector=row, kind="image") for row in data["image"][:30]]
    search.calibrate(words, method="chance")
    with pytest.raises(NotCalibratedError, match="no statistics of questions that are pictures"):
        search.search(pictures[0], 5)
    search.calibrate(pictures, method="chance")
    alone = searching(data)
    alone.calibrate(words, method="chance")
    batch = search.search_batch([words[0], pictures[0], words[1]], 5)
    assert batch[0::2] == alone.search_batch(words[:2], 5)
    assert batch[1] == search.search(pictures[0], 5)
    only = searching(data)
    only.calibrate(pictures, method="chance")
    assert only.search(pictures[0], 5) == batch[1]
    with pytest.raises(NotCalibratedError, match="covers"):
        only.search(words[0], 5)


class Wants:
    """A prior that adds a fixed number to a modality."""

    def __init__(self, **added: float) -> None:
        self.added = added

    def offsets(self, asked: Sequence[Question]) -> dict[str, np.ndarray]:
        return {m: np.full(len(asked), value) for m, value in self.added.items()}


def test_a_prior_is_added_to_the_scores() -> None:
    data = world(14, bank=30)
    search = searching(data)
    search.calibrate(questions(data["bank"]), method="chance")
    asked = questions(data["asked"])
    plain = search.search_batch(asked, 100)
    search.prior = Wants(image=1000.0)
    moved = search.search_batch(asked, 100)
    assert all(hit.modality == "image" for ranking in moved for hit in ranking.hits[:40])
    assert [hit.score - 1000.0 for hit in moved[0].of("image")] == pytest.approx(
        [h.score for h in plain[0].of("image")]
    )
    assert moved[0].of("text") == plain[0].of("text")
    raw = search.search_batch(asked, 5, raw=True)
    search.prior = None
    assert raw == search.search_batch(asked, 5, raw=True)


@pytest.mark.parametrize("bad", [{"mean": np.nan}, {"std": -1.0}, {"documents": 0}, {"p": 0.0}, {"p": 0.7}])
def test_a_background_must_make_sense(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="a background needs"):
        Background(**({"mean": 0.0, "std": 0.1, "documents": 10} | bad))


def test_the_chance_level_grows_with_the_documents() -> None:
    levels = [Background(0.1, 0.2, n).level for n in (1, 100, 10_000, 10**9)]
    assert levels == sorted(levels)
    assert levels[0] == pytest.approx(0.1 + 0.2 * NormalDist().inv_cdf(1 - 1e-5))
    assert Background(0.1, 0.0, 10).scale == 1.0


def test_strata_have_scales_of_their_own() -> None:
    data = world(15, bank=60)
    search = searching(data)
    asked = [Question(vector=row, stratum="a" if i % 2 else "b") for i, row in enumerate(data["bank"])]
    calibration = search.calibrate(asked, method="chance")
    assert set(calibration.strata) == {"a", "b"}
    question = Question(vector=data["asked"][0])
    scales = {key: search.search(replace(question, stratum=key), 3).hits for key in (None, "a", "b", "unknown")}
    assert scales[None] == scales["unknown"]
    assert scales["a"] != scales["b"]
    assert calibration.strata["a"].modalities["text"].correction is calibration.modalities["text"].correction


@pytest.mark.filterwarnings("ignore::commonscale.core.errors.DegenerateStatisticsWarning")
@pytest.mark.parametrize("method", METHODS)
def test_one_question_and_one_document_are_enough_to_go_on(method: str) -> None:
    rng = np.random.default_rng(0)
    data = world(16)
    search = JointSearch({"text": Readable(["a"], data["text"][:1]), "image": Readable(["b"], data["image"][:1])})
    with pytest.warns(UserWarning, match="1 different question"):
        search.calibrate([Question(vector=data["bank"][0])], method=method)
    assert len(search.search(Question(vector=rng.permutation(data["asked"][0])), 5)) == 2


def test_the_default_is_the_chance_level_unless_similarities_spread_widely() -> None:
    wide, narrow = world(17, bank=40), world(17, bank=40, dimension=64)
    for data, method in ((wide, "standardized"), (narrow, "chance")):
        found = searching(data).calibrate(questions(data["bank"]))
        chosen = searching(data).calibrate(questions(data["bank"]), method=method)
        assert found == replace(chosen, created=found.created)
        again = asyncio.run(searching(data).acalibrate(questions(data["bank"])))
        assert again == replace(chosen, created=again.created)
    assert all(e.background.std <= 0.3 for e in chosen.modalities.values() if e.background)


@pytest.mark.parametrize("copies", [1, 3])
def test_documents_that_do_not_differ_have_no_chance_level(copies: int) -> None:
    data = world(19, texts=1, bank=60, dimension=64)
    data["text"] = np.repeat(data["text"], copies, axis=0)
    search, bank = searching(data), questions(data["bank"])
    by_default = search.calibrate(bank)  # no warning: the paper's method is no worse for them
    assert by_default.method == "standardized"
    assert asyncio.run(search.acalibrate(bank)).method == "standardized"
    first = [search.search(question, 1)[0].modality for question in questions(data["asked"])]
    assert "image" in first
    said = "modality 'text' has 1 different document and similarities without spread .* method='standardized', or add"
    with pytest.warns(DegenerateStatisticsWarning, match=said) as caught:
        chosen = search.calibrate(bank, method="chance")
    assert len(caught) == 1
    assert chosen.method == "chance"
    assert [chosen.modalities[m].background.flat for m in ("text", "image")] == [True, False]


def test_two_different_documents_have_a_chance_level() -> None:
    data = world(19, texts=2, bank=60, dimension=64)
    calibration = searching(data).calibrate(questions(data["bank"]), method="chance")
    assert not calibration.modalities["text"].background.flat


@pytest.mark.parametrize(
    ("std", "documents", "expected"),
    [(0.1, 2, False), (0.1, 1, True), (0.0, 5, True), (0.31, 5, True), (0.3, 5, False)],
)
def test_what_is_unsuited_for_a_chance_level(std: float, documents: int, expected: bool) -> None:
    fine = Background(0.0, 0.1, 100)
    assert unsuited({"text": fine, "image": Background(0.0, std, documents)}) is expected
    assert not unsuited({})


def test_passages_stand_in_for_questions_that_are_missing() -> None:
    data = world(18, bank=40, dimension=64)
    search = searching(data)
    with pytest.warns(UserWarning, match="8 different questions"):
        few = search.calibrate(questions(data["bank"][:8]), method="chance")
    filled = search.calibrate(questions(data["bank"][:8]), at_least=40)
    assert (filled.method, filled.questions) == ("chance", 8)
    assert filled.modalities["text"].background != few.modalities["text"].background
    assert (
        search.calibrate(questions(data["bank"]), at_least=40).modalities
        == search.calibrate(questions(data["bank"])).modalities
    )
    with pytest.raises(InvalidInputError, match="at_least must be a number of questions"):
        search.calibrate(questions(data["bank"]), at_least=0)
    again = search.calibrate(questions(data["bank"][:8]), at_least=np.int64(40))  # type: ignore[arg-type]
    assert again == replace(filled, created=again.created)
    for bad in (np.int64(0), np.float64(40.0), np.True_, True, 40.5):
        with pytest.raises(InvalidInputError, match="at_least must be a number of questions"):
            search.calibrate(questions(data["bank"]), at_least=bad)  # type: ignore[arg-type]


def test_few_contenders_are_read_in_place_of_a_deeper_search() -> None:
    data = world(19, texts=3000, bank=40, dimension=24)
    counts = {}
    for kind in (Readable, Giving):
        search = searching(data, kind)
        search.calibrate(questions(data["bank"]), method="chance")
        counts[kind] = search.search_batch(questions(data["asked"]), 5), sum(n for n, _ in search.sources["text"].calls)
    assert counts[Readable][0] == counts[Giving][0]
    assert counts[Giving][1] < counts[Readable][1]


class Vanishing(Giving):
    """One whose newest document is deleted as soon as it has been found."""

    def vectors_of(self, ids: Sequence[str]) -> np.ndarray:
        if "text:new" in ids:
            raise InvalidInputError("no document has the id 'text:new'")
        return super().vectors_of(ids)


def test_a_new_document_that_goes_while_it_is_found_does_no_harm() -> None:
    data = world(5, bank=30)
    search = searching(data, Vanishing)
    search.calibrate(questions(data["bank"]), method="chance")
    source = search.sources["text"]
    source.ids.append("text:new")
    source.vectors = np.concatenate([source.vectors, data["asked"][:1]])
    with pytest.warns(StaleCalibrationWarning, match="came after the calibration"):
        assert len(search.search(questions(data["asked"])[0], 70)) == 70


@pytest.mark.parametrize("method", ["standardized", "chance"])
def test_strata_of_pictures_are_those_of_pictures_only(method: str) -> None:
    data = world(16, bank=30)
    search = searching(data)
    pictures = [
        replace(q, kind="image", stratum="ab"[i % 2]) for i, q in enumerate(questions(np.tile(data["bank"], (2, 1))))
    ]
    scale = search.calibrate(pictures, method=method).image_questions
    assert scale is not None
    assert search.calibration.for_question(pictures[0]) is scale.strata["a"]
    assert search.calibration.for_question(replace(pictures[0], stratum="other")) is scale
    with pytest.raises(NotCalibratedError, match="has no statistics"):
        search.search(replace(pictures[0], kind="text"), 3)
