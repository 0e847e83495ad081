from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from commonscale import (
    Calibration,
    DriftMonitor,
    DriftReport,
    JointSearch,
    LivingCalibration,
    ModalityCalibration,
    ModalityStatistics,
    Question,
    QuestionBank,
)
from commonscale.core.drift_windows import DriftWindows, compare
from commonscale.core.errors import DriftWarning, InvalidInputError, SourceError
from commonscale.core.two_samples import ks_probability, ks_statistic
from living_world import ChangingStore
from sources import unit_rows

RNG = np.random.default_rng(2)
BANK = {"text": RNG.normal(0.8, 0.05, 500), "image": RNG.normal(0.3, 0.02, 500)}


def test_the_statistic_by_hand() -> None:
    assert ks_statistic(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5])) == pytest.approx(1 / 3)
    assert ks_statistic(np.array([1.0, 2.0]), np.array([2.0, 1.0])) == 0.0
    assert ks_statistic(np.array([1.0, 2.0]), np.array([3.0])) == 1.0
    assert ks_statistic(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])) == pytest.approx(1 / 3)
    with pytest.raises(InvalidInputError, match="got 0 and 1 values"):
        ks_statistic(np.empty(0), np.ones(1))


def test_the_probability_counts_orders() -> None:
    # Of the 6 orders of 2 and 2 values two keep them apart (D = 1) and two more reach D = 1/2 only.
    assert ks_probability(1.0, 2, 2) == pytest.approx(2 / 6)
    assert ks_probability(0.5, 2, 2) == pytest.approx(1.0)
    assert ks_probability(0.0, 5, 3) == 1.0
    # Of the 10 orders of 3 and 2 values: all of one sample first, or last.
    assert ks_probability(1.0, 3, 2) == pytest.approx(2 / 10)
    assert ks_probability(1.0, 2, 3) == pytest.approx(2 / 10)


