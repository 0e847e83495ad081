"""Retrievers by words beside stores of vectors, in both frameworks; what BM25 is, is computed here anew."""

import asyncio
import math
import re
import threading
from collections import Counter
from functools import cache

import numpy as np
import pytest

from commonscale import Calibration, JointSearch, Question
from commonscale.core.errors import CalibrationMismatchError, InvalidInputError, SourceError, UnknownScoreKindError

pytest.importorskip("llama_index.core")
pytest.importorskip("llama_index.retrievers.bm25")
pytest.importorskip("langchain_community")
pytest.importorskip("rank_bm25")

import Stemmer
from bm25s.stopwords import STOPWORDS_EN
from langchain_community.retrievers import BM25Retriever as LangChainBM25
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever as LangChainRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever, VectorIndexRetriever
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import ExactMatchFilter, MetadataFilters
from llama_index.retrievers.bm25 import BM25Retriever

import commonscale.langchain as lc
import commonscale.llama_index as li
from commonscale.langchain.view import View
from langchain_world import WordEmbeddings, add_to_memory
from llama_world import FixedEmbedding, simple_store
from sources import unit_rows

DRAWN = (
    "dog cat bus train child beach snow mountain river street rides jumps sits swims walks sleeps red blue brown "
    "small wooden muddy naïve straße 東京 ñandú over under near beside behind"
)
WORDS = DRAWN.split()
DIMENSION = 8
TEXTS, IMAGES, ASKED = 60, 25, 40


class Corpus:
    """Passages and questions of drawn words, and images whose vectors lie far from the questions'."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.texts = {f"t{i}": " ".join(rng.choice(WORDS, rng.integers(4, 16))) for i in range(TEXTS)}
        self.questions = [f"{' '.join(rng.choice(WORDS, rng.integers(1, 9)))} q{i}" for i in range(ASKED)]
        vectors = unit_rows(rng, IMAGES, DIMENSION)
        vectors[:, 0] -= 0.5
        self.images = dict(zip((f"i{i}" for i in range(IMAGES)), vectors, strict=True))
        asked = [*self.questions, "zebra quokka"]
        self.vectors = dict(zip(asked, unit_rows(rng, len(asked), DIMENSION), strict=True))

    def cosines(self, question):
        vector = self.vectors[question].astype(np.float64)
        return {i: float(v @ vector / np.linalg.norm(v) / np.linalg.norm(vector)) for i, v in self.images.items()}

    def ranking(self, question, k, bm25):
        """The best k of texts and images by (id, number, score), each standardized over all questions' best hits."""
        pairs = []
        for numbers in (lambda q: treated(bm25, q), self.cosines):
            best = [max(found.values()) for q in self.questions if (found := numbers(q))]
            pairs += [(i, n, (n - np.mean(best)) / np.std(best)) for i, n in numbers(question).items()]
        return sorted(pairs, key=lambda hit: -hit[2])[:k]


def treated(bm25, question):
    """log(1 + s / sqrt(w)) of every document with a word of the question."""
    scores, words = bm25(question)
    return {i: float(np.sign(s) * math.log1p(abs(s) / math.sqrt(words))) for i, s in scores.items()}


def lucene(texts, question):
    """BM25 as bm25s computes it: Lucene's formula, k1 1.5, b 0.75; words of two letters or more, stemmed."""
    stem = Stemmer.Stemmer("english").stemWord

    def split(text):
        return [stem(w) for w in re.findall(r"(?u)\b\w\w+\b", text.lower()) if w not in STOPWORDS_EN]

    def idf(n, documents):
        return math.log(1 + (documents - n + 0.5) / (n + 0.5))

    return summed({i: split(text) for i, text in texts.items()}, split(question), idf, 1.0)


def okapi(texts, question):
    """BM25 as rank-bm25 computes it: words between spaces, a floor under negative weights."""

    def idf(n, documents):
        return math.log(documents - n + 0.5) - math.log(n + 0.5)

    split = {i: text.split() for i, text in texts.items()}
    counts = Counter(w for words in split.values() for w in set(words))
    mean = float(np.mean([idf(n, len(split)) for n in counts.values()]))

    def floored(n, documents):
        return idf(n, documents) if idf(n, documents) >= 0 else 0.25 * mean

    return summed(split, question.split(), floored, 2.5)


def summed(documents, words, idf, factor, k1=1.5, b=0.75):
    length = float(np.mean([len(d) for d in documents.values()]))
    holding = Counter(w for d in documents.values() for w in set(d))
    scores = {}
    for document, its in documents.items():
        counts = Counter(its)
        if not any(counts[w] for w in words):
            continue
        norm = k1 * (1 - b + b * len(its) / length)
        scores[document] = sum(
            idf(holding[w], len(documents)) * counts[w] * factor / (counts[w] + norm) for w in words if counts[w]
        )
    return scores, max(len(words), 1)


@pytest.fixture(scope="module")
def corpus():
    return Corpus()


def nodes_of(corpus):
    return [TextNode(id_=i, text=text, metadata={}) for i, text in corpus.texts.items()]


