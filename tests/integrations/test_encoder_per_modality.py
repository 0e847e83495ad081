"""A model of its own for each modality, end to end: an encoder of texts (or BM25) for passages, CLIP for pictures.

The world is the drawn one of the demonstration, with its own trained CLIP. Passages are embedded by another model of
another length: a bag of words, or a real (but untrained) SentenceTransformer.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("faiss")

from commonscale import Calibration, JointSearch, Question
from commonscale.core.errors import CalibrationMismatchError, EncoderMismatchError
from commonscale.core.types import IMAGE, TEXT
from commonscale.demo import ENCODER_FOLDER, build_world, draw_pictures, wording
from commonscale.encoders import CachedEncoder, CallableEncoder, Encoder, load_encoder
from commonscale.index import Document, FaissIndex, MemoryIndex

# The untrained SentenceTransformer has a tokenizer of letters and reads 20 of them: enough to tell passages apart.
pytestmark = pytest.mark.filterwarnings("ignore:.*longer than the 20 tokens:commonscale.core.errors.TruncationWarning")

SCENES = 60
WORDS = 96


def bag_of_words(texts: list[str]) -> np.ndarray:
    """Count the words of each text, hashed into 96 places, with a constant that keeps every vector from being null."""
    rows = np.zeros((len(texts), WORDS))
    rows[:, 0] = 0.1
    for row, text in enumerate(texts):
        for word in re.findall(r"[a-z]+", text.lower()):
            rows[row, zlib.crc32(word.encode()) % WORDS] += 1.0
    return rows


@dataclass
class Corpus:
    """Scenes known by a picture, others known by passages, and questions about both and about neither."""

    passages: dict[str, str]
    pictures: dict[str, str]
    questions: dict[str, set[str]]
    calibration: list[str]
    notes: dict[str, str] = field(default_factory=dict)
    """Of the written scenes, in the words of those who ask; passages mostly use other words, which BM25 never finds."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    world = build_world()
    files = draw_pictures(world, tmp_path_factory.mktemp("pictures"))
    chosen = [*world.of(TEXT)[:SCENES], *world.of(IMAGE)[:SCENES]]
    documents = {key for entry in chosen for key in entry.documents}
    return Corpus(
        {key: text for key, text in world.passages.items() if key in documents},
        {key: path for key, path in files.items() if key in documents},
        {entry.question: set(entry.documents) for entry in chosen},
        list(world.calibration_questions[:120]),
        {
            entry.documents[0]: wording.question(entry.scene, random.Random(entry.id))
            for entry in world.of(TEXT)[:SCENES]
        },
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encoder]:
    """The model of the pictures, which embeds each of them once for all tests."""
    with CachedEncoder(load_encoder(str(ENCODER_FOLDER), device="cpu"), tmp_path_factory.mktemp("cache")) as encoder:
        yield encoder


