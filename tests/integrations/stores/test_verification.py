"""Every way in which a real store's number is not the cosine, found before the first search and said in words.

Known stores are read rightly by themselves; where a test names a score kind, it is a user's mistake. A ``Proxy`` hides
the class of a real store, so that it is asked as one that Commonscale does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import StoreCheckError
from llama_world import FixedEmbedding
from sources import unit_rows
from store_suite import forms
from store_suite.checks import recall
from store_suite.corpus import QUESTIONS, Corpus
from store_suite.kind import Kind
from store_suite.registry import KINDS

DIMENSION = 16
BY_ID = {kind.id: kind for kind in KINDS}


class Proxy:
    """A real store behind a class of another name; what is given replaces its attributes."""

    def __init__(self, store: Any, **changed: Any) -> None:
        self._store = store
        self.__dict__.update(changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def vectors(count: int = 60, *, norm: float = 1.0, seed: int = 0) -> np.ndarray:
    """Vectors (count, 16) of norms between 1 / norm and norm."""
    rng = np.random.default_rng(seed)
    stretch = norm ** rng.uniform(-1, 1, (count, 1))
    return (unit_rows(rng, count, DIMENSION) * stretch).astype(np.float32)


def nodes_of(rows: np.ndarray) -> list[Any]:
    from llama_index.core.schema import TextNode

    return [TextNode(id_=f"t{i}", text=f"text {i}", embedding=row.tolist()) for i, row in enumerate(rows)]


def for_llama_index(store: Any, rows: np.ndarray | None = None, **settings: Any) -> Any:
    """A LlamaIndex retriever over one text store, with the nodes of the rows where it keeps only vectors."""
    from commonscale.llama_index import StandardizedMultiModalRetriever

    if rows is not None:
        settings["text_nodes"] = nodes_of(rows)
    model = FixedEmbedding(vectors={"a question": vectors(1, seed=9)[0].tolist()})
    return StandardizedMultiModalRetriever(text_store=store, embed_model=model, raw=True, **settings)


def for_langchain(store: Any, **fields: Any) -> Any:
    """A LangChain retriever over one text store."""
    from commonscale.langchain import StandardizedMultiModalRetriever

    embeddings = forms.lc_embeddings(questions={"a question": vectors(1, seed=9)[0].tolist()})
    return StandardizedMultiModalRetriever(text_store=store, embeddings=embeddings, raw=True, **fields)


def refused(retriever: Any, name: str, *words: str) -> None:
    """The first search raises, and ``verify`` says the same."""
    ask = retriever.invoke if hasattr(retriever, "invoke") else retriever.retrieve
    with pytest.raises(StoreCheckError) as raised:
        ask("a question")
    report = retriever.verify(["a question"])
    assert not report.ok
    assert name in {error.name for error in report["text"].errors}, str(report)
    for said in (str(raised.value), str(report)):
        assert f"error ({name})" in said
        for word in words:
            assert word in said


def faiss_nodes(rows: np.ndarray, factory: str = "Flat", metric: str = "IP", nprobe: int | None = None) -> Any:
    """A FaissVectorStore."""
    faiss: Any = pytest.importorskip("faiss")
    module = pytest.importorskip("llama_index.vector_stores.faiss")
    metrics = {"IP": faiss.METRIC_INNER_PRODUCT, "L2": faiss.METRIC_L2}
    index = faiss.index_factory(DIMENSION, factory, metrics[metric])
    index.train(rows)
    if nprobe is not None:
        index.nprobe = nprobe
    # All at once: the store adds one by one, and a code of products takes its time to begin.
    index.add(rows)
    return module.FaissVectorStore(faiss_index=index)


def faiss_documents(rows: np.ndarray, strategy: str | None = None, **options: Any) -> Any:
    """LangChain's FAISS, exact, by a distance strategy."""
    faiss = pytest.importorskip("langchain_community.vectorstores.faiss")
    utils = pytest.importorskip("langchain_community.vectorstores.utils")
    if strategy is not None:
        options["distance_strategy"] = utils.DistanceStrategy[strategy]
    pairs = [(f"text {i}", row) for i, row in enumerate(rows.tolist())]
    return faiss.FAISS.from_embeddings(pairs, forms.lc_embeddings(), ids=[f"t{i}" for i in range(len(rows))], **options)