def model_of(corpus):
    return FixedEmbedding(vectors={q: v.tolist() for q, v in corpus.vectors.items()})


def image_store(corpus):
    store = simple_store([ImageNode(id_=i, embedding=v.tolist()) for i, v in corpus.images.items()])
    return {"image_store": store, "image_nodes": {i: ImageNode(id_=i, image_path=f"{i}.png") for i in corpus.images}}


def llama(corpus, text_store=None, **settings):
    text_store = text_store or BM25Retriever.from_defaults(nodes=nodes_of(corpus), similarity_top_k=3)
    model = settings.pop("embed_model", None) or model_of(corpus)
    return li.StandardizedMultiModalRetriever(
        text_store=text_store, embed_model=model, **image_store(corpus), **settings
    )


class Embeddings(WordEmbeddings):
    def __init__(self, corpus):
        super().__init__()
        self.vectors = corpus.vectors

    def embed_query(self, text):
        self.asked.append(text)
        return self.vectors[text].tolist()


def documents_of(corpus, ids=True):
    return [Document(id=i if ids else None, page_content=t, metadata={"page": i}) for i, t in corpus.texts.items()]


def langchain(corpus, text_store=None, **settings):
    text_store = text_store or LangChainBM25.from_documents(documents_of(corpus), k=3)
    images = InMemoryVectorStore(Embeddings(corpus))
    add_to_memory(
        images, [Document(id=i, page_content="", metadata={"page": i}) for i in corpus.images],
        np.stack(list(corpus.images.values())),
    )  # fmt: skip
    return lc.StandardizedMultiModalRetriever(text_store=text_store, image_store=images, **settings)


def hits(answer):
    """Ids, numbers and scores of nodes or documents."""
    found = [(x.node.node_id, x.node.metadata) if isinstance(x, NodeWithScore) else (x.id, x.metadata) for x in answer]
    return [(i, m["commonscale_cosine"], m["commonscale_score"]) for i, m in found]


def assert_same(found, expected):
    assert [i for i, *_ in found] == [i for i, *_ in expected]
    np.testing.assert_allclose([h[1:] for h in found], [h[1:] for h in expected], atol=2e-5)


FRAMEWORKS = pytest.mark.parametrize("framework", ["llama-index", "langchain"])


class Ours:
    """Our retriever of one framework, by names of its own."""

    def __init__(self, framework, corpus, **settings):
        self.llama = framework == "llama-index"
        self.retriever = (llama if self.llama else langchain)(corpus, **settings)

    def top(self, k):
        setattr(self.retriever, "similarity_top_k" if self.llama else "k", k)
        return self

    def one(self, question):
        return hits(self.retriever.retrieve(question) if self.llama else self.retriever.invoke(question))

    async def aone(self, question):
        found = self.retriever.aretrieve(question) if self.llama else self.retriever.ainvoke(question)
        return hits(await found)


def bm25_of(framework, corpus):
    formula = lucene if framework == "llama-index" else okapi
    return cache(lambda question: formula(corpus.texts, question))


@FRAMEWORKS
def test_bm25_and_vectors_are_ranked_as_by_brute_force(framework, corpus):
    ours = Ours(framework, corpus)
    calibration = ours.retriever.calibrate(corpus.questions, method="standardized")
    bm25 = bm25_of(framework, corpus)
    seen = set()
    for question in corpus.questions:
        for k in (1, 10, 200):
            found = ours.top(k).one(question)
            assert_same(found, corpus.ranking(question, k, bm25))
        seen |= {i[0] for i, *_ in found[:10]}
    assert seen == {"t", "i"}
    batch = ours.top(10).retriever.retrieve_batch(corpus.questions)
    for question, answer in zip(corpus.questions, batch, strict=True):
        assert_same(hits(answer), corpus.ranking(question, 10, bm25))
    engine = "bm25s-lucene" if ours.llama else "BM25Okapi"
    assert calibration.modalities["text"].provenance.score_kind == f"{engine}:log_per_root_word"
    assert calibration.modalities["text"].provenance.dimension is None
    assert calibration.modalities["text"].provenance.encoder_fingerprint is None


@FRAMEWORKS
async def test_asynchronous_searches_give_the_same(framework, corpus):
    ours = Ours(framework, corpus).top(10)
    await ours.retriever.acalibrate(corpus.questions, method="standardized")
    bm25 = bm25_of(framework, corpus)
    found = await asyncio.gather(*(ours.aone(question) for question in corpus.questions))
    for question, answer in zip(corpus.questions, found, strict=True):
        assert_same(answer, corpus.ranking(question, 10, bm25))
    for question, answer in zip(corpus.questions, await ours.retriever.aretrieve_batch(corpus.questions), strict=True):
        assert_same(hits(answer), corpus.ranking(question, 10, bm25))


@FRAMEWORKS
def test_threads_get_the_answers_of_one(framework, corpus):
    ours = Ours(framework, corpus).top(10)
    ours.retriever.calibrate(corpus.questions, method="standardized")
    expected = [ours.one(question) for question in corpus.questions]
    answers = {}

    def ask(number):
        answers[number] = [ours.one(question) for question in corpus.questions]

    threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(answers.values()) == [expected] * 4


