from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonscale import Calibration, JointSearch, LivingCalibration, Provenance, Question, QuestionBank
from commonscale.core.errors import (
    CalibrationMismatchError,
    DegenerateStatisticsWarning,
    FewQuestionsWarning,
    FileFormatError,
    InvalidInputError,
    MethodFallbackWarning,
    SourceError,
)
from commonscale.core.fitting import ModalityPass
from commonscale.core.own_documents import IDENTICAL
from living_world import BlindStore, ChangingStore
from sources import unit_rows

RNG = np.random.default_rng(11)
ASKED = [Question(vector=vector) for vector in unit_rows(RNG, 120, 16)]
METHODS = ("standardized", "centered", "centered+standardized", "chance")


def make_stores(texts: int = 300, images: int = 120) -> dict[str, ChangingStore]:
    rng = np.random.default_rng(3)
    return {
        modality: ChangingStore(modality, {f"{modality}{i}": row for i, row in enumerate(unit_rows(rng, count, 16))})
        for modality, count in (("text", texts), ("image", images))
    }


def assert_alike(one: Calibration, other: Calibration, tolerance: float = 1e-6) -> None:
    assert one.method == other.method
    assert set(one.modalities) == set(other.modalities)
    for modality, entry in one.modalities.items():
        same = other.modalities[modality]
        assert entry.statistics.mean == pytest.approx(same.statistics.mean, abs=tolerance)
        assert entry.statistics.std == pytest.approx(same.statistics.std, abs=tolerance)
        assert entry.location == pytest.approx(same.location, abs=tolerance)
        assert entry.scale == pytest.approx(same.scale, abs=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_and_a_refit_are_those_of_a_question_bank(method: str) -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method=method)
    assert_alike(living.calibration, Calibration.from_bank(QuestionBank.fit(ASKED[:60], stores, method=method)))
    new = unit_rows(RNG, 40, 16)
    stores["image"].documents |= {f"new{i}": row for i, row in enumerate(new)}
    living.added("image", [f"new{i}" for i in range(40)], new)
    assert (living.shift["image"] > 0.01) == (method != "standardized")
    assert_alike(living.refit(), Calibration.from_bank(QuestionBank.fit(ASKED[:60], stores, method=method)))
    assert living.shift == pytest.approx({"text": 0.0, "image": 0.0}, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_additions_search_and_read_nothing(method: str) -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method=method)
    for store in stores.values():
        store.asked.clear()
        store.read = 0
    for start in range(0, 60, 20):
        rows = unit_rows(RNG, 20, 16)
        ids = [f"n{start + i}" for i in range(20)]
        stores["text"].documents |= dict(zip(ids, rows, strict=True))
        living.added("text", ids, rows)
    assert [(store.asked, store.read) for store in stores.values()] == [([], 0), ([], 0)]
    assert (living.searched, living.scans) == (0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_only_questions_that_lost_their_best_hit_are_searched_again(method: str) -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method=method)
    bank = QuestionBank.fit(ASKED[:60], stores, method=method)
    best = bank.best["text"].ids
    gone = [key for key in stores["text"].documents if key in best][:3] + [f"text{i}" for i in range(40, 60)]
    lost = sum(key in gone for key in best)
    stores["text"].asked.clear()
    stores["image"].asked.clear()
    before = living.remember("text", gone)
    for key in gone:
        del stores["text"].documents[key]
    living.removed("text", gone, before)
    assert 0 < lost < 60
    assert living.searched == lost
    # Corrected similarities may take deeper searches, but of these questions only.
    assert stores["text"].asked[0] == lost
    assert max(stores["text"].asked) == lost
    assert stores["image"].asked == []
    assert living.scans == 0


def test_removing_what_is_nobodys_best_hit_searches_nothing() -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method="standardized")
    best = set(QuestionBank.fit(ASKED[:60], stores).best["text"].ids)
    stores["text"].asked.clear()
    before = living.calibration
    living.removed("text", ["nobody", *(key for key in stores["text"].documents if key not in best)])
    assert stores["text"].asked == []
    assert living.calibration.modalities == before.modalities