def by_relevance(store: Any, rows: np.ndarray | None = None) -> Proxy:
    """Search by LangChain's relevance scores, which are made from the store's own; vectors from ``get`` if given."""

    def search(embedding: list[float], k: int = 4, **kwargs: Any) -> Any:
        relevance = store._select_relevance_score_fn()
        found = store.similarity_search_with_score_by_vector(embedding, k=k, **kwargs)
        return [(document, relevance(score)) for document, score in found]

    changed: dict[str, Any] = {"similarity_search_with_score_by_vector": search}
    if rows is not None:
        changed["get"] = lambda ids, include: {"ids": ids, "embeddings": [rows[int(i[1:])] for i in ids]}
    return Proxy(store, **changed)


def simple(rows: np.ndarray, change: Callable[..., Any], *, give: bool = True) -> Proxy:
    """A SimpleVectorStore whose answers are changed, and which gives its vectors or does not."""
    from llama_index.core.vector_stores import SimpleVectorStore

    store = SimpleVectorStore()
    nodes = nodes_of(rows)
    store.add(nodes)
    by_id = {node.node_id: node for node in nodes}
    changed: dict[str, Any] = {"query": lambda query, **kwargs: change(store, query)}
    if give:
        changed["get_nodes"] = lambda node_ids: [by_id[i] for i in node_ids]
    return Proxy(store, **changed)


def test_faiss_squared_distances_read_as_cosines_are_inverted() -> None:
    rows = vectors()
    refused(
        for_llama_index(faiss_nodes(rows, metric="L2"), rows, score_kind="cosine"),
        "inverted",
        "numbers are 'squared_l2'",
        "pass score_kind='squared_l2'",
    )
    # FAISS's distances are squared; taken for plain ones they bend the scale.
    refused(for_llama_index(faiss_nodes(rows, metric="L2"), rows, score_kind="l2"), "squared", "squared distances")
    assert for_llama_index(faiss_nodes(rows, metric="L2"), rows, score_kind="squared_l2").verify(["a question"]).ok


def test_langchain_faiss_with_cosine_strategy_still_returns_squared_distances() -> None:
    refused(for_langchain(faiss_documents(vectors(), "COSINE"), score_kind="cosine"), "inverted", "'squared_l2'")


@pytest.mark.parametrize("metric", ["IP", "L2"])
def test_faiss_of_longer_vectors_is_unnormalized_if_a_kind_is_named_and_right_if_not(metric: str) -> None:
    rows = vectors(norm=10.0)
    kind = {"IP": "inner_product", "L2": "squared_l2"}[metric]
    refused(
        for_llama_index(faiss_nodes(rows, metric=metric), rows, score_kind=kind),
        "unnormalized",
        "stored vectors have norms from",
    )
    report = for_llama_index(faiss_nodes(rows, metric=metric), rows).verify(["a question"])
    assert report.ok, str(report)
    assert report["text"].recall == 1.0


UNNORMALIZED = [kind for kind in KINDS if kind.norm == 1.0 and not kind.name.startswith("fake")]


@pytest.mark.parametrize("kind", UNNORMALIZED, ids=lambda kind: kind.id)
def test_longer_vectors_are_ranked_rightly_or_refused(kind: Kind, open_kind: Any) -> None:
    """Inner products and distances find the wrong documents: Qdrant DOT and EUCLID, Chroma l2 and ip, Milvus IP."""
    corpus = Corpus(norm=10.0)
    ours = open_kind(kind, "two", corpus, behaviour="verify")
    retriever = ours.retriever(raw=True)
    report = retriever.verify(QUESTIONS[:1])
    if not report.ok:
        assert "does not find the documents of highest cosine" in str(report)
        with pytest.raises(StoreCheckError, match=r"error \(unnormalized\): stored vectors have norms from"):
            ours.ask(retriever, QUESTIONS[0])
        return
    found = ours.ask_all(retriever, QUESTIONS)
    wanted = [[i for i, _ in corpus.ranking(q, 20, raw=True)] for q in range(len(QUESTIONS))]
    share = np.mean([recall([i for i, _ in f], w) for f, w in zip(found, wanted, strict=True)])
    assert share >= (kind.recall if kind.recall < 1.0 else 1.0)