@FRAMEWORKS
def test_a_document_without_a_word_of_the_question_is_no_hit(framework, corpus):
    """The retrievers themselves fill up with documents that score 0."""
    ours = Ours(framework, corpus).top(100)
    ours.retriever.calibrate([*corpus.questions, "zebra quokka"], method="standardized")
    texts = ours.retriever.calibration.statistics("text").count
    assert (texts, ours.retriever.calibration.statistics("image").count) == (ASKED, ASKED + 1)
    assert {i for i, *_ in ours.one("zebra quokka")} == set(corpus.images)
    rare = min(corpus.questions, key=lambda q: len(bm25_of(framework, corpus)(q)[0]))
    matching = set(bm25_of(framework, corpus)(rare)[0])
    assert 0 < len(matching) < TEXTS
    assert {i for i, *_ in ours.one(rare)} == matching | set(corpus.images)


def test_a_word_of_no_weight_still_makes_a_hit():
    """In half of the documents: rank-bm25 gives it the weight 0, so the score does not tell who holds it."""
    texts = ["dog runs", "dog sits", "cat sits", "cat runs"]
    retriever = LangChainBM25.from_documents([Document(id=t, page_content=t) for t in texts])
    assert retriever.vectorizer.get_scores(["dog"]).tolist() == [0, 0, 0, 0]
    source = lc.RetrieverSource(retriever)
    found = source.search([Question("dog")], 4)[0]
    assert (list(found.ids), found.cosines.tolist()) == (["dog runs", "dog sits"], [0, 0])


@FRAMEWORKS
def test_questions_are_embedded_for_vectors_only(framework, corpus):
    if framework == "llama-index":
        texts = FixedEmbedding(vectors={})
        model = model_of(corpus)
        retriever = llama(corpus, embed_model=texts, image_embed_model=model)
        retriever.calibrate(corpus.questions, method="standardized")
        retriever.retrieve(corpus.questions[0])
        assert texts.calls == []
        assert model.calls == [*corpus.questions, corpus.questions[0]]
        only_images = li.StandardizedMultiModalRetriever(
            text_store=BM25Retriever.from_defaults(nodes=nodes_of(corpus)),
            image_embed_model=model,
            calibration=retriever.calibration,
            **image_store(corpus),
        )
        assert hits(only_images.retrieve(corpus.questions[0])) == hits(retriever.retrieve(corpus.questions[0]))
        with pytest.raises(InvalidInputError, match=r"'image' is searched by vector.*embed_model="):
            li.StandardizedMultiModalRetriever(**image_store(corpus))
    else:
        retriever = langchain(corpus)
        retriever.calibrate(corpus.questions, method="standardized")
        retriever.invoke(corpus.questions[0])
        assert retriever.image_store.embeddings.asked == [*corpus.questions, corpus.questions[0]]


def test_an_embedding_in_the_bundle_is_not_taken_for_another_models(corpus):
    """It is that of ``embed_model``, which embeds nothing where texts are searched by words."""
    model = model_of(corpus)
    retriever = llama(corpus, embed_model=FixedEmbedding(vectors={}), image_embed_model=model)
    retriever.calibrate(corpus.questions, method="standardized")
    foreign = QueryBundle(corpus.questions[0], embedding=[1.0] * 5)
    assert hits(retriever.retrieve(foreign)) == hits(retriever.retrieve(corpus.questions[0]))
    shared = llama(corpus)
    shared.calibrate(corpus.questions, method="standardized")
    other = QueryBundle(corpus.questions[0], embedding=corpus.vectors[corpus.questions[1]].tolist())
    cosines = {i: c for i, c, _ in hits(shared.retrieve(other)) if i.startswith("i")}
    assert cosines == pytest.approx({i: corpus.cosines(corpus.questions[1])[i] for i in cosines}, abs=1e-5)


@FRAMEWORKS
def test_words_alone_need_no_model(framework, corpus):
    halves = [dict(list(corpus.texts.items())[part::2]) for part in (0, 1)]
    if framework == "llama-index":
        parts = [BM25Retriever(nodes=[TextNode(id_=i, text=t) for i, t in half.items()]) for half in halves]
        retriever = li.StandardizedMultiModalRetriever(text_store=parts[0], image_store=parts[1], similarity_top_k=8)
        ask = retriever.retrieve
    else:
        parts = [
            LangChainBM25.from_documents([Document(id=i, page_content=t) for i, t in half.items()]) for half in halves
        ]
        retriever = lc.StandardizedMultiModalRetriever(text_store=parts[0], image_store=parts[1], k=8)
        ask = retriever.invoke
    retriever.calibrate(corpus.questions, method="standardized")
    formula = lucene if framework == "llama-index" else okapi
    expected = []
    for half in halves:
        best = [max(f.values()) for q in corpus.questions if (f := treated(lambda q, h=half: formula(h, q), q))]
        numbers = treated(lambda q, h=half: formula(h, q), corpus.questions[0])
        expected += [(i, n, (n - np.mean(best)) / np.std(best)) for i, n in numbers.items()]
    assert_same(hits(ask(corpus.questions[0])), sorted(expected, key=lambda hit: -hit[2])[:8])