def test_a_document_that_is_added_again_as_it_is_costs_nothing() -> None:
    stores = make_stores()
    for method in METHODS:
        living = LivingCalibration.fit(ASKED[:60], stores, method=method)
        before = living.calibration
        ids = list(stores["text"].documents)
        living.added("text", ids, 2.0 * np.stack(list(stores["text"].documents.values())))
        assert (living.searched, living.scans) == (0, 0)
        assert_alike(living.calibration, before)


def test_replaced_documents_need_their_old_vectors_or_all_are_read() -> None:
    stores = make_stores()
    ids, rows = [f"text{i}" for i in range(5)], unit_rows(RNG, 5, 16)
    expected = None
    for kept, remembered, scans in ((False, True, 0), (True, False, 0), (False, False, 1)):
        stores = make_stores()
        living = LivingCalibration.fit(ASKED[:60], stores, method="chance", keep_vectors=kept)
        before = living.remember("text", [*ids, "unknown"]) if remembered else None
        stores["text"].documents |= dict(zip(ids, rows, strict=True))
        living.added("text", ids, rows, before)
        assert living.scans == scans
        expected = expected or living.calibration
        assert_alike(living.calibration, expected, 1e-7)
        assert kept or not remembered or set(before or ()) == set(ids)


def test_of_an_id_that_comes_twice_the_last_vector_counts() -> None:
    stores = make_stores()
    rows = unit_rows(RNG, 2, 16)
    stores["text"].documents["twice"] = rows[1]
    living = LivingCalibration.fit(ASKED[:60], make_stores(), method="chance")
    living.added("text", ["twice", "twice"], rows)
    other = LivingCalibration.fit(ASKED[:60], make_stores(), method="chance")
    other.added("text", ["twice"], rows[1:])
    assert_alike(living.calibration, other.calibration, 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_modality_comes_and_goes(method: str) -> None:
    stores = make_stores(images=0)
    with pytest.warns(match="'image' returned no document"):
        living = LivingCalibration.fit(ASKED[:60], stores, method=method)
    assert set(living.calibration.modalities) == {"text"}
    for key, row in zip("abc", unit_rows(RNG, 3, 16), strict=True):
        stores["image"].documents[key] = row
        living.added("image", [key], row[None])
        assert set(living.calibration.modalities) == {"text", "image"}
    assert_alike(living.refit(), LivingCalibration.fit(ASKED[:60], stores, method=method).calibration)
    stores["image"].documents.clear()
    living.removed("image", ["a", "b", "c"])
    assert set(living.calibration.modalities) == {"text"}
    texts = list(stores["text"].documents)
    stores["text"].documents.clear()
    living.removed("text", texts)
    assert set(living.calibration.modalities) == {"text"}  # the last one stays until documents come


def test_small_modalities_are_centred_anew_when_they_have_doubled() -> None:
    stores = make_stores(images=4)
    living = LivingCalibration.fit(ASKED[:60], stores, method="chance")
    rows = unit_rows(RNG, 400, 16)
    for i, row in enumerate(rows):
        stores["image"].documents[f"n{i}"] = row
        living.added("image", [f"n{i}"], row[None])
    # At 8, 16, 32, 64 and 128; a mean of 100 documents stays.
    assert living.scans == 5
    assert living.shift["image"] > 0.01


def test_a_mean_that_moves_too_far_is_taken_anew() -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method="chance", recenter_beyond=0.1)
    far = unit_rows(RNG, 200, 16) + np.float32(0.5)
    far /= np.linalg.norm(far, axis=1, keepdims=True)
    shifts = []
    for i, row in enumerate(far):
        stores["text"].documents[f"far{i}"] = row
        living.added("text", [f"far{i}"], row[None])
        shifts.append(living.shift["text"])
    assert max(shifts) <= 0.1
    assert sum(b < a / 2 for a, b in pairwise(shifts)) >= 2  # it was taken anew at least twice


@pytest.mark.parametrize("method", METHODS)
def test_joining_questions_is_a_sample_of_the_stream(method: str) -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:40], stores, method=method, capacity=50, join_every=1, seed=4)
    for start in range(40, 120, 16):
        living.join(ASKED[start : start + 16])
    banked = living.questions()
    assert len(banked) == 50
    places = [next(i for i, q in enumerate(ASKED) if q.vector is one.vector) for one in banked]
    assert len(set(places)) == 50
    assert min(places) < 40 < max(places)
    if method in ("standardized", "centered", "centered+standardized"):
        assert living.scans == 0
        assert living.searched < 2 * (50 + 80)  # those that entered, in both modalities
    expected = LivingCalibration.fit(banked, stores, method=method)
    if method == "standardized":
        assert_alike(living.calibration, expected.calibration)
    else:
        assert_alike(living.refit(), expected.calibration)