@pytest.fixture(scope="module", params=["bag of words", "sentence-transformers"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The model of the passages."""
    if request.param == "bag of words":
        return CallableEncoder(embed_text=bag_of_words, fingerprint="bag-of-words-96")
    pytest.importorskip("sentence_transformers")
    from tiny_checkpoints.sentence_transformers import save_tiny_st_text

    return load_encoder(str(save_tiny_st_text(tmp_path_factory.mktemp("models") / "text")), device="cpu")


@dataclass
class Expected:
    """Every cosine and score, computed with numpy from each encoder's vectors."""

    cosines: dict[str, dict[str, float]]
    statistics: dict[str, tuple[float, float]]

    def ranking(self, k: int) -> list[tuple[str, float]]:
        scored = [
            (key, (cosine - mean) / std)
            for modality, (mean, std) in self.statistics.items()
            for key, cosine in self.cosines[modality].items()
        ]
        return sorted(scored, key=lambda pair: -pair[1])[:k]


def expected(corpus: Corpus, reader: Encoder, clip: Encoder, question: str) -> Expected:
    rows = {
        TEXT: (reader, list(corpus.passages), reader.encode_texts(list(corpus.passages.values()))),
        IMAGE: (clip, list(corpus.pictures), clip.encode_images(list(corpus.pictures.values()))),
    }
    cosines, statistics = {}, {}
    for modality, (encoder, keys, vectors) in rows.items():
        asked = encoder.encode_questions([question, *corpus.calibration]).astype(np.float64)
        found = asked @ vectors.astype(np.float64).T
        cosines[modality] = dict(zip(keys, found[0].tolist(), strict=True))
        best = found[1:].max(axis=1)
        statistics[modality] = (float(best.mean()), float(best.std()))
    return Expected(cosines, statistics)


class LlamaIndex:
    """LlamaIndex's stores and retriever."""

    def __init__(self) -> None:
        pytest.importorskip("llama_index.core")

    def store(self, kind: str, dimension: int, folder: Path) -> dict[str, Any]:
        from llama_index.core.storage.docstore import SimpleDocumentStore
        from llama_index.core.vector_stores import SimpleVectorStore

        if kind == "memory":
            return {"store": SimpleVectorStore(), "docstore": SimpleDocumentStore()}
        if kind == "index":
            return {"store": FaissIndex.create(folder, dimension)}
        import faiss

        module = pytest.importorskip("llama_index.vector_stores.faiss")
        store = module.FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(dimension)))
        return {"store": store, "docstore": SimpleDocumentStore()}

    def add(self, stores: dict[str, dict[str, Any]], corpus: Corpus, reader: Any, clip: Any) -> None:
        from commonscale.llama_index import add_images, add_texts

        place = stores[TEXT]
        ids = list(corpus.passages)
        add_texts(place["store"], list(corpus.passages.values()), reader, ids=ids, docstore=place.get("docstore"))
        place, ids = stores[IMAGE], list(corpus.pictures)
        add_images(place["store"], list(corpus.pictures.values()), clip, ids=ids, docstore=place.get("docstore"))

    def retriever(self, stores: dict[str, dict[str, Any]], reader: Any, clip: Any, **settings: Any) -> Any:
        from commonscale.llama_index import StandardizedMultiModalRetriever
        from commonscale.llama_index.catalog import DocstoreNodes

        nodes = {
            f"{modality}_nodes": DocstoreNodes(place["docstore"])
            for modality, place in stores.items()
            if "docstore" in place
        }
        return StandardizedMultiModalRetriever(
            text_store=stores[TEXT]["store"],
            image_store=stores[IMAGE]["store"],
            embed_model=reader,
            image_embed_model=clip,
            similarity_top_k=20,
            **nodes,
            **settings,
        )

    def search(self, retriever: Any, question: str) -> Any:
        return retriever.retrieve(question)

    def hits(self, nodes: Any) -> list[tuple[str, str, float, float]]:
        return [
            (n.node.node_id, n.metadata["commonscale_modality"], n.metadata["commonscale_cosine"], float(n.score))
            for n in nodes
        ]

    def by_words(self, corpus: Corpus) -> dict[str, Any]:
        from llama_index.core.schema import TextNode

        module = pytest.importorskip("llama_index.retrievers.bm25")
        nodes = [TextNode(id_=key, text=text) for key, text in corpus.passages.items()]
        return {"store": module.BM25Retriever.from_defaults(nodes=nodes)}

    def rescored(self, found: Any, question: str, calibration: Calibration, reader: Any, clip: Any) -> Any:
        """The postprocessor, given the nodes as another retriever would find them."""
        from llama_index.core.schema import NodeWithScore

        from commonscale.llama_index import CommonscaleEmbedding, SimilarityStandardizer

        plain = [NodeWithScore(node=_without_record(node.node.model_copy(deep=True)), score=0.0) for node in found]
        standardizer = SimilarityStandardizer(
            calibration=calibration,
            embed_model=CommonscaleEmbedding(reader),
            image_embed_model=CommonscaleEmbedding(clip),
        )
        return standardizer.postprocess_nodes(plain, query_str=question)