@FRAMEWORKS
def test_questions_without_words_are_refused(framework, corpus):
    ours = Ours(framework, corpus)
    ours.retriever.calibrate(corpus.questions, method="standardized")
    with pytest.raises(InvalidInputError, match=r"has no (text|words)"):
        ours.one("   ")
    if ours.llama:
        with pytest.raises(InvalidInputError, match="has no words, which BM25Retriever searches by"):
            ours.retriever.retrieve(QueryBundle("", embedding=[1.0] * DIMENSION))
    source = ours.retriever._sources["text"] if ours.llama else lc.RetrieverSource(ours.retriever.text_store)
    with pytest.raises(InvalidInputError, match="'' has no words"):
        source.search([Question(vector=np.ones(DIMENSION, np.float32))], 1)
    assert len(source.search([Question("?!")], 3)[0].ids) == 0


@FRAMEWORKS
def test_the_callers_retriever_is_left_as_it_was(framework, corpus):
    ours = Ours(framework, corpus)
    given = BM25Retriever.from_defaults(nodes=nodes_of(corpus)) if ours.llama else ours.retriever.text_store
    before = {name: repr(value) for name, value in vars(given).items()}
    mine = Ours(framework, corpus, text_store=given).top(30)
    mine.retriever.calibrate(corpus.questions, method="standardized")
    assert len(mine.one(corpus.questions[0])) == 30
    assert {name: repr(value) for name, value in vars(given).items()} == before


@FRAMEWORKS
def test_a_calibration_of_another_treatment_is_refused(framework, corpus):
    def bm25():
        if framework == "llama-index":
            return BM25Retriever.from_defaults(nodes=nodes_of(corpus))
        return LangChainBM25.from_documents(documents_of(corpus))

    wrapper = li.RetrieverSource if framework == "llama-index" else lc.RetrieverSource
    raw = Ours(framework, corpus, text_store=wrapper(bm25(), treatment="raw"))
    calibration = raw.retriever.calibrate(corpus.questions, method="standardized")
    best = [max(bm25_of(framework, corpus)(q)[0].values()) for q in corpus.questions]
    assert calibration.statistics("text").mean == pytest.approx(np.mean(best), abs=1e-4)
    with pytest.raises(CalibrationMismatchError, match=r":raw', not '[\w-]+:log_per_root_word'"):
        Ours(framework, corpus, text_store=bm25(), calibration=calibration)
    again = Ours(framework, corpus, text_store=wrapper(bm25(), treatment="raw"), calibration=calibration)
    assert again.one(corpus.questions[0]) == raw.one(corpus.questions[0])


@FRAMEWORKS
def test_raw_ranking_is_refused_with_words_that_say_why(framework, corpus):
    ours = Ours(framework, corpus, raw=True)
    with pytest.raises(InvalidInputError, match=r"'text' gives .*:log_per_root_word, 'image' gives cosines"):
        ours.one(corpus.questions[0])


@FRAMEWORKS
def test_what_a_retriever_cannot_stand_for_is_refused(framework, corpus):
    if framework == "llama-index":
        bm25 = BM25Retriever.from_defaults(nodes=nodes_of(corpus))
        with pytest.raises(InvalidInputError, match="cannot be searched for one modality at a time"):
            li.StandardizedMultiModalRetriever(store=bm25, embed_model=model_of(corpus))
        with pytest.raises(InvalidInputError, match="filters= cannot be applied; give them to the retriever"):
            llama(corpus, bm25, filters=MetadataFilters(filters=[ExactMatchFilter(key="a", value="b")]))
        with pytest.raises(InvalidInputError, match=r"BM25 scores are no cosines.*score_kind=\{'image'"):
            llama(corpus, bm25, score_kind="cosine")
        with pytest.raises(InvalidInputError, match="several modalities"):
            li.RetrieverSource(llama(corpus))
        with pytest.raises(InvalidInputError, match="a LlamaIndex retriever is needed"):
            li.RetrieverSource("bm25")
    else:
        bm25 = LangChainBM25.from_documents(documents_of(corpus))
        with pytest.raises(InvalidInputError, match="cannot be searched for one modality at a time"):
            lc.StandardizedMultiModalRetriever(store=bm25, embeddings=Embeddings(corpus))
        with pytest.raises(InvalidInputError, match=r"BM25 scores are no cosines.*score_kind=\{'image'"):
            langchain(corpus, bm25, score_kind="cosine")
        with pytest.raises(InvalidInputError, match="a LangChain retriever is needed"):
            lc.RetrieverSource("bm25")


# LlamaIndex