@pytest.mark.parametrize(
    ("kind", "named", "finding", "words"),
    [
        ("llama_index-chroma-memory-l2", "cosine", "other kind", "'exp_neg_squared_l2' (cosine = 1 + ln(r) / 2)"),
        ("llama_index-chroma-memory-cosine", "cosine", "other kind", "'exp_neg_cosine_distance' (cosine = 1 + ln r)"),
        ("langchain-chroma-memory-l2", "cosine", "inverted", "'squared_l2'"),
        ("langchain-chroma-memory-cosine", "cosine", "inverted", "'cosine_distance'"),
        ("llama_index-lancedb", "cosine", "inverted", "'cosine_distance'"),
        ("langchain-lancedb", "cosine", "inverted", "'cosine_distance'"),
        ("llama_index-qdrant-memory-euclid", "squared_l2", "squared", "'l2'"),
        ("langchain-qdrant-memory-euclid", "cosine", "inverted", "'l2'"),
        ("llama_index-qdrant-memory-cosine", "cosine_distance", "inverted", "'cosine'"),
        ("llama_index-milvus-l2", "cosine", "inverted", "'squared_l2'"),
        ("llama_index-postgres", "half_one_plus_cosine", "other kind", "'cosine'"),
    ],
)
def test_a_wrong_score_kind_for_a_known_store_is_named(
    kind: str, named: str, finding: str, words: str, open_kind: Any
) -> None:
    ours = open_kind(BY_ID[kind], "two", Corpus(), behaviour="verify")
    retriever = ours.retriever(raw=True, score_kind=named)
    with pytest.raises(StoreCheckError, match=rf"error \({finding}\)") as raised:
        ours.ask(retriever, QUESTIONS[0])
    assert words in str(raised.value)
    # Without it the store is read rightly, and with the check turned off the mistake is the user's own.
    assert ours.retriever().verify(QUESTIONS[:1]).ok
    assert not ours.retriever(raw=True, score_kind=named, check=False).verify(QUESTIONS[:1]).ok


def test_lancedb_as_an_unknown_store_returns_exponentials(open_kind: Any) -> None:
    ours = open_kind(BY_ID["llama_index-lancedb"], "two", Corpus(norm=1.0), behaviour="verify")
    ours.stores = {"text_store": Proxy(ours.stores["text_store"])}
    with pytest.raises(StoreCheckError, match=r"other kind.*'exp_neg_squared_l2'"):
        ours.ask(ours.retriever(raw=True, score_kind="cosine"), QUESTIONS[0])
    right = ours.retriever(raw=True, score_kind="exp_neg_squared_l2").verify(QUESTIONS[:1])
    assert right.ok, str(right)


def test_langchains_relevance_of_an_inner_product_is_inverted() -> None:
    rows = vectors(12)
    refused(
        for_langchain(by_relevance(faiss_documents(rows, "MAX_INNER_PRODUCT"), rows), score_kind="cosine"), "inverted"
    )
    # Also without vectors: the best hits come with the lowest numbers.
    retriever = for_langchain(by_relevance(faiss_documents(vectors(), "MAX_INNER_PRODUCT")), score_kind="cosine")
    refused(retriever, "inverted", "best hits of every answer get the lowest cosines")