def test_at_the_chance_level_questions_wait_for_each_other() -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method="chance", forgetting=60 * np.log(2) + 1)
    for question in ASKED[60:100]:
        living.join([question])
    assert 2 * 10 <= living.scans <= 2 * 40 // 3  # a twentieth of the bank are 3 questions; both modalities are read
    scans, banked = living.scans, living.questions()
    living.flush()
    assert living.scans in (scans, scans + 2)
    assert living.scans == scans or living.questions() != banked
    living.flush()
    assert living.scans in (scans, scans + 2)


def test_wording_is_kept_only_if_asked_for() -> None:
    questions = [Question(f"secret {i}", q.vector) for i, q in enumerate(ASKED)]
    for keep in (False, True):
        living = LivingCalibration.fit(questions[:60], make_stores(), method="standardized", keep_text=keep)
        living.join(questions[60:])
        assert all(bool(question.text) == keep for question in living.questions())


def read_anew(scale: Calibration, questions: Sequence[Question], stores: dict[str, ChangingStore]) -> Calibration:
    """Fit pictures as questions in one pass over each store, with the means of a calibration."""
    fitted = {}
    for modality, entry in scale.modalities.items():
        known = entry.correction
        assert known is not None
        rows = np.stack([question.vector_for(modality) for question in questions])
        once = ModalityPass(rows, known.question_mean, known.document_mean, known.hub_weight, IDENTICAL)
        for ids, vectors in stores[modality].scan():
            once.add(ids, vectors)
        fitted[modality] = once.fitted(background=scale.method == "chance")
    return Calibration.from_bank(QuestionBank.from_fitted(questions, fitted, scale.method))


@pytest.mark.parametrize("method", METHODS)
def test_questions_that_are_pictures_have_a_bank_of_their_own(method: str) -> None:
    stores = make_stores()
    held = stores["image"].documents
    pictures = [Question(vector=held[f"image{i}"], kind="image") for i in range(40)]
    living = LivingCalibration.fit([*ASKED[:60], *pictures], stores, method=method)
    search = JointSearch(stores)

    def calibrated() -> Calibration:
        search.calibrate([*living.questions(), *living.questions("image")], method=method)
        assert search.calibration is not None
        return search.calibration

    def of_pictures(calibration: Calibration) -> Calibration:
        assert calibration.image_questions is not None
        return calibration.image_questions

    def check() -> None:
        now = of_pictures(living.calibration)
        same = (
            of_pictures(calibrated()) if method == "standardized" else read_anew(now, living.questions("image"), stores)
        )
        assert_alike(now, same)

    assert_alike(living.calibration, calibrated())
    check()
    living.join([Question(vector=row, kind="image") for row in unit_rows(RNG, 5, 16)])
    living.flush()
    assert len(living.questions("image")) == 40
    check()
    # The same pictures again: documents that are a question themselves come and go without a trace in its statistics.
    again = {f"again{i}": held[f"image{i}"] for i in range(20)}
    held |= again
    living.added("image", list(again), np.stack(list(again.values())))
    check()
    living.removed("image", ["again3", "image4", "image50"])
    for key in ("again3", "image4", "image50"):
        del held[key]
    check()
    living.refit()
    assert_alike(of_pictures(living.calibration), of_pictures(calibrated()))


def test_pictures_may_come_first_or_later() -> None:
    stores = make_stores()
    pictures = [Question(vector=row, kind="image") for row in unit_rows(RNG, 30, 16)]
    living = LivingCalibration.fit(pictures, stores, method="standardized")
    assert living.calibration.modalities == {}
    assert living.questions() == ()
    assert living.reference() == {}
    living.join(ASKED[:30])
    assert set(living.calibration.modalities) == {"text", "image"}
    assert len(living.questions()) == 30