@pytest.mark.parametrize("method", ["lucene", "robertson", "atire", "bm25+", "bm25l"])
def test_scores_are_those_of_the_retriever_for_every_variant(corpus, method):
    import bm25s

    nodes = nodes_of(corpus)
    made = BM25Retriever(nodes=nodes)
    index = bm25s.BM25(method=method)
    tokens = bm25s.tokenize(list(corpus.texts.values()), stemmer=made.stemmer, show_progress=False)
    index.index(tokens, show_progress=False)
    index.corpus = made.corpus
    retriever = BM25Retriever(existing_bm25=index, similarity_top_k=TEXTS)
    source = li.RetrieverSource(retriever, treatment="raw")
    assert source.score_kind == f"bm25s-{method}:raw"
    for question in corpus.questions:
        theirs = {n.node.node_id: n.score for n in retriever.retrieve(question)}
        found = source.search([Question(question)], TEXTS)[0]
        assert set(found.ids) == set(lucene(corpus.texts, question)[0])
        assert dict(zip(found.ids, found.cosines.tolist(), strict=True)) == {i: theirs[i] for i in found.ids}


def test_nodes_that_the_retriever_filters_out_are_no_hits(corpus):
    """BM25Retriever itself returns them, with the score 0."""
    nodes = [TextNode(id_=i, text=t, metadata={"even": int(i[1:]) % 2}) for i, t in corpus.texts.items()]
    for node in nodes:
        node.excluded_embed_metadata_keys = ["even"]
    filters = MetadataFilters(filters=[ExactMatchFilter(key="even", value=0)])
    retriever = BM25Retriever(nodes=nodes, filters=filters, similarity_top_k=TEXTS)
    question = max(corpus.questions, key=lambda q: len(lucene(corpus.texts, q)[0]))
    assert any(int(n.node.node_id[1:]) % 2 for n in retriever.retrieve(question))
    found = li.RetrieverSource(retriever, treatment="raw").search([Question(question)], TEXTS)[0]
    expected = {i: s for i, s in lucene(corpus.texts, question)[0].items() if int(i[1:]) % 2 == 0}
    assert dict(zip(found.ids, found.cosines, strict=True)) == pytest.approx(expected, abs=1e-5)


def test_a_retriever_read_from_disk_gives_the_same(corpus, tmp_path):
    made = BM25Retriever(nodes=nodes_of(corpus), similarity_top_k=5)
    made.persist(str(tmp_path))
    read = BM25Retriever.from_persist_dir(str(tmp_path))
    answers = []
    for retriever in (made, read):
        ours = llama(corpus, retriever)
        ours.calibrate(corpus.questions, method="standardized")
        found = ours.retrieve(corpus.questions[3])
        answers.append((hits(found), [n.node.get_content() for n in found]))
    assert answers[0] == answers[1]
    assert any(text in corpus.texts.values() for text in answers[0][1])


class Listed(BaseRetriever):
    """Gives fixed nodes with fixed scores, as many as are asked for."""

    def __init__(self, found, similarity_top_k=2):
        self.found = found
        self.similarity_top_k = similarity_top_k
        self.threads = []
        super().__init__()

    def _retrieve(self, query_bundle):
        self.threads.append(threading.current_thread())
        return [
            NodeWithScore(node=TextNode(id_=i, text=i, metadata={"relevance": s}), score=s)
            for i, s in self.found[: self.similarity_top_k]
        ]


class Async(Listed):
    async def _aretrieve(self, query_bundle):
        await asyncio.sleep(0)
        return self._retrieve(query_bundle)


FOUND = [("a", 12.0), ("b", 7.0), ("c", 7.0), ("d", -1.5)]


def test_any_retriever_with_scores_can_stand_for_a_modality():
    given = Listed(FOUND)
    source = li.RetrieverSource(given)
    found = source.search([Question("anything"), Question("else")], 3)
    assert [(list(f.ids), f.cosines.tolist()) for f in found] == [(["a", "b", "c"], [12, 7, 7])] * 2
    assert (source.score_kind, source.unbounded, given.similarity_top_k) == ("Listed:raw", True, 2)
    assert set(given.threads) == {threading.current_thread()}
    assert list(source.search([Question("anything")], 9)[0].ids) == ["a", "b", "c", "d"]
    node = source.nodes(JointSearch({"text": source}).search(Question("x"), 1, raw=True).hits)[0]
    assert (node.node_id, node.get_content()) == ("a", "a")


async def test_only_a_retriever_with_a_way_of_its_own_is_asked_on_the_loop():
    here = threading.current_thread()
    own, inherited = Async(FOUND), Listed(FOUND)
    for given, on_loop in ((own, True), (inherited, False)):
        search = JointSearch({"text": li.RetrieverSource(given)})
        ranking = await search.asearch(Question("x"), 3, raw=True)
        assert ranking.ids == ["a", "b", "c"]
        assert all((thread is here) == on_loop for thread in given.threads)
    vectors = VectorStoreIndex([TextNode(text="x", embedding=[1.0, 0.0])], embed_model=FixedEmbedding())
    assert not hasattr(li.RetrieverSource(vectors.as_retriever(), score_kind="cosine"), "asearch")


