"""Gap removal at indexing time, by encoders and in both frameworks: ranked as in score space, and as by numpy."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("llama_index.core")
pytest.importorskip("langchain_core")

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.bridge.pydantic import Field
from llama_index.core.embeddings import MockEmbedding, MultiModalEmbedding
from llama_index.core.vector_stores import SimpleVectorStore

import commonscale.langchain as in_langchain
import commonscale.llama_index as in_llama_index
from commonscale import Centering, JointSearch, Question
from commonscale.core.errors import CalibrationMismatchError, EncoderMismatchError, ImageError, InvalidInputError
from commonscale.encoders import CachedEncoder, CenteredEncoder
from commonscale.index import Document, FaissIndex
from picture_world import PictureWorld, encoder

K = 12


class ForeignEmbedding(MultiModalEmbedding):
    """A LlamaIndex model of somebody else's; says which of its methods were called."""

    model_name: str = "foreign"
    calls: list[str] = Field(default_factory=list, exclude=True)

    def _get_query_embedding(self, query: str) -> list[float]:
        self.calls.append("query")
        return encoder().encode_questions([query])[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        self.calls.append("aquery")
        return encoder().encode_questions([query])[0].tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        self.calls.append("text")
        return (2.0 * encoder().encode_texts([text]))[0].tolist()

    async def _aget_text_embedding(self, text: str) -> list[float]:
        self.calls.append("atext")
        return encoder().encode_texts([text])[0].tolist()

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        self.calls.append("image")
        return encoder().encode_images([img_file_path])[0].tolist()

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        self.calls.append("aimage")
        return encoder().encode_images([img_file_path])[0].tolist()


class ForeignEmbeddings(Embeddings):
    """LangChain embeddings of somebody else's, of vectors of norm 2; pictures from paths alone."""

    def embed_query(self, text: str) -> list[float]:
        return (2.0 * encoder().encode_questions([text]))[0].tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return (2.0 * encoder().encode_texts(texts)).tolist()

    def embed_image(self, uris: list[str]) -> list[list[float]]:
        assert all(isinstance(uri, str) for uri in uris)
        return (2.0 * encoder().encode_images(uris)).tolist()


class WordEmbeddings(ForeignEmbeddings):
    embed_image = None  # type: ignore[assignment]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PictureWorld:
    return PictureWorld(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def centering(world: PictureWorld) -> Centering:
    return Centering.fit(world.encoder.encode_questions(world.questions), world.vectors)


def unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def naive(world: PictureWorld) -> dict[str, np.ndarray]:
    """Centred unit vectors of questions, texts and images, written out."""
    raw = {"question": world.encoder.encode_questions(world.questions), **world.vectors}
    return {role: unit(unit(rows) - unit(rows).mean(axis=0)) for role, rows in raw.items()}


def naive_rankings(world: PictureWorld) -> list[list[tuple[str, float]]]:
    """Centred and standardized scores of all documents for each question, by numpy alone."""
    vectors = naive(world)
    scores = []
    for modality in ("text", "image"):
        cosines = vectors["question"] @ vectors[modality].T
        best = cosines.max(axis=1)
        scores.append((cosines - best.mean()) / best.std())
    ids = [*world.ids["text"], *world.ids["image"]]
    ranked = [np.argsort(-row)[:K] for row in np.hstack(scores)]
    return [[(ids[i], float(np.hstack(scores)[q, i])) for i in order] for q, order in enumerate(ranked)]


def assert_same(found: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    assert [i for i, _ in found] == [i for i, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-5)


def index_of(world: PictureWorld, made_with: Any, folder: Path) -> FaissIndex:
    index = FaissIndex.create(folder, made_with.dimension, encoder_fingerprint=made_with.fingerprint)
    index.add(
        [Document(i, "text", text) for i, text in zip(world.ids["text"], world.texts, strict=True)],
        made_with.encode_texts(world.texts),
    )
    index.add(
        [Document(i, "image", path=path) for i, path in zip(world.ids["image"], world.pictures, strict=True)],
        made_with.encode_images(world.pictures),
    )
    return index


def test_vectors_are_those_of_the_formula(world: PictureWorld, centering: Centering) -> None:
    centered = CenteredEncoder(world.encoder, centering)
    expected = naive(world)
    np.testing.assert_allclose(centered.encode_questions(world.questions), expected["question"], atol=1e-6)
    np.testing.assert_allclose(centered.encode_texts(world.texts), expected["text"], atol=1e-6)
    np.testing.assert_allclose(centered.encode_images(world.pictures), expected["image"], atol=1e-6)
    assert centered.encode_texts(world.texts).dtype == np.float32
    assert centered.dimension == world.encoder.dimension
    for given in (centered.encode_questions([]), centered.encode_texts([]), centered.encode_images([])):
        assert given.shape == (0, centered.dimension)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_documents_of_text_and_picture_are_blended(world: PictureWorld, centering: Centering, alpha: float) -> None:
    t, i = (unit(world.vectors[m][:5]) for m in ("text", "image"))
    means = (unit(world.vectors[m]).mean(axis=0) for m in ("text", "image"))
    mu_t, mu_i = means
    expected = unit(alpha * t + (1 - alpha) * i - (alpha * mu_t + (1 - alpha) * mu_i))
    texts, pictures = world.texts[:5], world.pictures[:5]
    found = CenteredEncoder(world.encoder, centering).encode_blended(texts, pictures, alpha)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    llama = in_llama_index.CenteredEmbedding(ForeignEmbedding(), centering)
    np.testing.assert_allclose(llama.get_blended_embeddings(texts, pictures, alpha), expected, atol=1e-6)
    chain = in_langchain.CenteredEmbeddings(ForeignEmbeddings(), centering)
    np.testing.assert_allclose(chain.embed_blended(texts, pictures, alpha), expected, atol=1e-6)
    assert llama.get_blended_embeddings([], []) == chain.embed_blended([], []) == []


def test_blending_needs_pairs(world: PictureWorld, centering: Centering) -> None:
    centered = CenteredEncoder(world.encoder, centering)
    for blend in (
        centered.encode_blended,
        in_llama_index.CenteredEmbedding(world.encoder, centering).get_blended_embeddings,
        in_langchain.CenteredEmbeddings(world.encoder, centering).embed_blended,
    ):
        with pytest.raises(InvalidInputError, match="must pair up, got 2 texts and 1"):
            blend(world.texts[:2], world.pictures[:1])
        with pytest.raises(InvalidInputError, match="alpha"):
            blend(world.texts[:1], world.pictures[:1], 1.5)


def test_indexing_and_score_space_give_the_same_ranking(
    world: PictureWorld, centering: Centering, tmp_path: Path
) -> None:
    expected = naive_rankings(world)
    centered = CenteredEncoder(world.encoder, centering)
    for made_with, method in ((centered, "standardized"), (world.encoder, "centered+standardized")):
        index = index_of(world, made_with, tmp_path / method)
        search = JointSearch(index.sources(), provenance=index.provenance())
        vectors = made_with.encode_questions(world.questions)
        questions = [Question(t, v) for t, v in zip(world.questions, vectors, strict=True)]
        search.calibrate(questions, method=method)
        for ranking, known in zip(search.search_batch(questions, K), expected, strict=True):
            assert_same([(hit.id, hit.score) for hit in ranking], known)


async def test_llama_index_ranks_the_same_both_ways(world: PictureWorld, centering: Centering) -> None:
    expected = naive_rankings(world)
    for model, method in (
        (in_llama_index.CenteredEmbedding(ForeignEmbedding(), centering), "standardized"),
        (in_llama_index.CenteredEmbedding(world.encoder, centering), "standardized"),
        (ForeignEmbedding(), "centered+standardized"),
    ):
        stores = {"text_store": SimpleVectorStore(), "image_store": SimpleVectorStore()}
        from llama_index.core.storage.docstore import SimpleDocumentStore

        docstore = SimpleDocumentStore()
        in_llama_index.add_texts(stores["text_store"], world.texts, model, ids=world.ids["text"], docstore=docstore)
        in_llama_index.add_images(
            stores["image_store"], world.pictures, model, ids=world.ids["image"], docstore=docstore
        )
        retriever = in_llama_index.StandardizedMultiModalRetriever(
            **stores, embed_model=model, docstore=docstore, similarity_top_k=K
        )
        retriever.calibrate(world.questions, method=method)
        for question, known in list(zip(world.questions, expected, strict=True))[:10]:
            assert_same([(n.node.node_id, n.get_score()) for n in retriever.retrieve(question)], known)
            assert_same([(n.node.node_id, n.get_score()) for n in await retriever.aretrieve(question)], known)


async def test_langchain_ranks_the_same_both_ways(world: PictureWorld, centering: Centering) -> None:
    expected = naive_rankings(world)
    for embeddings, method in (
        (in_langchain.CenteredEmbeddings(ForeignEmbeddings(), centering), "standardized"),
        (in_langchain.CenteredEmbeddings(world.encoder, centering), "standardized"),
        (ForeignEmbeddings(), "centered+standardized"),
    ):
        stores = {"text_store": InMemoryVectorStore(embeddings), "image_store": InMemoryVectorStore(embeddings)}
        in_langchain.add_texts(stores["text_store"], world.texts, embeddings, ids=world.ids["text"])
        in_langchain.add_images(stores["image_store"], world.pictures, embeddings, ids=world.ids["image"])
        retriever = in_langchain.StandardizedMultiModalRetriever(**stores, k=K)
        retriever.calibrate(world.questions, method=method)
        for question, known in list(zip(world.questions, expected, strict=True))[:10]:
            for found in (retriever.invoke(question), await retriever.ainvoke(question)):
                assert_same([(d.id or "", d.metadata["commonscale_score"]) for d in found], known)


async def test_every_method_of_llama_index_centres(world: PictureWorld, centering: Centering) -> None:
    expected = naive(world)
    for inner in (ForeignEmbedding(), in_llama_index.CommonscaleEmbedding(world.encoder)):
        model = in_llama_index.CenteredEmbedding(inner, centering)
        question, text, path = world.questions[0], world.texts[0], world.pictures[0]
        questions, texts, paths = world.questions[:3], world.texts[:3], world.pictures[:3]
        content = io.BytesIO(Path(path).read_bytes())
        for row in (model.get_query_embedding(question), await model.aget_query_embedding(question)):
            np.testing.assert_allclose(row, expected["question"][0], atol=1e-6)
        for rows in (model.get_query_embedding_batch(questions), await model.aget_query_embedding_batch(questions)):
            np.testing.assert_allclose(rows, expected["question"][:3], atol=1e-6)
        for row in (model.get_text_embedding(text), await model.aget_text_embedding(text)):
            np.testing.assert_allclose(row, expected["text"][0], atol=1e-6)
        for rows in (model.get_text_embedding_batch(texts), await model.aget_text_embedding_batch(texts)):
            np.testing.assert_allclose(rows, expected["text"][:3], atol=1e-6)
        for row in (model.get_image_embedding(path), await model.aget_image_embedding(path)):
            np.testing.assert_allclose(row, expected["image"][0], atol=1e-6)
        for rows in (model.get_image_embedding_batch(paths), await model.aget_image_embedding_batch(paths)):
            np.testing.assert_allclose(rows, expected["image"][:3], atol=1e-6)
        if isinstance(inner, ForeignEmbedding):
            assert {"query", "aquery", "text", "atext", "image", "aimage"} == set(inner.calls)
        else:
            np.testing.assert_allclose(model.get_image_embedding(content), expected["image"][0], atol=1e-6)
        assert model.get_text_embedding_batch([]) == model.get_query_embedding_batch([]) == []


async def test_every_method_of_langchain_centres(world: PictureWorld, centering: Centering) -> None:
    expected = naive(world)
    for inner in (ForeignEmbeddings(), world.encoder):
        made = in_langchain.CenteredEmbeddings(inner, centering)
        questions, texts = world.questions[:3], world.texts[:3]
        for row in (made.embed_query(questions[0]), await made.aembed_query(questions[0])):
            np.testing.assert_allclose(row, expected["question"][0], atol=1e-6)
        for rows in (made.embed_queries(questions), await made.aembed_queries(questions)):
            np.testing.assert_allclose(rows, expected["question"][:3], atol=1e-6)
        for rows in (made.embed_documents(texts), await made.aembed_documents(texts)):
            np.testing.assert_allclose(rows, expected["text"][:3], atol=1e-6)
        pictures = [world.pictures[0], Path(world.pictures[1]), Path(world.pictures[2]).read_bytes()]
        for rows in (made.embed_image(pictures), await made.aembed_image(pictures)):
            np.testing.assert_allclose(rows, expected["image"][:3], atol=1e-6)
        assert made.embed_queries([]) == made.embed_documents([]) == made.embed_image([]) == []


def test_a_calibration_or_index_of_uncentred_vectors_is_refused(
    world: PictureWorld, centering: Centering, tmp_path: Path
) -> None:
    centered = CenteredEncoder(world.encoder, centering)
    assert centered.fingerprint.startswith(f"{world.encoder.fingerprint}+centered-")
    index, plain = index_of(world, centered, tmp_path / "a"), index_of(world, world.encoder, tmp_path / "b")
    questions = [Question(vector=v) for v in world.encoder.encode_questions(world.questions)]
    calibration = JointSearch(plain.sources(), provenance=plain.provenance()).calibrate(
        questions, method="standardized"
    )
    with pytest.raises(CalibrationMismatchError, match=r"encoder 'pictures-1', not 'pictures-1\+centered-"):
        JointSearch(index.sources(), calibration, provenance=index.provenance())
    for wrapped in (
        in_llama_index.CenteredEmbedding(world.encoder, centering),
        in_langchain.CenteredEmbeddings(world.encoder, centering),
    ):
        assert wrapped.fingerprint == centered.fingerprint
    retrievers: list[Any] = [
        lambda store, given: in_llama_index.StandardizedMultiModalRetriever(store=store, embed_model=given),
        lambda store, given: in_langchain.StandardizedMultiModalRetriever(store=store, embeddings=given),
    ]
    for make, wrap in zip(retrievers, (in_llama_index.CenteredEmbedding, in_langchain.CenteredEmbeddings), strict=True):
        make(index, wrap(world.encoder, centering))
        with pytest.raises(EncoderMismatchError, match="centered"):
            make(plain, wrap(world.encoder, centering))
        with pytest.raises(EncoderMismatchError, match="centered"):
            make(index, world.encoder)


def test_the_fingerprint_tells_means_apart(world: PictureWorld, centering: Centering) -> None:
    moved = {m: mean + 1e-9 for m, mean in centering.documents.items()}
    asked = {m: mean * 0.5 for m, mean in centering.questions.items()}
    made = [
        CenteredEncoder(world.encoder, centering),
        CenteredEncoder(world.encoder, Centering(centering.questions, moved)),
        CenteredEncoder(world.encoder, Centering(asked, centering.documents)),
        CenteredEncoder(encoder("pictures-2"), centering),
        CenteredEncoder(world.encoder, centering, modality="text"),
    ]
    assert len({one.fingerprint for one in made}) == len(made)
    same = Centering(dict(reversed(centering.questions.items())), dict(reversed(centering.documents.items())))
    assert CenteredEncoder(encoder(), same).fingerprint == made[0].fingerprint


def test_means_of_another_dimension_are_refused(world: PictureWorld, centering: Centering) -> None:
    short = Centering(
        {m: mean[:5] for m, mean in centering.questions.items()},
        {m: mean[:5] for m, mean in centering.documents.items()},
    )
    refused = pytest.raises(InvalidInputError, match="dimension 16, the means of this centering 5")
    with refused:
        CenteredEncoder(world.encoder, short).encode_texts(["a"])
    with refused:
        in_llama_index.CenteredEmbedding(ForeignEmbedding(), short).get_query_embedding("a")
    with refused:
        in_langchain.CenteredEmbeddings(ForeignEmbeddings(), short).embed_query("a")


def test_what_cannot_be_wrapped_is_refused(world: PictureWorld, centering: Centering) -> None:
    with pytest.raises(InvalidInputError, match="str is no encoder"):
        CenteredEncoder("model", centering)  # type: ignore[arg-type]
    for make in (CenteredEncoder, in_llama_index.CenteredEmbedding, in_langchain.CenteredEmbeddings):
        with pytest.raises(InvalidInputError, match=r"a Centering is needed, got dict.*Centering\.fit"):
            make(world.encoder, {})  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="no mean of modality 'sound'"):
            make(world.encoder, centering, modality="sound")
    with pytest.raises(InvalidInputError, match="MockEmbedding reads no images"):
        in_llama_index.CenteredEmbedding(MockEmbedding(embed_dim=16), centering).get_image_embedding(world.stranger)
    with pytest.raises(InvalidInputError, match="WordEmbeddings reads no images"):
        in_langchain.CenteredEmbeddings(WordEmbeddings(), centering).embed_image([world.stranger])


def test_question_means_that_differ_need_a_modality(world: PictureWorld, centering: Centering) -> None:
    means = {"text": centering.questions["text"], "image": 0.5 * centering.questions["image"]}
    differing = Centering(means, centering.documents)
    with pytest.raises(InvalidInputError, match="modality="):
        CenteredEncoder(world.encoder, differing).encode_questions(["a"])
    found = CenteredEncoder(world.encoder, differing, modality="image").encode_questions(["a"])
    expected = unit(unit(world.encoder.encode_questions(["a"])) - means["image"])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_failures_are_reported_as_by_the_encoder(world: PictureWorld, centering: Centering) -> None:
    centered = CenteredEncoder(world.encoder, centering)
    batch = centered.encode_images_reporting([world.pictures[0], b"broken", world.pictures[1]])
    assert batch.kept == (0, 2)
    assert [failure.index for failure in batch.failures] == [1]
    np.testing.assert_allclose(batch.vectors, naive(world)["image"][:2], atol=1e-6)
    texts = centered.encode_texts_reporting(world.texts)
    np.testing.assert_allclose(texts.vectors, naive(world)["text"], atol=1e-6)
    with pytest.raises(ImageError):
        centered.encode_images([b"broken"])
    assert centered.max_tokens == world.encoder.max_tokens
    assert not hasattr(centered, "no such thing")


def test_a_picture_that_asks_is_centred_as_pictures_are(world: PictureWorld, centering: Centering) -> None:
    model = in_llama_index.CenteredEmbedding(world.encoder, centering)
    store = SimpleVectorStore()
    from llama_index.core.storage.docstore import SimpleDocumentStore

    docstore = SimpleDocumentStore()
    in_llama_index.add_images(store, world.pictures, model, ids=world.ids["image"], docstore=docstore)
    retriever = in_llama_index.StandardizedMultiModalRetriever(
        image_store=store, embed_model=model, docstore=docstore, raw=True
    )
    [best, *_] = retriever.retrieve_image(world.pictures[4])
    assert best.node.node_id == "i4"
    assert best.score == pytest.approx(1.0, abs=1e-6)


def test_wrappers_can_be_copied_cached_and_wrapped_again(
    world: PictureWorld, centering: Centering, tmp_path: Path
) -> None:
    centered = CenteredEncoder(world.encoder, centering)
    texts, pictures = centered.encode_texts(world.texts), centered.encode_images(world.pictures)
    others = [
        pickle.loads(pickle.dumps(centered)),
        CachedEncoder(centered, tmp_path),
        in_llama_index.LlamaIndexEncoder(in_llama_index.CenteredEmbedding(world.encoder, centering)),
        in_langchain.LangChainEncoder(in_langchain.CenteredEmbeddings(world.encoder, centering)),
    ]
    for other in others:
        assert other.fingerprint == centered.fingerprint
        np.testing.assert_allclose(other.encode_texts(world.texts), texts, atol=1e-6)
        np.testing.assert_allclose(other.encode_images(world.pictures), pictures, atol=1e-6)
    others[1].close()
    settings = in_llama_index.CenteredEmbedding(world.encoder, centering).to_dict()
    assert {"embed_model", "centering"}.isdisjoint(settings)