class LangChain:
    """LangChain's stores and retriever."""

    def __init__(self) -> None:
        pytest.importorskip("langchain_core")

    def store(self, kind: str, dimension: int, folder: Path) -> dict[str, Any]:
        from langchain_core.embeddings import DeterministicFakeEmbedding
        from langchain_core.vectorstores import InMemoryVectorStore

        # Never asked: what is put in is embedded before, and the retriever is given its models.
        unused = DeterministicFakeEmbedding(size=dimension)
        if kind == "memory":
            return {"store": InMemoryVectorStore(unused)}
        if kind == "index":
            return {"store": FaissIndex.create(folder, dimension)}
        import faiss

        module = pytest.importorskip("langchain_community.vectorstores.faiss")
        from langchain_community.docstore.in_memory import InMemoryDocstore

        return {"store": module.FAISS(unused, faiss.IndexFlatL2(dimension), InMemoryDocstore(), {})}

    def add(self, stores: dict[str, dict[str, Any]], corpus: Corpus, reader: Any, clip: Any) -> None:
        from commonscale.langchain import add_images, add_texts

        add_texts(stores[TEXT]["store"], list(corpus.passages.values()), reader, ids=list(corpus.passages))
        add_images(stores[IMAGE]["store"], list(corpus.pictures.values()), clip, ids=list(corpus.pictures))

    def retriever(self, stores: dict[str, dict[str, Any]], reader: Any, clip: Any, **settings: Any) -> Any:
        from commonscale.langchain import StandardizedMultiModalRetriever

        return StandardizedMultiModalRetriever(
            text_store=stores[TEXT]["store"],
            image_store=stores[IMAGE]["store"],
            embeddings=reader,
            image_embeddings=clip,
            k=20,
            **settings,
        )

    def search(self, retriever: Any, question: str) -> Any:
        return retriever.invoke(question)

    def hits(self, documents: Any) -> list[tuple[str, str, float, float]]:
        return [
            (
                str(document.id),
                document.metadata["commonscale_modality"],
                document.metadata["commonscale_cosine"],
                document.metadata["commonscale_score"],
            )
            for document in documents
        ]

    def by_words(self, corpus: Corpus) -> dict[str, Any]:
        from langchain_core.documents import Document as LangChainDocument

        pytest.importorskip("rank_bm25")
        module = pytest.importorskip("langchain_community.retrievers")
        documents = [LangChainDocument(id=key, page_content=text) for key, text in corpus.passages.items()]
        return {"store": module.BM25Retriever.from_documents(documents)}

    def rescored(self, found: Any, question: str, calibration: Calibration, reader: Any, clip: Any) -> Any:
        """The compressor, given the documents as another retriever would find them, with vectors beside them."""
        from commonscale.langchain import SimilarityStandardizer

        def vectors(documents: Any) -> list[Any]:
            return [
                clip.encode_images([d.metadata["image_path"]])[0]
                if d.metadata["modality"] == IMAGE
                else reader.encode_texts([d.page_content])[0]
                for d in documents
            ]

        plain = [_without_record(document.model_copy(deep=True)) for document in found]
        standardizer = SimilarityStandardizer(
            calibration=calibration, vectors=vectors, embeddings=reader, image_embeddings=clip
        )
        return standardizer.compress_documents(plain, question)


def _without_record(item: Any) -> Any:
    item.metadata = {key: value for key, value in item.metadata.items() if not key.startswith("commonscale_")}
    return item


FRAMEWORKS: dict[str, Callable[[], Any]] = {"llama-index": LlamaIndex, "langchain": LangChain}


@pytest.fixture(params=list(FRAMEWORKS))
def framework(request: pytest.FixtureRequest) -> Any:
    return FRAMEWORKS[request.param]()


def filled(framework: Any, kind: str, corpus: Corpus, reader: Any, clip: Any, folder: Path) -> dict[str, Any]:
    stores = {
        modality: framework.store(kind, encoder.dimension, folder / modality)
        for modality, encoder in ((TEXT, reader), (IMAGE, clip))
    }
    framework.add(stores, corpus, reader, clip)
    return stores