def test_scores_may_lie_elsewhere():
    turned = [(i, -s) for i, s in FOUND]
    asked = [Question(f"x{i}") for i in range(8)]
    with pytest.raises(SourceError, match=r"8 different questions all came with rising scores \(\[-12.0, -7.0"):
        li.RetrieverSource(Listed([("a", -12.0), ("b", -7.0), ("d", 1.5)])).search(asked, 3)
    for score in ("relevance", lambda hit: hit.score):
        found = li.RetrieverSource(Listed(FOUND), score=score).search([Question("x")], 2)[0]
        assert found.cosines.tolist() == [12, 7]
    found = li.RetrieverSource(Listed(turned), score=lambda hit: -hit.score).search([Question("x")], 2)[0]
    assert (list(found.ids), found.cosines.tolist()) == (["a", "b"], [12, 7])
    with pytest.raises(SourceError, match=r"gave the node 'a' without metadata\['bm25'\]"):
        li.RetrieverSource(Listed(FOUND), score="bm25").search([Question("x")], 2)
    with pytest.raises(SourceError, match=r"gave the node 'a' without score.*RetrieverSource\(retriever, score="):
        li.RetrieverSource(Listed([("a", None)])).search([Question("x")], 2)


def test_a_retriever_whose_depth_cannot_be_set_must_be_told_how():
    class Fixed(BaseRetriever):
        def _retrieve(self, query_bundle):
            return Listed(FOUND, 4)._retrieve(query_bundle)

    with pytest.raises(InvalidInputError, match=r"Fixed has no similarity_top_k.*deeper="):
        li.RetrieverSource(Fixed())
    source = li.RetrieverSource(Fixed(), deeper=lambda retriever, k: retriever)
    assert list(source.search([Question("x")], 2)[0].ids) == ["a", "b"]
    asked = []
    source = li.RetrieverSource(Fixed(), deeper=lambda _, k: asked.append(k) or Listed(FOUND, k))
    assert (list(source.search([Question("x")], 3)[0].ids), asked[-1]) == (["a", "b", "c"], 3)


def test_a_retriever_over_vectors_needs_its_score_kind(corpus):
    model = FixedEmbedding(vectors={q: v.tolist() for q, v in corpus.vectors.items()})
    nodes = [TextNode(id_=i, text=i, embedding=v.tolist()) for i, v in corpus.images.items()]
    index = VectorStoreIndex(nodes, embed_model=model)
    retriever = VectorIndexRetriever(index, similarity_top_k=2)
    with pytest.raises(UnknownScoreKindError, match=r"SimpleVectorStore.*index.vector_store.*score_kind="):
        li.RetrieverSource(retriever)
    with pytest.raises(InvalidInputError, match="mode 'mmr' gives no function of the cosine"):
        li.RetrieverSource(VectorIndexRetriever(index, vector_store_query_mode="mmr"), score_kind="cosine")
    source = li.RetrieverSource(retriever, score_kind="cosine")
    assert (source.unbounded, source.score_kind, retriever.similarity_top_k) == (False, "cosine", 2)
    question = corpus.questions[0]
    found = source.search([Question(question)], 6)[0]
    expected = sorted(corpus.cosines(question).items(), key=lambda pair: -pair[1])[:6]
    assert list(found.ids) == [i for i, _ in expected]
    np.testing.assert_allclose(found.cosines, [c for _, c in expected], atol=1e-6)


@pytest.mark.parametrize("mode", ["reciprocal_rerank", "relative_score", "dist_based_score"])
def test_fused_scores_that_are_normalized_per_question_are_refused(mode):
    fused = QueryFusionRetriever([Listed(FOUND)], llm=MockLLM(), mode=mode, num_queries=1)
    with pytest.raises(InvalidInputError, match=rf"mode '{mode}'.*normalized per question.*one of its retrievers"):
        li.RetrieverSource(fused)


def test_a_simple_fusion_is_asked_deeper_with_all_its_retrievers():
    parts = [Listed(FOUND, 1), Listed([("x", 9.0), ("y", 8.0), ("z", 1.0)], 1)]
    fused = QueryFusionRetriever(parts, llm=MockLLM(), mode="simple", num_queries=1, use_async=False)
    found = li.RetrieverSource(fused).search([Question("x")], 4)[0]
    assert list(zip(found.ids, found.cosines.tolist(), strict=True)) == [("a", 12), ("x", 9), ("y", 8), ("b", 7)]
    assert [part.similarity_top_k for part in parts] == [1, 1]


def test_a_subclass_that_retrieves_its_own_way_is_asked_that_way(corpus):
    class Doubled(BM25Retriever):
        def _retrieve(self, query_bundle):
            return [NodeWithScore(node=n.node, score=2 * n.score) for n in super()._retrieve(query_bundle)]

    question = Question(corpus.questions[0])
    plain = li.RetrieverSource(BM25Retriever(nodes=nodes_of(corpus)), treatment="raw").search([question], 5)[0]
    source = li.RetrieverSource(Doubled(nodes=nodes_of(corpus)))
    doubled = source.search([question], 5)[0]
    assert (list(doubled.ids), source.score_kind) == (list(plain.ids), "Doubled:raw")
    np.testing.assert_allclose(doubled.cosines, 2 * plain.cosines)
    assert len(source.search([question], 10 * TEXTS)[0].ids) == TEXTS