def test_langchains_relevance_of_a_squared_distance_is_another_function_which_is_given() -> None:
    rows = vectors()
    retriever = for_langchain(by_relevance(faiss_documents(rows), rows), score_kind="cosine")
    refused(retriever, "other function", "pass score_kind=lambda r:")
    function = eval(retriever.verify(["a question"])["text"].errors[0].words.split("score_kind=")[1])
    fixed = for_langchain(by_relevance(faiss_documents(rows), rows), score_kind=function).verify(["a question"])
    assert fixed.ok, str(fixed)


def test_qdrants_relevance_is_half_of_one_plus_the_cosine() -> None:
    qdrant = pytest.importorskip("langchain_qdrant")
    from qdrant_client import QdrantClient, models

    rows = vectors()
    client = QdrantClient(":memory:")
    client.create_collection("c", models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE))
    points = [
        models.PointStruct(id=i, vector=row, payload={"page_content": f"text {i}", "metadata": {"name": f"t{i}"}})
        for i, row in enumerate(rows.tolist())
    ]
    client.upsert("c", points)
    store = qdrant.QdrantVectorStore(client, "c", forms.lc_embeddings(), validate_collection_config=False)
    proxy = by_relevance(store, rows)
    proxy.get = lambda ids, include: {"ids": ids, "embeddings": [rows[int(i)] for i in ids]}
    identified = Proxy(proxy, similarity_search_with_score_by_vector=_with_ids(proxy))
    refused(for_langchain(identified, score_kind="cosine"), "other kind", "'half_one_plus_cosine' (cosine = 2r - 1)")
    assert for_langchain(identified, score_kind="half_one_plus_cosine").verify(["a question"]).ok
    client.close()


def _with_ids(store: Any) -> Callable[..., Any]:
    def search(embedding: list[float], k: int = 4, **kwargs: Any) -> Any:
        found = store.similarity_search_with_score_by_vector(embedding, k=k, **kwargs)
        for document, _ in found:
            document.id = str(document.metadata["_id"])
        return found

    return search


@pytest.mark.parametrize("give", [True, False], ids=["with vectors", "without vectors"])
def test_elasticsearchs_min_max_is_normalized_per_query(give: bool) -> None:
    """A fake Elasticsearch, since no server can be had here; its normalization is the real store's own function."""
    module = pytest.importorskip("llama_index.vector_stores.elasticsearch.base")

    def change(store: Any, query: Any) -> Any:
        result = store.query(query)
        result.similarities = module._to_llama_similarities([(1 + s) / 2 for s in result.similarities])
        return result

    rows = vectors()
    store = simple(rows, change, give=give)
    nodes = {node.node_id: node for node in nodes_of(rows)}
    refused(for_llama_index(store, text_nodes=nodes, score_kind="cosine"), "per query")


def test_fusion_by_relative_score_is_normalized_per_query() -> None:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.llms import MockLLM
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.schema import QueryBundle
    from llama_index.core.vector_stores.types import VectorStoreQueryResult

    rows = vectors()
    nodes = nodes_of(rows)
    index = VectorStoreIndex(nodes, embed_model=FixedEmbedding())

    def query(asked: Any, **kwargs: Any) -> VectorStoreQueryResult:
        k = asked.similarity_top_k
        plain = [index.as_retriever(similarity_top_k=k)]
        settings = {"num_queries": 1, "use_async": False, "similarity_top_k": k}
        fusion = QueryFusionRetriever(plain, llm=MockLLM(), mode="relative_score", **settings)
        found = fusion.retrieve(QueryBundle(query_str="a question", embedding=asked.query_embedding))
        kept = [hit.node.model_copy(update={"embedding": rows[int(hit.node_id[1:])].tolist()}) for hit in found]
        return VectorStoreQueryResult(nodes=kept, similarities=[hit.score for hit in found])

    store = Proxy(index.vector_store, query=query, stores_text=True)
    refused(for_llama_index(store, score_kind="cosine"), "per query", "the best hit of every question gets 1.0")