def check(found: list[tuple[str, str, float, float]], exact: Expected) -> None:
    """Compare hits with the exact ranking; the untrained model gives some passages nearly equal cosines."""
    assert [score for *_, score in found] == pytest.approx([score for _, score in exact.ranking(len(found))], abs=2e-3)
    for key, modality, cosine, score in found:
        mean, std = exact.statistics[modality]
        assert cosine == pytest.approx(exact.cosines[modality][key], abs=2e-5)
        assert score == pytest.approx((cosine - mean) / std, abs=2e-3)


@pytest.mark.parametrize("kind", ["memory", "faiss", "index"])
def test_each_modality_is_searched_and_scaled_by_its_own_model(
    framework: Any, kind: str, corpus: Corpus, reader: Encoder, clip: Encoder, tmp_path: Path
) -> None:
    stores = filled(framework, kind, corpus, reader, clip, tmp_path)
    retriever = framework.retriever(stores, reader, clip)
    calibration = retriever.calibrate(corpus.calibration, method="standardized")
    known = {modality: entry.provenance for modality, entry in calibration.modalities.items()}
    assert reader.dimension != clip.dimension
    for modality, encoder in ((TEXT, reader), (IMAGE, clip)):
        assert known[modality].encoder_fingerprint == encoder.fingerprint
        assert known[modality].dimension == encoder.dimension
    for question in [*corpus.questions][::40]:
        exact = expected(corpus, reader, clip, question)
        for modality, (mean, std) in exact.statistics.items():
            fitted = calibration.modalities[modality].statistics
            assert (fitted.mean, fitted.std) == (pytest.approx(mean, abs=1e-5), pytest.approx(std, abs=1e-5))
        found = framework.search(retriever, question)
        check(framework.hits(found), exact)
        if kind == "memory":
            check(framework.hits(framework.rescored(found, question, calibration, reader, clip)), exact)


@pytest.mark.parametrize("kind", ["memory", "index"])
def test_a_calibration_is_kept_with_both_models_and_refused_when_they_are_swapped(
    framework: Any, kind: str, corpus: Corpus, reader: Encoder, clip: Encoder, tmp_path: Path
) -> None:
    stores = filled(framework, kind, corpus, reader, clip, tmp_path)
    question = next(iter(corpus.questions))
    retriever = framework.retriever(stores, reader, clip)
    retriever.calibrate(corpus.calibration, method="standardized").save(tmp_path / "calibration.json")
    before = framework.hits(framework.search(retriever, question))
    loaded = Calibration.load(tmp_path / "calibration.json")
    again = framework.retriever(stores, reader, clip, calibration=loaded)
    assert framework.hits(framework.search(again, question)) == before
    # An index knows whose vectors it holds; of other stores only the calibration does.
    refused = EncoderMismatchError if kind == "index" else CalibrationMismatchError
    for models in ((clip, reader), (reader, reader), (clip, clip)):
        with pytest.raises(refused, match=f"{reader.fingerprint}|{clip.fingerprint}"):
            framework.search(framework.retriever(stores, *models, calibration=loaded), question)


def recall(framework: Any, retriever: Any, corpus: Corpus) -> dict[str, float]:
    """The share of questions whose answer is among the first three, by where the answer is."""
    found: dict[str, list[bool]] = {TEXT: [], IMAGE: []}
    for asked, answers in corpus.questions.items():
        ids = {key for key, *_ in framework.hits(framework.search(retriever, asked))[:3]}
        found[IMAGE if answers <= set(corpus.pictures) else TEXT].append(bool(ids & answers))
    return {modality: float(np.mean(each)) for modality, each in found.items()}