@pytest.mark.parametrize(("n", "m"), [(7, 4), (30, 12)])
def test_the_probability_is_the_rate_at_which_equal_samples_differ_so_much(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    found = np.array([ks_statistic(rng.random(n), rng.random(m)) for _ in range(4000)])
    for statistic in np.unique(found.round(12))[::7]:
        expected = ks_probability(float(statistic), n, m)
        rate = float((found >= statistic - 1e-9).mean())
        assert abs(rate - expected) < 4.5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-3


def test_levels_share_the_false_alarms_that_are_allowed() -> None:
    windows = DriftWindows([100, 50], 0.06)
    assert windows.lengths == (50, 100)
    # 20 tests of 50 and 10 of 100 in 1,000 questions, in each of two modalities.
    assert 2 * (20 * windows.level(50, 2) + 10 * windows.level(100, 2)) == pytest.approx(0.06)


def test_windows_are_tested_when_they_are_full() -> None:
    windows = DriftWindows([10, 20])
    some = BANK["text"][:7]
    assert windows.add({"text": some}, BANK) == []
    assert [(test.modality, test.window) for test in windows.add({"text": some}, BANK)] == [("text", 10)]
    tests = windows.add({"text": BANK["text"][:26], "image": BANK["image"][:10]}, BANK)
    assert [(test.modality, test.window) for test in tests] == [
        *[("text", 10)] * 3,
        *[("text", 20)] * 2,
        ("image", 10),
    ]
    windows.clear()
    assert windows.add({"text": BANK["text"][:9]}, BANK) == []
    assert windows.add({"text": BANK["text"][:40]}, {"text": np.empty(0)}) == []


def test_a_test_says_what_has_moved() -> None:
    window = BANK["text"][:200] * 2 - BANK["text"].mean()
    test = compare("text", window, BANK["text"], 1e-3)
    assert test.drifted
    assert test.spread == pytest.approx(2, abs=0.2)
    assert abs(test.shift) < 0.3
    assert "drift in modality 'text': the best hits of the last 200 questions lie" in str(test)
    same = compare("text", BANK["text"][:100], BANK["text"], 1e-3)
    assert not same.drifted
    assert str(same).startswith("no drift")


def test_false_alarms_stay_rare_and_shifts_are_found() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(20):
        monitor = DriftMonitor({"text": rng.standard_normal(300)}, policy="report", false_alarms=0.1)
        alarms += len(monitor.observe({"text": rng.standard_normal(2000)}).alarms)
    assert alarms <= 12  # 4 are allowed in 40,000 questions; a Poisson count of mean 4 exceeds 12 once in 3,000 times
    for shift, within in ((1.0, 100), (0.5, 400)):
        monitor = DriftMonitor({"text": rng.standard_normal(1000)}, policy="report")
        assert monitor.observe({"text": rng.standard_normal(within) + shift}).drifted


def test_policies() -> None:
    moved = {"text": BANK["text"][:200] + 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = DriftMonitor(BANK, policy="report").observe(moved)
    assert report.drifted
    assert not report.recalibrated
    with pytest.warns(DriftWarning, match=r"drift in modality 'text'.*\+\d\.\d\d standard deviations"):
        DriftMonitor(BANK).observe(moved)
    seen: list[DriftReport] = []
    monitor = DriftMonitor(BANK, policy=seen.append)
    assert not monitor.observe({"text": BANK["text"][:200]}).drifted
    assert seen == []
    assert seen == [monitor.observe(moved)]
    assert str(DriftReport()) == "no window is full yet"


def test_values_that_were_not_found_are_left_out() -> None:
    monitor = DriftMonitor(BANK, policy="report", windows=[50])
    values = np.full(80, np.nan)
    values[::2] = BANK["text"][:40]
    assert monitor.observe({"text": values, "audio": [1.0]}).tests == ()
    assert len(monitor.observe({"text": BANK["text"][40:50]}).tests) == 1
    monitor.observe({"text": BANK["text"][:49]})
    monitor.reset()
    assert monitor.observe({"text": BANK["text"][:1]}).tests == ()


def make_living() -> tuple[LivingCalibration, JointSearch, dict[str, ChangingStore]]:
    rng = np.random.default_rng(9)
    stores = {
        modality: ChangingStore(modality, {f"{modality}{i}": row for i, row in enumerate(unit_rows(rng, 200, 16))})
        for modality in ("text", "image")
    }
    living = LivingCalibration.fit([Question(vector=row) for row in unit_rows(rng, 200, 16)], stores, method="chance")
    search = JointSearch(stores)
    living.attach(search)
    return living, search, stores


def near(stores: dict[str, ChangingStore], count: int) -> list[Question]:
    """Questions that are close to texts, as none of the bank is."""
    rows = np.stack([stores["text"].documents[f"text{i % 200}"] for i in range(count)])
    rows = rows + 0.3 * unit_rows(np.random.default_rng(4), count, 16)
    return [Question(vector=row.astype(np.float32)) for row in rows / np.linalg.norm(rows, axis=1, keepdims=True)]


def test_a_search_is_watched_and_recalibrates_by_itself() -> None:
    living, search, stores = make_living()
    end = DriftMonitor(living, policy="recalibrate", enough=80).attach(search)
    before = living.calibration
    asked = near(stores, 200)
    for question in asked[:50]:
        search.search(question, 3)
    assert living.calibration is before  # the alarm has come, and waits for 80 questions
    search.search(Question(vector=asked[0].vector_for("text"), kind="text"), 3, raw=True)
    search.search_batch(asked[50:79], 3)
    assert living.calibration is before
    search.search_batch(asked[79:81], 3)
    assert living.calibration is not before
    assert {id(q.vector) for q in living.questions()} == {id(q.vector) for q in asked[:81]}
    assert search.calibration is living.calibration
    now = living.calibration
    search.search_batch(asked[81:], 3)
    assert living.calibration is now  # the questions are those of the bank
    end()
    end()
    assert search.observer is None


def test_watched_searches_do_not_wait_for_updates() -> None:
    living, search, stores = make_living()
    DriftMonitor(living, policy="report").attach(search)
    entered, leave = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        entered.set()
        assert leave.wait(30)

    living.on_change(hold)
    thread = threading.Thread(target=living.refit)
    thread.start()
    assert entered.wait(30)
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(search.search_batch, near(stores, 60), 3).result(timeout=30)) == 60
        leave.set()
    thread.join()


async def test_asynchronous_searches_are_watched_too() -> None:
    living, search, stores = make_living()
    DriftMonitor(living).attach(search)
    with pytest.warns(DriftWarning, match="modality 'text'"):
        await search.asearch_batch(near(stores, 50), 3)


def test_recalibrating_runs_where_it_is_told_to() -> None:
    living, search, stores = make_living()
    before = living.calibration
    with ThreadPoolExecutor(1) as pool:
        monitor = DriftMonitor(living, policy="recalibrate", enough=50, run=pool.submit)
        monitor.attach(search)
        search.search_batch(near(stores, 100), 3)
    assert living.calibration is not before
    # Without questions to learn from, those of the bank are fitted again.
    work: list[object] = []
    monitor = DriftMonitor(living, policy="recalibrate", run=work.append)
    values = {m: values + 1.0 for m, values in living.reference().items()}
    assert monitor.observe({m: v[:50] for m, v in values.items()}).recalibrated
    assert monitor.observe({m: v[:100] for m, v in values.items()}) == DriftReport()  # one at a time
    assert len(work) == 1
    now = living.calibration
    work.pop()()  # type: ignore[operator]
    assert living.calibration is not now
    assert monitor.observe({m: v[:50] for m, v in values.items()}).recalibrated
    stores["text"].failing = True
    with pytest.raises(SourceError):
        work.pop()()  # type: ignore[operator]
    assert monitor.observe({m: v[:50] for m, v in values.items()}).recalibrated  # it tries again


@pytest.mark.parametrize("method", ["standardized", "centered", "chance"])
def test_rankings_are_turned_back_into_similarities(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, stores = make_living()
    questions = [Question(vector=row) for row in unit_rows(RNG, 120, 16)]
    living = LivingCalibration.fit(questions, stores, method=method)
    search = JointSearch(stores, living.calibration)
    rankings = search.search_batch(questions, 2, minimum={"text": 1, "image": 1})
    # The banked questions themselves ask, so they are compared with their best hits as they are.
    best = {m: hits.cosines for m, hits in QuestionBank.fit(questions, stores, method=method).best.items()}
    monkeypatch.setattr(living, "reference", lambda: best)
    monitor = DriftMonitor(living, policy="report", windows=[120])
    tests = monitor.observe(rankings, questions).tests
    assert [test.modality for test in tests] == ["text", "image"]
    assert [test.statistic for test in tests] == pytest.approx([0, 0], abs=0.01)
    assert monitor.observe(rankings[0]).tests == ()


def test_settings_that_cannot_be_used() -> None:
    for windows in ([], [5], [50.5]):
        with pytest.raises(InvalidInputError, match="windows must be integers of at least 10"):
            DriftMonitor(BANK, windows=windows)  # type: ignore[arg-type]
    for rate in (0, -1, 5.0, float("nan")):
        with pytest.raises(InvalidInputError, match=r"must lie above 0 and at most at 0\.375"):
            DriftMonitor(BANK, false_alarms=rate)
    with pytest.raises(InvalidInputError, match="policy must be one of report, warn, recalibrate"):
        DriftMonitor(BANK, policy="ignore")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="needs a LivingCalibration"):
        DriftMonitor(BANK, policy="recalibrate")
    with pytest.raises(InvalidInputError, match="enough must be an integer"):
        DriftMonitor(BANK, enough=0)
    _, search, stores = make_living()
    with pytest.raises(InvalidInputError, match="rankings hold scores"):
        DriftMonitor(BANK).observe(search.search_batch(near(stores, 2), 2))
    with pytest.raises(InvalidInputError, match="best hits of 'text'"):
        DriftMonitor(BANK).observe({"text": [float("inf")]})


def test_what_holds_no_bank_is_refused() -> None:
    search = JointSearch({"text": ChangingStore("text", {"a": np.eye(4, dtype=np.float32)[0]})})
    calibration = Calibration({"text": ModalityCalibration(ModalityStatistics(0.3, 0.02, 99))})
    for reference in (calibration, search, [0.1, 0.2], None):
        with pytest.raises(InvalidInputError, match=f"which a {type(reference).__name__} does not hold; give a Living"):
            DriftMonitor(reference)  # type: ignore[arg-type]


def test_only_searches_are_attached_to() -> None:
    with pytest.raises(
        InvalidInputError, match=r"takes a JointSearch, got a dict; .*retriever\.watch_drift\(questions\)"
    ):
        DriftMonitor(BANK).attach({})  # type: ignore[arg-type]