# LangChain


@pytest.mark.parametrize("variant", ["BM25Okapi", "BM25L", "BM25Plus"])
def test_scores_are_those_of_rank_bm25_for_every_variant(corpus, variant):
    import rank_bm25

    documents = documents_of(corpus)
    index = getattr(rank_bm25, variant)([d.page_content.split() for d in documents])
    source = lc.RetrieverSource(LangChainBM25(vectorizer=index, docs=documents), treatment="raw")
    assert source.score_kind == f"{variant}:raw"
    for question in corpus.questions:
        theirs = dict(zip(corpus.texts, index.get_scores(question.split()), strict=True))
        found = source.search([Question(question)], TEXTS)[0]
        assert set(found.ids) == set(okapi(corpus.texts, question)[0])
        assert dict(zip(found.ids, found.cosines, strict=True)) == pytest.approx({i: theirs[i] for i in found.ids})
        top = LangChainBM25(vectorizer=index, docs=documents, k=1).invoke(question)[0]
        assert found.cosines[0] == pytest.approx(theirs[top.id])


def test_the_retrievers_own_way_to_split_words_is_used(corpus):
    retriever = LangChainBM25.from_documents(documents_of(corpus), preprocess_func=lambda text: text.upper().split())
    found = lc.RetrieverSource(retriever).search([Question("DOG Straße")], TEXTS)[0]
    assert set(found.ids) == {i for i, t in corpus.texts.items() if {"DOG", "STRASSE"} & set(t.upper().split())}


def test_documents_are_named_as_the_retriever_says(corpus):
    nameless = LangChainBM25.from_documents(documents_of(corpus, ids=False))
    with pytest.raises(SourceError, match=r"has no id.*id_key="):
        langchain(corpus, nameless).calibrate(corpus.questions, method="standardized")
    for store in (nameless, lc.RetrieverSource(nameless)):
        ours = langchain(corpus, store, id_key="page")
        ours.calibrate(corpus.questions, method="standardized")
        assert_same(
            hits(ours.invoke(corpus.questions[0])),
            corpus.ranking(corpus.questions[0], 10, bm25_of("langchain", corpus)),
        )


def test_several_documents_of_a_page_come_once(corpus):
    documents = [Document(page_content=t, metadata={"page": f"p{int(i[1:]) % 7}"}) for i, t in corpus.texts.items()]
    ours = langchain(corpus, LangChainBM25.from_documents(documents), id_key="page", k=40)
    ours.calibrate(corpus.questions, method="standardized")
    question = max(corpus.questions, key=lambda q: len(okapi(corpus.texts, q)[0]))
    best = {}
    for i, number in treated(bm25_of("langchain", corpus), question).items():
        page = f"p{int(i[1:]) % 7}"
        best[page] = max(number, best.get(page, -math.inf))
    assert {i: n for i, n, _ in hits(ours.invoke(question)) if i[0] == "p"} == pytest.approx(best)


def crowded():
    """Ten chunks of page A, all better than the only one of each other page; the last chunks of A are in English."""
    chunks = [("A", f"dog {'dog ' * (20 - n)}", "en" if n > 7 else "de") for n in range(10)]
    chunks += [(page, f"dog cat {page} bus train child beach snow", "en") for page in "BCDE"]
    others = [(f"z{n}", f"mountain river {n}", "de") for n in range(30)]
    return [Document(page_content=t, metadata={"page": p, "lang": lang}) for p, t, lang in chunks + others]


@pytest.mark.parametrize("way", ["index", "asked"])
async def test_chunks_of_one_page_never_starve_other_pages(way):
    bm25 = LangChainBM25.from_documents(crowded())
    if way == "index":
        given = bm25
    else:
        ranked = lc.RetrieverSource(bm25).viewed(View("text", id_key="page")).search([Question("dog")], 50)[0]
        scores = zip(ranked.payloads, ranked.cosines.tolist(), strict=True)
        found = [d.model_copy(update={"metadata": {**d.metadata, "score": s}}) for d, s in scores]
        given = lc.RetrieverSource(Given(documents=found), score="score")

    for settings, expected in (
        ({"k": 3}, 3),
        ({"k": 50}, 5),
        ({"k": 3, "filter": {"lang": "en"}}, 3),
        ({"k": 50, "filter": {"lang": "en"}}, 5),
    ):
        ours = lc.StandardizedMultiModalRetriever(text_store=given, id_key="page", raw=True, **settings)
        answer = ours.invoke("dog")
        assert answer[0].metadata["page"] == "A"
        assert len({d.metadata["page"] for d in answer}) == len(answer) == expected
        assert await ours.ainvoke("dog") == answer
        wanted = "en" if "filter" in settings else "de"
        assert answer[0].metadata["lang"] == wanted  # the best chunk of the page that may be found