def test_strata_live_too() -> None:
    stores = make_stores()
    keyed = [Question(vector=q.vector, stratum="ab"[i % 2]) for i, q in enumerate(ASKED[:80])]
    living = LivingCalibration.fit(keyed, stores, method="chance")
    assert set(living.calibration.strata) == {"a", "b"}
    row = np.stack([q.vector for q in keyed if q.vector is not None][:1])
    stores["text"].documents["copy"] = row[0]
    living.added("text", ["copy"], row)
    assert_alike(
        living.calibration.strata["a"],
        LivingCalibration.fit(keyed, stores, method="chance").calibration.strata["a"],
        0.01,
    )
    assert living.calibration.for_question(keyed[0]) is living.calibration.strata["a"]


def test_a_search_that_follows_uses_the_newest_calibration() -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method="chance")
    search = JointSearch(stores)
    end = living.attach(search)
    assert search.calibration is living.calibration
    row = unit_rows(RNG, 1, 16)
    stores["text"].documents["new"] = row[0]
    living.added("text", ["new"], row)
    assert search.calibration is living.calibration
    ranking = search.search(Question(vector=row[0]), 5)  # the new document is known: no StaleCalibrationWarning
    assert ranking[0].id == "new"
    end()
    last = search.calibration
    living.removed("text", ["new"])
    assert search.calibration is last
    other = JointSearch(stores, provenance={"text": Provenance(dimension=8)})
    with pytest.raises(CalibrationMismatchError):
        LivingCalibration.fit(ASKED[:60], stores, provenance={"text": Provenance(dimension=16)}).attach(other)


def test_callbacks_come_in_order_until_they_end() -> None:
    living = LivingCalibration.fit(ASKED[:60], make_stores(), method="standardized")
    seen: list[Calibration] = []
    end = living.on_change(seen.append)
    living.added("text", ["x"], unit_rows(RNG, 1, 16))
    living.join(ASKED[60:61])
    assert seen[-1] is living.calibration
    assert len(seen) == 2
    end()
    end()
    living.refit()
    assert len(seen) == 2


def test_every_ranking_comes_from_one_calibration_while_it_is_swapped() -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method="standardized")
    search = JointSearch(stores)
    seen = [living.calibration]
    living.on_change(seen.append)
    living.attach(search)
    stop, faults, counted = threading.Event(), list[str](), list[int]()

    def ask() -> None:
        rankings = []
        while not stop.is_set() or not rankings:
            rankings.append(search.search(ASKED[len(rankings) % 60], 8, minimum={"text": 1, "image": 1}))
        counted.append(len(rankings))
        for ranking in rankings:
            fits = [
                all(abs(hit.score - c.standardize([hit.cosine], hit.modality)[0]) < 1e-9 for hit in ranking)
                for c in seen
            ]
            if not any(fits):
                faults.append(str(ranking))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    rows = unit_rows(np.random.default_rng(8), 60, 16)
    for i, row in enumerate(rows):
        # Not put into the stores, which are searched meanwhile: the calibration changes, the hits do not.
        living.added("text" if i % 2 else "image", [f"n{i}"], row[None])
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(counted) == 3
    assert len(seen) == 61


