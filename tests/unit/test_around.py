"""Sources around other sources: what they pass on, and that they ask deeper for what they leave out."""

import copy
import inspect
import pickle
import threading

import numpy as np
import pytest

from commonscale import Candidates, JointSearch, Question
from commonscale.core.around import Deepening, SiftingSource, SourceAround
from commonscale.core.errors import SourceError
from sources import ArraySource, unit_rows

VECTORS = unit_rows(np.random.default_rng(0), 40, 6)
IDS = [f"{'odd' if i % 2 else 'even'}{i}" for i in range(40)]
QUESTIONS = [Question(f"q{i}", row) for i, row in enumerate(unit_rows(np.random.default_rng(1), 7, 6))]


class Telling(ArraySource):
    """Says everything that a source may say of itself, and something that nobody has thought of yet."""

    concurrent = True
    remote = True
    needs_check = False
    unbounded = True
    by_text = True
    score_kind = "mine"
    dimension = 6
    store_name = "Shelf"
    news = "yes"

    def probe(self, questions, k):
        return [k]


class Asynchronous(ArraySource):
    async def asearch(self, questions, k):
        return self.search(questions, k)


class Even(SiftingSource):
    def __init__(self, source):
        super().__init__(source, "text")
        self.threads = set()

    def sift(self, found, k):
        self.threads.add(threading.current_thread())
        kept = [i for i, name in enumerate(found.ids) if name.startswith("even")][:k]
        return Candidates([found.ids[i] for i in kept], found.cosines[kept])


def test_whatever_a_source_says_of_itself_is_passed_on():
    source = Telling(IDS, VECTORS)
    around = Even(SourceAround(source))
    said = [name for name in vars(Telling) if not name.startswith("_") and name != "probe"]
    assert {name: getattr(around, name) for name in said} == {name: getattr(source, name) for name in said}
    assert around.probe([], 3) == [3]
    assert Even(ArraySource(IDS, VECTORS)).store_name == "ArraySource"
    assert not any(hasattr(Even(ArraySource(IDS, VECTORS)), name) for name in said if name != "store_name")
    source.dimension = 7
    assert around.dimension == 7


def test_searches_are_never_passed_on():
    assert inspect.iscoroutinefunction(Even(Asynchronous(IDS, VECTORS)).asearch)
    assert not hasattr(Even(ArraySource(IDS, VECTORS)), "asearch")
    bare = SourceAround(Asynchronous(IDS, VECTORS))
    assert not hasattr(bare, "search")
    assert not hasattr(bare, "asearch")


def test_copies_are_sources_too():
    around = SourceAround(ArraySource(IDS, VECTORS))
    for again in (copy.copy(around), copy.deepcopy(around), pickle.loads(pickle.dumps(around))):
        assert again.store_name == "ArraySource"
        assert again.ids == IDS


def expected(question, k):
    cosines = VECTORS @ question.vector
    return [IDS[i] for i in np.argsort(-cosines, kind="stable") if i % 2 == 0][:k]


@pytest.mark.parametrize("k", [1, 3, 20, 60])
async def test_what_is_left_out_does_not_starve_the_rest(k):
    inner = Asynchronous(IDS, VECTORS)
    even = Even(inner)
    assert [list(c.ids) for c in even.search(QUESTIONS, k)] == [expected(q, k) for q in QUESTIONS]
    assert even.threads == {threading.current_thread()}
    even.threads.clear()
    assert [list(c.ids) for c in await even.asearch(QUESTIONS, k)] == [expected(q, k) for q in QUESTIONS]
    assert threading.current_thread() not in even.threads  # sifting may read from a database
    assert JointSearch({"text": even}).search(QUESTIONS[0], k, raw=True).ids == expected(QUESTIONS[0], k)


def test_only_questions_with_too_few_hits_are_asked_again():
    source = ArraySource(["even1", "even2", "odd", "even3"], np.eye(4))
    plenty, short = (Question(t, np.array(v, np.float32)) for t, v in (("a", [4, 3, 1, 0]), ("b", [1, 0, 3, 0])))
    found = Even(source).search([plenty, short], 2)
    assert [list(c.ids) for c in found] == [["even1", "even2"], ["even1", "even2"]]
    assert source.calls == [(2, 2), (1, 4)]


def test_an_answer_that_does_not_grow_is_the_last():
    asked = []

    class Fixed:
        def search(self, questions, k):
            asked.append(k)
            return [Candidates(["odd1", "odd2", "even1"], np.array([3.0, 2.0, 1.0]))] * len(questions)

    assert list(Even(Fixed()).search([Question("q")], 2)[0].ids) == ["even1"]
    assert asked == [2, 4]  # three came, of two asked for; of four asked for fewer
    deepening = Deepening([Question("q")], 1, lambda _, found, k: Candidates((), np.empty(0)), "it")
    for depth, size in ((1, 5), (2, 9), (4, 9)):
        assert (len(deepening.asked), deepening.depth) == (1, depth)
        deepening.take([Candidates(range(size), np.zeros(size))])
    assert deepening.asked == []


@pytest.mark.parametrize("answers", [0, 2])
async def test_another_number_of_answers_is_refused(answers):
    class Wrong(ArraySource):
        def search(self, questions, k):
            return [super().search(questions[:1], k)[0]] * answers

        async def asearch(self, questions, k):
            return self.search(questions, k)

    even = Even(Wrong(IDS, VECTORS))
    with pytest.raises(SourceError, match=f"source of modality 'text' answered {answers} of 1 questions"):
        even.search(QUESTIONS[:1], 3)
    with pytest.raises(SourceError, match=f"answered {answers} of 1 questions"):
        await even.asearch(QUESTIONS[:1], 3)