def test_the_users_filter_holds_for_the_retriever_too(corpus):
    ours = langchain(corpus, filter=lambda document: int(document.metadata["page"][1:]) % 2 == 0, k=200)
    ours.calibrate(corpus.questions, method="standardized")
    question = corpus.questions[0]
    expected = {i for i in [*okapi(corpus.texts, question)[0], *corpus.images] if int(i[1:]) % 2 == 0}
    assert {i for i, *_ in hits(ours.invoke(question))} == expected


class Searcher(LangChainRetriever):
    """Gives documents that carry their score in metadata, as retrievers of search services do."""

    found: list
    k: int = 2

    def _get_relevant_documents(self, query, *, run_manager):
        return [Document(id=i, page_content=i, metadata={"score": s}) for i, s in self.found[: self.k]]


class Given(LangChainRetriever):
    """Gives fixed documents, as many as are asked for."""

    documents: list
    k: int = 4

    def _get_relevant_documents(self, query, *, run_manager):
        return self.documents[: self.k]


def test_scores_in_metadata_are_used_if_they_are_named():
    given = Searcher(found=FOUND)
    for score in ("score", lambda document: document.metadata["score"]):
        source = lc.RetrieverSource(given, score=score)
        for questions in ([Question("x")], [Question("x"), Question("y"), Question("z")]):
            found = source.search(questions, 3)
            assert [(list(f.ids), f.cosines.tolist()) for f in found] == [(["a", "b", "c"], [12, 7, 7])] * len(
                questions
            )
            found = asyncio.run(source.asearch(questions, 9))
            assert [list(f.ids) for f in found] == [["a", "b", "c", "d"]] * len(questions)
    assert (source.score_kind, given.k) == ("Searcher:raw", 2)
    with pytest.raises(InvalidInputError, match=r"Searcher.*RetrieverSource\(retriever, score=.*its vector store$"):
        lc.RetrieverSource(given)
    with pytest.raises(SourceError, match=r"gave the document 'a' \('a'\) without metadata\['points'\]"):
        lc.RetrieverSource(given, score="points").search([Question("x")], 1)


def test_a_named_score_kind_makes_cosines_of_a_retrievers_scores():
    source = lc.RetrieverSource(Searcher(found=[("a", 0.1), ("b", 0.7)]), score="score", score_kind="cosine_distance")
    found = source.search([Question("x")], 2)[0]
    assert (list(found.ids), source.unbounded, source.score_kind) == (["a", "b"], False, "cosine_distance")
    np.testing.assert_allclose(found.cosines, [0.9, 0.3])


def test_retrievers_without_scores_are_refused_with_a_way_out(corpus):
    classic = pytest.importorskip("langchain_classic.retrievers")
    bm25 = LangChainBM25.from_documents(documents_of(corpus))
    with pytest.raises(InvalidInputError, match=r"joins the ranks of its retrievers.*pass one of its retrievers"):
        langchain(corpus, classic.EnsembleRetriever(retrievers=[bm25, bm25]))
    by_vector = InMemoryVectorStore(Embeddings(corpus)).as_retriever()
    with pytest.raises(InvalidInputError, match=r"pass its vector store \(retriever.vectorstore\)"):
        langchain(corpus, by_vector)


def test_how_many_documents_come_is_set_on_a_copy(corpus):
    class Unlimited(LangChainRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return Searcher(found=FOUND, k=4).invoke(query)

    with pytest.raises(InvalidInputError, match=r"Unlimited has none of k, top_k.*deeper="):
        lc.RetrieverSource(Unlimited(), score="score")
    source = lc.RetrieverSource(Unlimited(), score="score", deeper=lambda retriever, k: retriever)
    assert list(source.search([Question("x")], 2)[0].ids) == ["a", "b"]
    store = InMemoryVectorStore(WordEmbeddings())
    store.add_documents([Document(id=f"{i}", page_content=f"{i}", metadata={"n": i}) for i in range(9)])
    retriever = store.as_retriever(search_kwargs={"k": 1})
    found = lc.RetrieverSource(retriever, score="n").search([Question("x")], 5)[0]
    assert (len(found.ids), retriever.search_kwargs) == (5, {"k": 1})


def test_a_core_source_by_words_works_in_both_frameworks(corpus):
    """Any object that says ``unbounded`` and ``by_text`` itself."""
    source = lc.RetrieverSource(LangChainBM25.from_documents(documents_of(corpus)))
    expected = corpus.ranking(corpus.questions[0], 10, bm25_of("langchain", corpus))
    images = langchain(corpus)

    class Mine:
        unbounded = True
        by_text = True

        def search(self, questions, k):
            return source.search(questions, k)

    ours = langchain(corpus, Mine())
    ours.calibrate(corpus.questions, method="standardized")
    assert_same(hits(ours.invoke(corpus.questions[0])), expected)
    assert images.calibration is None
    nodes = {i: TextNode(id_=i, text=t) for i, t in corpus.texts.items()}
    theirs = llama(corpus, Mine(), text_nodes=nodes)
    assert isinstance(theirs.calibrate(corpus.questions, method="standardized"), Calibration)