def test_passages_by_bm25_and_pictures_by_clip(framework: Any, corpus: Corpus, clip: Encoder, tmp_path: Path) -> None:
    corpus = replace(corpus, passages=corpus.notes)
    stores = filled(framework, "memory", corpus, clip, clip, tmp_path)
    stores[TEXT] = framework.by_words(corpus)
    retriever = framework.retriever(stores, None, clip)
    calibration = retriever.calibrate(corpus.calibration, method="standardized")
    provenance = {modality: entry.provenance for modality, entry in calibration.modalities.items()}
    assert provenance[TEXT].encoder_fingerprint is None
    assert provenance[IMAGE].encoder_fingerprint == clip.fingerprint
    shares = recall(framework, retriever, corpus)
    # As good as BM25 is at these notes (measured: 0.58 by bm25s, 0.42 by rank-bm25), and no picture lost to it.
    assert shares[TEXT] > 0.35
    assert shares[IMAGE] > 0.9
    question = next(iter(corpus.questions))
    pictures = expected(corpus, CallableEncoder(embed_text=bag_of_words, fingerprint="unused"), clip, question)
    mean, std = pictures.statistics[IMAGE]
    for key, modality, cosine, score in framework.hits(framework.search(retriever, question)):
        if modality == IMAGE:
            assert cosine == pytest.approx(pictures.cosines[IMAGE][key], abs=2e-5)
            assert score == pytest.approx((cosine - mean) / std, abs=2e-3)