@pytest.mark.parametrize("threshold", [0.2, 0.6])
def test_mmr_is_not_the_order_of_similarity(threshold: float) -> None:
    from llama_index.core.vector_stores.types import VectorStoreQueryMode

    def diversified(store: Any, query: Any) -> Any:
        query.mode, query.mmr_threshold = VectorStoreQueryMode.MMR, threshold
        return store.query(query)

    rows = vectors()
    nodes = {node.node_id: node for node in nodes_of(rows)}
    report = for_llama_index(simple(rows, diversified), text_nodes=nodes, score_kind="cosine").verify(["a question"])
    assert {"reordered"} & {error.name for error in report["text"].errors}, str(report)


def test_mmr_with_the_stores_own_scores_is_not_the_order_of_similarity() -> None:
    rows = vectors()
    store = faiss_documents(rows, "MAX_INNER_PRODUCT")

    def search(embedding: list[float], k: int = 4, **kwargs: Any) -> Any:
        found = store.max_marginal_relevance_search_with_score_by_vector(embedding, k=k, fetch_k=3 * k, lambda_mult=0.3)
        return [(document, float(score)) for document, score in found]

    get = by_relevance(store, rows).get
    proxy = Proxy(store, similarity_search_with_score_by_vector=search, get=get)
    refused(for_langchain(proxy, score_kind="inner_product"), "reordered", "MMR")


def test_an_inverted_file_that_looks_at_one_cell_is_approximate_and_searched_all_the_same() -> None:
    rows = vectors(2000)
    retriever = for_llama_index(faiss_nodes(rows, "IVF32,Flat", nprobe=1), rows)
    assert len(retriever.retrieve("a question")) == 10
    check = retriever.verify(["a question"])["text"]
    assert check.ok
    assert {note.name for note in check.notes} == {"approximate"}
    assert check.recall is not None
    assert 0.1 < check.recall < 0.9
    assert check.largest_difference == pytest.approx(0, abs=1e-5)
    every_cell = for_llama_index(faiss_nodes(rows, "IVF32,Flat", nprobe=32), rows).verify(["a question"])["text"]
    assert every_cell.notes == ()
    assert every_cell.recall == 1.0


@pytest.mark.parametrize("factory", ["SQ4", "PQ16x4", "IVF8,PQ16x4"])
@pytest.mark.parametrize("metric", ["IP", "L2"])
def test_compressed_vectors_are_a_note(factory: str, metric: str) -> None:
    rows = vectors(2000)
    kind = {"IP": "inner_product", "L2": "squared_l2"}[metric]
    retriever = for_llama_index(faiss_nodes(rows, factory, metric, nprobe=8 if "IVF" in factory else None), rows)
    named = for_llama_index(
        faiss_nodes(rows, factory, metric, nprobe=8 if "IVF" in factory else None), rows, score_kind=kind
    )
    assert len(named.retrieve("a question")) == 10
    for report in (retriever.verify(["a question"]), named.verify(["a question"])):
        assert report.ok, str(report)
    assert "compressed" in {note.name for note in named.verify(["a question"])["text"].notes}


def test_the_check_is_made_once_for_all_filters_of_a_retriever() -> None:
    rows = vectors()
    asked = []
    store = faiss_documents(rows, "MAX_INNER_PRODUCT")

    def search(embedding: list[float], k: int = 4, **kwargs: Any) -> Any:
        asked.append(kwargs)
        return store.similarity_search_with_score_by_vector(embedding, k=k, **kwargs)

    proxy = Proxy(store, similarity_search_with_score_by_vector=search)
    retriever = for_langchain(proxy, score_kind="inner_product")
    for filter in (None, {"year": 1}, {"year": 2}):
        retriever.invoke("a question", filter=filter)
    # Without vectors only the two random questions are asked.
    assert len(asked) == 2 + 3
    assert retriever.verify(["a question"])["text"].unchecked is not None


async def test_verifying_is_also_asynchronous() -> None:
    rows = vectors()
    assert (await for_llama_index(faiss_nodes(rows), rows).averify(["a question"])).ok
    report = await for_langchain(faiss_documents(rows), score_kind="cosine").averify(["a question"])
    assert not report.ok
