"""SimilarityStandardizer and ModalityBalancer, alone, in chains and in ContextualCompressionRetriever."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_classic")

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from commonscale import Calibration, ModalityCalibration, ModalityStatistics
from commonscale.core.errors import (
    CommonscaleWarning,
    InvalidInputError,
    NotCalibratedError,
    ScoreOutOfRangeError,
    UnknownScoreKindError,
)
from commonscale.langchain import ModalityBalancer, SimilarityStandardizer
from langchain_world import QUESTIONS, WordEmbeddings

QUESTION = "what is red"


def scale(**modalities: tuple[float, float]) -> Calibration:
    return Calibration(
        {m: ModalityCalibration(ModalityStatistics(mean, std, 100)) for m, (mean, std) in modalities.items()}
    )


SCALE = scale(text=(0.8, 0.1), image=(0.3, 0.05))


def document(name: str, modality: str = "text", **metadata: object) -> Document:
    return Document(id=name, page_content="", metadata={"modality": modality, **metadata})


def scores(documents):
    return [(d.id, round(d.metadata["commonscale_score"], 6)) for d in documents]


MIXED = [
    document("t1", score=0.9),
    document("t2", score=0.7),
    document("i1", "image", score=0.36),
    document("i2", "image", score=0.3),
]


def test_scores_of_any_retriever_are_put_on_the_common_scale():
    given = copy.deepcopy(MIXED)
    found = SimilarityStandardizer(calibration=SCALE, score_kind="cosine").compress_documents(given, QUESTION)
    assert scores(found) == [("i1", 1.2), ("t1", 1.0), ("i2", 0.0), ("t2", -1.0)]
    assert [d.metadata["commonscale_cosine"] for d in found] == [0.36, 0.9, 0.3, 0.7]
    assert [d.metadata["commonscale_modality"] for d in found] == ["image", "text", "image", "text"]
    assert given == MIXED


def test_kinds_by_modality_and_another_key():
    given = [document("t", distance=0.2), document("i", "image", distance=1.3)]
    kinds = {"text": "squared_l2", "image": lambda distances: 1.0 - distances / 2}
    found = SimilarityStandardizer(calibration=SCALE, score_key="distance", score_kind=kinds)(given)
    assert scores(found) == [("t", 1.0), ("i", 1.0)]


def test_probabilities_for_cut_offs():
    found = SimilarityStandardizer(calibration=SCALE, score_kind="cosine", probability=True)(MIXED)
    assert [d.id for d in found] == ["i1", "t1", "i2", "t2"]
    assert [d.metadata["commonscale_score"] for d in found] == pytest.approx([0.8849, 0.8413, 0.5, 0.1587], abs=1e-4)


def test_calibration_from_its_file(tmp_path):
    SCALE.save(tmp_path / "calibration.json")
    for path in (tmp_path / "calibration.json", str(tmp_path / "calibration.json")):
        found = SimilarityStandardizer(calibration=path, score_kind="cosine", top_n=2)(MIXED)
        assert scores(found) == [("i1", 1.2), ("t1", 1.0)]


def test_stored_vectors_are_compared_with_the_question():
    vector = np.array(WordEmbeddings().embed_query(QUESTION))
    given = [document("same", vector=vector.tolist()), document("opposite", "image", vector=(-3 * vector).tolist())]
    embeddings = WordEmbeddings()
    standardizer = SimilarityStandardizer(calibration=SCALE, vectors="vector", embeddings=embeddings)
    found = standardizer.compress_documents(given, QUESTION)
    assert [d.metadata["commonscale_cosine"] for d in found] == pytest.approx([1.0, -1.0])

    def stored(documents):
        return [{"same": vector, "opposite": -vector}[d.id] for d in documents]

    by_function = SimilarityStandardizer(
        calibration=SCALE, vectors=stored, embeddings=embeddings, image_embeddings=WordEmbeddings(offset=-9.0)
    ).compress_documents(given, QUESTION)
    assert by_function[0].metadata["commonscale_cosine"] == pytest.approx(1.0)
    assert by_function[1].metadata["commonscale_cosine"] > -0.99
    with pytest.raises(InvalidInputError, match=r"gave 1 vectors for 2 documents"):
        SimilarityStandardizer(
            calibration=scale(text=(0, 1)), vectors=lambda d: [vector], embeddings=embeddings
        ).compress_documents([document("a"), document("b")], QUESTION)
    with pytest.raises(InvalidInputError, match="need the question"):
        standardizer(given)


def test_record_of_our_own_retriever_is_used(retriever):
    standardizer = SimilarityStandardizer(calibration=retriever.calibration)
    raw = retriever.invoke(QUESTION, k=85, raw=True)
    expected = retriever.invoke(QUESTION, k=85)
    assert standardizer.compress_documents(raw, QUESTION) == expected
    assert (retriever.bind(k=85, raw=True) | standardizer).invoke(QUESTION) == expected


def test_record_of_another_question_is_never_used(retriever):
    standardizer = SimilarityStandardizer(calibration=retriever.calibration)
    found = retriever.invoke(QUESTION, k=20)
    with pytest.raises(InvalidInputError, match=r"may be that of another question: .*vectors= and embeddings="):
        standardizer.compress_documents(found, "what is blue")
    assert standardizer.compress_documents(found, QUESTION) == found
    for d in found:
        del d.metadata["commonscale_question"]
    with pytest.raises(InvalidInputError, match="another question"):
        standardizer.compress_documents(found, QUESTION)


def test_in_a_chain_records_must_all_be_of_one_question(retriever):
    standardizer = SimilarityStandardizer(calibration=retriever.calibration)
    one, other = retriever.invoke(QUESTION), retriever.invoke("what is blue")
    assert standardizer(one) == one
    for mixture in ([*one, *other], [*one, document("foreign", score=0.3)]):
        with pytest.raises(InvalidInputError, match="another question"):
            standardizer(mixture)


def test_a_score_is_preferred_to_the_record_of_another_question(retriever):
    standardizer = SimilarityStandardizer(calibration=retriever.calibration, score_kind="cosine")
    found = retriever.invoke(QUESTION)
    for d in found:
        d.metadata["score"] = 0.11
    assert standardizer.compress_documents(found, QUESTION) == found
    rescored = standardizer.compress_documents(found, "what is blue")
    assert {d.metadata["commonscale_cosine"] for d in rescored} == {0.11}
    # Which question the score answered is not known, so the result claims none.
    assert not any("commonscale_question" in d.metadata for d in rescored)


def test_vectors_are_preferred_to_records(world, retriever):
    stored = {i: v for m in world.ids for i, v in zip(world.ids[m], world.vectors[m], strict=True)}
    found = retriever.invoke(QUESTION, k=85)
    standardizer = SimilarityStandardizer(
        calibration=retriever.calibration,
        vectors=lambda documents: [stored[d.id] for d in documents],
        embeddings=WordEmbeddings(),
    )
    rescored = standardizer.compress_documents(found, "what is blue")
    assert [d.id for d in rescored] == [i for i, _, _ in world.expected("what is blue", 85)]
    cosines = {i: c for m in world.ids for i, c in world.cosines("what is blue", m).items()}
    assert {d.id: d.metadata["commonscale_cosine"] for d in rescored} == pytest.approx(cosines, abs=1e-6)
    # They are records of that question now.
    again = SimilarityStandardizer(calibration=retriever.calibration).compress_documents(rescored, "what is blue")
    assert again == rescored


def test_records_serve_documents_without_a_vector_key(retriever):
    embeddings = WordEmbeddings()
    found = retriever.invoke(QUESTION, k=4)
    vector = embeddings.embed_query(QUESTION)
    found[0].metadata["vector"] = vector
    standardizer = SimilarityStandardizer(calibration=retriever.calibration, vectors="vector", embeddings=embeddings)
    rescored = {d.id: d.metadata["commonscale_cosine"] for d in standardizer.compress_documents(found, QUESTION)}
    assert rescored.pop(found[0].id) == pytest.approx(1.0)
    assert rescored == {d.id: d.metadata["commonscale_cosine"] for d in found[1:]}
    with pytest.raises(InvalidInputError, match=r"no vector in metadata\['vector'\]"):
        standardizer.compress_documents(found, "what is blue")


def test_of_documents_with_one_id_the_best_is_kept():
    given = [document("both", score=0.6), document("both", "image", score=0.5), document("other", score=0.8)]
    found = SimilarityStandardizer(calibration=SCALE, score_kind="cosine")(given)
    assert scores(found) == [("both", 4.0), ("other", 0.0)]


def test_documents_without_id_are_all_kept():
    given = [Document("same", metadata={"modality": "text", "score": 0.9}) for _ in range(3)]
    assert len(SimilarityStandardizer(calibration=SCALE, score_kind="cosine")(given)) == 3
    assert len(ModalityBalancer()(given)) == 3


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (document("x"), InvalidInputError, r"document 'x' .* has no score in metadata\['score'\]"),
        (document("x", score=7.0), ScoreOutOfRangeError, "7.0, read as 'cosine'"),
        (document("x", "sound", score=0.1), NotCalibratedError, "'sound' has no statistics"),
        (
            Document("words", metadata={"score": 1}),
            InvalidInputError,
            r"'words'\) names no modality .*\['commonscale_modality', 'modality'\]",
        ),
    ],
)
def test_what_cannot_be_scored_is_an_error(given, error, message):
    with pytest.raises(error, match=message):
        SimilarityStandardizer(calibration=SCALE, score_kind="cosine")([*MIXED, given])


def test_wrong_settings_are_named(tmp_path):
    with pytest.raises(UnknownScoreKindError, match=r"the score 0.9 of the 'text' document 't1' means is not known"):
        SimilarityStandardizer(calibration=SCALE)(MIXED)
    with pytest.raises(UnknownScoreKindError, match="unknown score kind 'l3'"):
        SimilarityStandardizer(calibration=SCALE, score_kind={"text": "cosine", "image": "l3"})
    with pytest.raises(InvalidInputError, match="vectors= needs embeddings="):
        SimilarityStandardizer(calibration=SCALE, vectors="vector")
    with pytest.raises(InvalidInputError, match="top_n must be at least 1"):
        SimilarityStandardizer(calibration=SCALE, top_n=0)
    with pytest.raises(FileNotFoundError):
        SimilarityStandardizer(calibration=tmp_path / "none.json")


def test_balancer_keeps_order_and_quotas():
    ranked = [document(f"t{i}") for i in range(6)] + [document(f"i{i}", "image") for i in range(4)]
    given = copy.deepcopy(ranked)
    chosen = ModalityBalancer(minimum={"image": 2}, maximum={"text": 3}, top_n=4).compress_documents(given, QUESTION)
    assert [d.id for d in chosen] == ["t0", "t1", "i0", "i1"]
    assert [d.id for d in ModalityBalancer(maximum={"text": 3})(given)] == ["t0", "t1", "t2", "i0", "i1", "i2", "i3"]
    with pytest.warns(CommonscaleWarning, match=r"minimum\['image'\] is 9, but only 4 of the 10 documents"):
        chosen = ModalityBalancer(minimum={"image": 9}, top_n=9)(given)
    assert [d.id for d in chosen][-4:] == ["i0", "i1", "i2", "i3"]
    assert ModalityBalancer()(given) == given == ranked
    assert [d.id for d in ModalityBalancer(top_n=2)([*given[:1], *given])] == ["t0", "t1"]


def test_balancer_warns_of_a_minimum_that_cannot_be_met():
    balancer = ModalityBalancer(minimum={"image": 2, "text": 1})
    given = [document("t"), document("i", "image"), document("i", "image")]
    message = r"minimum\['image'\] is 2, but only 1 of the 2 .*retrieve more: raise .* k, or give minimum to the retr"
    with pytest.warns(CommonscaleWarning, match=message) as caught:
        assert [d.id for d in balancer(given)] == ["t", "i"]
    assert [w.filename for w in caught] == [__file__]
    assert len(balancer([*given, document("j", "image")])) == 3
    assert balancer([]) == []


def test_balancer_counts_a_picture_found_by_its_caption_as_a_picture():
    captioned = Document(id="c", page_content="caption", metadata={"modality": "image", "commonscale_modality": "text"})
    unlabeled = Document(id="u", page_content="", metadata={"commonscale_modality": "image"})
    assert [d.id for d in ModalityBalancer(maximum={"image": 1})([captioned, unlabeled])] == ["c"]
    with pytest.raises(InvalidInputError, match="names no modality"):
        ModalityBalancer(maximum={"image": 1})([Document("words")])


def test_balancer_gives_a_document_of_two_modalities_the_place_that_quotas_leave():
    both = [document("both"), document("text"), document("both", "image")]
    chosen = ModalityBalancer(minimum={"image": 1}, top_n=2)(both)
    assert [(d.id, d.metadata["modality"]) for d in chosen] == [("text", "text"), ("both", "image")]
    unlabeled = [Document("one", id="1"), Document("one again", id="1"), Document("two", id="2")]
    assert [d.page_content for d in ModalityBalancer(top_n=2)(unlabeled)] == ["one", "two"]


def test_balancer_refuses_impossible_quotas():
    with pytest.raises(InvalidInputError, match="add up to 5, more than the 4"):
        ModalityBalancer(minimum={"text": 2, "image": 3}, top_n=4)
    with pytest.raises(InvalidInputError, match="above its maximum"):
        ModalityBalancer(minimum={"text": 2}, maximum={"text": 1})
    with pytest.raises(InvalidInputError, match="top_n must be at least 1"):
        ModalityBalancer(top_n=0)


async def test_inside_contextual_compression_retriever(retriever):
    """Rescoring and balancing the raw hits equals what the retriever does itself."""
    pipeline = DocumentCompressorPipeline(
        transformers=[
            SimilarityStandardizer(calibration=retriever.calibration),
            ModalityBalancer(minimum={"text": 3, "image": 3}, top_n=8),
        ]
    )
    compression = ContextualCompressionRetriever(
        base_compressor=pipeline, base_retriever=retriever.model_copy(update={"raw": True, "k": 85})
    )
    expected = retriever.invoke(QUESTION, k=8, minimum={"text": 3, "image": 3})
    assert compression.invoke(QUESTION) == expected
    assert await compression.ainvoke(QUESTION) == expected


def test_as_steps_of_a_chain(world, tmp_path):
    """Over LangChain's own retriever: a step that writes the store's score into metadata, then ours."""
    store = world.store("in-memory", ["text", "image"], tmp_path)

    def search(question: str) -> list[Document]:
        pairs = store.similarity_search_with_score(question, k=85)
        return [Document(d.page_content, id=d.id, metadata={**d.metadata, "score": score}) for d, score in pairs]

    best = {m: [max(world.cosines(q, m).values()) for q in QUESTIONS] for m in ("text", "image")}
    calibration = scale(**{m: (float(np.mean(v)), float(np.std(v))) for m, v in best.items()})
    standardizer = SimilarityStandardizer(calibration=calibration, score_kind="cosine")
    chain = RunnableLambda(search) | standardizer | ModalityBalancer(top_n=10)
    assert [d.id for d in chain.invoke(QUESTION)] == [i for i, _, _ in world.expected(QUESTION, 10)]