def test_updates_from_several_threads_are_all_counted() -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method="chance")
    rows = unit_rows(RNG, 80, 16)
    stores["text"].documents |= {f"n{i}": row for i, row in enumerate(rows)}

    def add(part: int) -> None:
        for i in range(part, 80, 4):
            living.added("text", [f"n{i}"], rows[i : i + 1])

    threads = [threading.Thread(target=add, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    background = living.calibration.modalities["text"].background
    assert background is not None
    assert background.documents == 380


@pytest.mark.parametrize("method", METHODS)
def test_a_failed_update_leaves_the_calibration_and_is_made_up_for(method: str) -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method=method)
    before = living.calibration
    gone = [f"text{i}" for i in range(250)]
    known = living.remember("text", gone)
    for key in gone:
        del stores["text"].documents[key]
    stores["text"].failing = True
    with pytest.raises(SourceError, match="down"):
        living.removed("text", gone, known)
    assert living.calibration is before
    stores["text"].failing = False
    row = unit_rows(RNG, 1, 16)
    stores["text"].documents["late"] = row[0]
    living.added("text", ["late"], row)
    assert_alike(living.refit(), LivingCalibration.fit(ASKED[:60], stores, method=method).calibration)
    stores["image"].failing = True
    with pytest.raises(SourceError, match="down"):
        living.refit()


def test_scores_of_another_kind_are_searched_again() -> None:
    class Words(ChangingStore):
        unbounded = True
        by_text = True

    stores: dict[str, ChangingStore] = {"text": Words("text", make_stores()["text"].documents)}
    questions = [Question(f"words {i}", q.vector) for i, q in enumerate(ASKED[:40])]
    with pytest.raises(InvalidInputError, match="keep_text=True"):
        LivingCalibration.fit(questions, stores, method="standardized")
    living = LivingCalibration.fit(questions, stores, method="standardized", keep_text=True)
    stores["text"].documents["new"] = unit_rows(RNG, 1, 16)[0]
    living.added("text", ["new"], None)
    assert living.searched == 40
    living.removed("text", ["new"])
    assert living.searched == 80
    assert_alike(
        living.calibration,
        LivingCalibration.fit(questions, stores, method="standardized", keep_text=True).calibration,
        1,
    )


def test_without_vectors_everything_is_learned_anew() -> None:
    stores = make_stores()
    for method in ("standardized", "chance"):
        living = LivingCalibration.fit(ASKED[:60], stores, method=method)
        row = unit_rows(RNG, 1, 16)[0]
        stores["text"].documents[method] = row
        living.added("text", [method], None)
        assert_alike(living.calibration, LivingCalibration.fit(ASKED[:60], stores, method=method).calibration, 1e-3)


def test_stores_that_cannot_be_read_fall_back() -> None:
    stores = make_stores() | {"image": BlindStore("image", make_stores()["image"].documents)}
    with pytest.warns(MethodFallbackWarning, match="calibrated with method 'standardized', not 'chance'"):
        living = LivingCalibration.fit(ASKED[:60], stores)
    assert living.calibration.method == "standardized"
    assert living.remember("image", ["image1"]) == {}


@pytest.mark.parametrize("method", METHODS)
def test_a_file_holds_all_that_goes_on(method: str, tmp_path: Path) -> None:
    stores = make_stores()
    pictures = [Question(vector=row, kind="image") for row in unit_rows(RNG, 31, 16)]
    words = [Question(f"w{i}", q.vector, stratum="s" if i % 2 else None) for i, q in enumerate(ASKED)]
    settings = {"method": method, "capacity": 70, "keep_vectors": True, "keep_text": True, "join_every": 30}
    living = LivingCalibration.fit(
        [*words[:60], *pictures], stores, provenance={"text": Provenance("clip", 16)}, **settings
    )
    living.join(words[60:80])
    living.save(tmp_path / "living.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["living.npz"]
    for store in stores.values():
        store.asked.clear()
    loaded = LivingCalibration.load(tmp_path / "living.npz", stores)
    assert [store.asked for store in stores.values()] == [[], []]
    assert loaded.settings == living.settings
    assert loaded.provenance == living.provenance
    assert_alike(loaded.calibration, living.calibration, 0)
    assert loaded.calibration.image_questions is not None
    assert [q.text for q in loaded.questions()] == [q.text for q in living.questions()]
    row = unit_rows(RNG, 1, 16)
    stores["text"].documents["text7"] = row[0]
    for one in (living, loaded):
        one.added("text", ["text7"], row)
        one.join(words[80:])
        one.removed("image", ["image5"])
        one.flush()
    del stores["image"].documents["image5"]
    assert [q.text for q in loaded.questions()] == [q.text for q in living.questions()]
    assert [q.stratum for q in loaded.questions()] == [q.stratum for q in living.questions()]
    assert_alike(loaded.calibration, living.calibration, 1e-9)
    assert loaded.scans == living.scans


def test_files_hold_no_wording_unless_asked_to(tmp_path: Path) -> None:
    questions = [Question(f"Geheimnis {i}", q.vector) for i, q in enumerate(ASKED[:40])]
    for keep in (False, True):
        living = LivingCalibration.fit(questions, make_stores(), keep_text=keep)
        living.save(tmp_path / "living.npz")
        assert (b"Geheimnis" in (tmp_path / "living.npz").read_bytes()) == keep


def test_questions_with_a_vector_for_each_modality_are_kept_as_they_are(tmp_path: Path) -> None:
    stores = make_stores()
    stores["image"] = ChangingStore("image", {f"i{n}": row for n, row in enumerate(unit_rows(RNG, 50, 8))})
    rows = unit_rows(RNG, 40, 8)
    questions = [Question(vectors={"text": ASKED[i].vector_for("text"), "image": rows[i]}) for i in range(40)]
    living = LivingCalibration.fit(questions, stores)
    living.save(tmp_path / "living.npz")
    loaded = LivingCalibration.load(tmp_path / "living.npz", stores)
    np.testing.assert_array_equal(loaded.questions()[7].vector_for("image"), rows[7])
    assert loaded.questions()[7].vector is None
    assert_alike(loaded.calibration, living.calibration, 0)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    stores = make_stores()
    LivingCalibration.fit(ASKED[:40], stores).save(tmp_path / "living.npz")
    with pytest.raises(FileNotFoundError):
        LivingCalibration.load(tmp_path / "none.npz", stores)
    with pytest.raises(InvalidInputError, match=r"of the modalities \['image', 'text'\], the sources of \['text'\]"):
        LivingCalibration.load(tmp_path / "living.npz", {"text": stores["text"]})
    data = (tmp_path / "living.npz").read_bytes()
    for bad in (b"", b"not a zip", data[: len(data) // 2], data[:2000] + b"\0" * 50 + data[2050:]):
        (tmp_path / "bad.npz").write_bytes(bad)
        with pytest.raises(FileFormatError, match=r"bad\.npz"):
            LivingCalibration.load(tmp_path / "bad.npz", stores)
    np.savez(tmp_path / "other.npz", description=np.frombuffer(b'{"format": "x"}', dtype=np.uint8))
    with pytest.raises(FileFormatError, match=r"is 'x', not 'commonscale\.living'"):
        LivingCalibration.load(tmp_path / "other.npz", stores)


def changed(path: Path, to: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """Write a file with a change in its description or its arrays."""
    with np.load(path) as read:
        arrays = dict(read)
    description = json.loads(arrays["description"].tobytes())
    change(description, arrays)
    arrays["description"] = np.frombuffer(json.dumps(description).encode(), dtype=np.uint8)
    np.savez(to, **arrays)
    return to


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (1, "was written by an earlier version .* calibrate again"),
        (99, "format 99, .* upgrade it"),
        (None, "format None, .* calibrate again"),
    ],
)
def test_files_of_other_versions_are_told_apart(version: int | None, said: str, tmp_path: Path) -> None:
    stores = make_stores()
    LivingCalibration.fit(ASKED[:40], stores).save(tmp_path / "living.npz")
    other = changed(tmp_path / "living.npz", tmp_path / "other.npz", lambda d, _: d.update(schema_version=version))
    with pytest.raises(FileFormatError, match=said):
        LivingCalibration.load(other, stores)


@pytest.mark.parametrize(
    ("part", "cut"),
    [
        ("table", lambda a: a[:, :3]),  # as version 1 had it
        ("table", lambda a: a[:-1]),
        ("table", lambda a: a[0]),
        ("sums", lambda a: a[:, :-1]),
        ("total", lambda a: a[:-1]),
        ("question_mean", lambda a: a[:-1]),
        ("document_mean", lambda a: a[:-1]),
        ("kept", lambda a: a[:, :-1]),
        ("kept", lambda a: a[:-1]),
        ("distinct", lambda a: a[0]),
        ("distinct", lambda a: a[:1]),
        ("values", lambda a: a[:-1]),
        ("values", lambda a: a[:, None]),
        ("rows", lambda a: a[:-1]),
        ("places", lambda a: a[:-1]),
    ],
)
def test_arrays_that_do_not_fit_are_told_in_words(part: str, cut: Callable[[Any], Any], tmp_path: Path) -> None:
    stores = make_stores()
    LivingCalibration.fit(ASKED[:40], stores, method="chance", keep_vectors=True).save(tmp_path / "living.npz")

    def damage(description: dict[str, Any], arrays: dict[str, Any]) -> None:
        bank = description["banks"]["text"]
        one = bank["modalities"]["text"]
        asked = bank["questions"]["vectors"][""]
        name = {**one["documents"], "values": one["hits"]["values"], **asked}[part]["array"]
        arrays[name] = cut(arrays[name])

    path = changed(tmp_path / "living.npz", tmp_path / "bad.npz", damage)
    with pytest.raises(FileFormatError, match=r"bad\.npz: (is|not a living calibration, or) damaged") as caught:
        LivingCalibration.load(path, stores)
    for raw in ("broadcast", "concatenat", "matmul", "zip()", "index", "tolist", "array"):
        assert raw not in str(caught.value).removeprefix(str(path))


def test_a_callback_that_fails_keeps_no_other_from_the_calibration() -> None:
    stores = make_stores()
    living = LivingCalibration.fit(ASKED[:60], stores, method="standardized")
    seen: list[Calibration] = []

    def fail(message: str) -> Callable[[Calibration], None]:
        def callback(_: Calibration) -> None:
            raise RuntimeError(message)

        return callback

    living.on_change(fail("the first"))
    living.on_change(seen.append)
    living.on_change(fail("the second"))
    search = JointSearch(stores)
    living.attach(search)
    before = living.calibration
    with pytest.raises(RuntimeError, match="the first"):
        living.added("text", ["x"], unit_rows(RNG, 1, 16))
    assert living.calibration is not before
    assert seen == [living.calibration]
    assert search.calibration is living.calibration


def test_a_text_in_place_of_ids_is_refused() -> None:
    living = LivingCalibration.fit(ASKED[:40], make_stores())
    rows = unit_rows(RNG, 2, 16)
    for name, rest in (("added", (rows,)), ("added", (None,)), ("removed", ()), ("removed", (rows,)), ("remember", ())):
        said = rf"{name}\(\) takes a list of ids, got the text 'ab'; give \['ab'\]"
        with pytest.raises(InvalidInputError, match=said):
            getattr(living, name)("text", "ab", *rest)


def test_documents_that_do_not_differ_have_no_chance_level() -> None:
    rng = np.random.default_rng(8)
    asked = [Question(vector=row) for row in unit_rows(rng, 60, 64)]
    stores = {
        "text": ChangingStore("text", dict.fromkeys("abc", unit_rows(rng, 1, 64)[0])),
        "image": ChangingStore("image", {f"i{n}": row for n, row in enumerate(unit_rows(rng, 50, 64))}),
    }
    living = LivingCalibration.fit(asked, stores)  # without a warning
    assert_alike(living.calibration, JointSearch(stores).calibrate(asked))
    assert living.calibration.method == "standardized"
    with pytest.warns(DegenerateStatisticsWarning, match="'text' has 1 different document and") as caught:
        chosen = LivingCalibration.fit(asked, stores, method="chance")
    assert len(caught) == 1
    assert chosen.calibration.method == "chance"


def test_arguments_that_cannot_be_used() -> None:
    stores = make_stores()
    with pytest.raises(InvalidInputError, match="got 0 and 2"):
        LivingCalibration.fit([], stores)
    with pytest.raises(InvalidInputError, match="join_every"):
        LivingCalibration.fit(ASKED, stores, join_every=0)
    with pytest.raises(InvalidInputError, match="integer capacity"):
        LivingCalibration.fit(ASKED, stores, capacity=-1)
    with pytest.raises(InvalidInputError, match="unknown method 'best'"):
        LivingCalibration.fit(ASKED, stores, method="best")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InvalidInputError, match="index documents first"):
            LivingCalibration.fit(ASKED, make_stores(0, 0))
    living = LivingCalibration.fit(ASKED[:40], stores)
    for act in (living.added, living.removed):
        with pytest.raises(InvalidInputError, match="no modality 'audio'"):
            act("audio", ["a"], np.ones((1, 16)))
        with pytest.raises(InvalidInputError, match="2 ids come with 1 vectors"):
            act("text", ["a", "b"], np.ones((1, 16)))
    with pytest.raises(InvalidInputError, match="dimension 3, the calibration 16"):
        living.added("text", ["a"], np.ones((1, 3)))
    living.added("text", [], np.empty((0, 16)))
    with pytest.warns(FewQuestionsWarning):
        LivingCalibration.fit(ASKED[:5], stores)


async def test_fitting_off_the_event_loop() -> None:
    stores = make_stores()
    living = await LivingCalibration.afit(ASKED[:60], stores, method="chance", capacity=50)
    assert_alike(living.calibration, LivingCalibration.fit(ASKED[:60], stores, capacity=50).calibration, 0)