def test_two_good_models_find_what_either_knows(framework: Any, corpus: Corpus, clip: Encoder, tmp_path: Path) -> None:
    """Passages are read by CLIP's own text tower, turned into a space of another length, for want of another model."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((160, clip.dimension)))

    def turned(texts: list[str]) -> np.ndarray:
        rows: np.ndarray = clip.encode_texts(texts) @ turn.T
        return rows

    reader = CallableEncoder(embed_text=turned, fingerprint="turned-160")
    stores = filled(framework, "memory", corpus, reader, clip, tmp_path)
    retriever = framework.retriever(stores, reader, clip)
    retriever.calibrate(corpus.calibration, method="standardized")
    standardized = recall(framework, retriever, corpus)
    # Cosines of two models are numbers of two kinds: ranked as they are, one modality hides the other.
    raw = recall(framework, framework.retriever(stores, reader, clip, raw=True), corpus)
    assert min(standardized.values()) > 0.9
    assert raw[IMAGE] < 0.3


def test_models_of_a_framework_for_each_modality(corpus: Corpus, clip: Encoder, tmp_path: Path) -> None:
    pytest.importorskip("llama_index.core")
    pytest.importorskip("langchain_core")
    from commonscale.langchain import LangChainEncoder
    from commonscale.llama_index import LlamaIndexEncoder
    from langchain_clip import ClipEmbeddings
    from llama_clip import ClipEmbedding

    words = CallableEncoder(embed_text=bag_of_words, fingerprint="bag-of-words-96")
    made = {"llama-index": LlamaIndexEncoder(ClipEmbedding(ENCODER_FOLDER)), "langchain": None}
    made["langchain"] = LangChainEncoder(ClipEmbeddings(ENCODER_FOLDER))
    question = next(iter(corpus.questions))
    exact = expected(corpus, words, clip, question)
    for name, pictures in made.items():
        framework = FRAMEWORKS[name]()
        with CachedEncoder(pictures, tmp_path / name / "cache") as cached:
            stores = filled(framework, "index", corpus, words, cached, tmp_path / name)
            retriever = framework.retriever(stores, words, cached)
            retriever.calibrate(corpus.calibration, method="standardized")
            check(framework.hits(framework.search(retriever, question)), exact)


def test_the_core_takes_a_vector_for_each_modality(corpus: Corpus, reader: Encoder, clip: Encoder) -> None:
    sources, provenance = {}, {}
    for modality, encoder in ((TEXT, reader), (IMAGE, clip)):
        index = MemoryIndex(encoder.dimension, encoder_fingerprint=encoder.fingerprint)
        if modality == TEXT:
            documents = [Document(key, TEXT, text=text) for key, text in corpus.passages.items()]
            index.add(documents, encoder.encode_texts(list(corpus.passages.values())))
        else:
            documents = [Document(key, IMAGE, path=path) for key, path in corpus.pictures.items()]
            index.add(documents, encoder.encode_images(list(corpus.pictures.values())))
        sources[modality] = index.sources()[modality]
        provenance[modality] = index.provenance()[modality]

    def asked(questions: list[str]) -> list[Question]:
        rows = {TEXT: reader.encode_questions(questions), IMAGE: clip.encode_questions(questions)}
        return [Question(q, vectors={m: rows[m][i] for m in rows}) for i, q in enumerate(questions)]

    search = JointSearch(sources, provenance=provenance)
    calibration = search.calibrate(asked(corpus.calibration), method="standardized")
    question = next(iter(corpus.questions))
    ranking = search.search(asked([question])[0], 20)
    check([(h.id, h.modality, h.cosine, h.score) for h in ranking], expected(corpus, reader, clip, question))
    swapped = {TEXT: provenance[IMAGE], IMAGE: provenance[TEXT]}
    with pytest.raises(CalibrationMismatchError, match="encoder"):
        JointSearch(sources, calibration, provenance=swapped)


@dataclass
class Photos:
    """Real photographs: a third known by the picture, a third by three captions, a third only asked about."""

    corpus: Corpus
    reader: Encoder
    pictures: Encoder


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Photos]:
    folder = shared / "models" / "photo-dual-encoder"
    place = shared / "models" / "photos"
    if not folder.is_dir() or not (place / "captions.jsonl").is_file():
        pytest.skip(f"the photos and their encoder are not at {shared / 'models'}; they may not be distributed")
    told = [json.loads(line) for line in (place / "captions.jsonl").read_text().splitlines()][:180]
    shown, written, others = told[:60], told[60:120], told[120:]
    corpus = Corpus(
        {f"{each['file']}/{n}": each["captions"][n] for each in written for n in (2, 3, 4)},
        {each["file"]: str(place / each["file"]) for each in shown},
        {each["captions"][0]: {each["file"]} for each in shown}
        | {each["captions"][0]: {f"{each['file']}/{n}" for n in (2, 3, 4)} for each in written},
        [each["captions"][1] for each in others],
    )
    cache = tmp_path_factory.mktemp("cache")
    reader = CallableEncoder(embed_text=mean_of_bert(folder), fingerprint="photo-bert-mean")
    with CachedEncoder(reader, cache) as texts, CachedEncoder(load_encoder(str(folder), device="cpu"), cache) as images:
        yield Photos(corpus, texts, images)


def test_real_photos_beside_captions_that_another_model_reads(framework: Any, photos: Photos, tmp_path: Path) -> None:
    corpus, reader, pictures = photos.corpus, photos.reader, photos.pictures
    stores = filled(framework, "memory", corpus, reader, pictures, tmp_path)
    retriever = framework.retriever(stores, reader, pictures)
    calibration = retriever.calibrate(corpus.calibration, method="standardized")
    assert {m: e.provenance.dimension for m, e in calibration.modalities.items()} == {TEXT: 384, IMAGE: 256}
    question = next(iter(corpus.questions))
    check(framework.hits(framework.search(retriever, question)), expected(corpus, reader, pictures, question))
    standardized = recall(framework, retriever, corpus)
    raw = recall(framework, framework.retriever(stores, reader, pictures, raw=True), corpus)
    assert standardized[TEXT] > 0.9
    assert standardized[IMAGE] > 0.6
    assert raw[IMAGE] < 0.5


def mean_of_bert(folder: Path) -> Callable[[list[str]], np.ndarray]:
    """The encoder's BERT before its projection: the mean of its last hidden states, 384 numbers."""
    import torch
    from transformers import AutoTokenizer, VisionTextDualEncoderModel

    model = VisionTextDualEncoderModel.from_pretrained(str(folder)).text_model.eval()
    tokenizer = AutoTokenizer.from_pretrained(str(folder))

    def embed(texts: list[str]) -> np.ndarray:
        with torch.inference_mode():
            tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            hidden = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            mean: np.ndarray = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
        return mean

    return embed
