"""Slips of a first user, each answered with what to do instead."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.documents import Document

from commonscale import Calibration, ModalityCalibration, ModalityStatistics
from commonscale.core.errors import InvalidInputError
from commonscale.langchain import (
    ModalityBalancer,
    SimilarityStandardizer,
    StandardizedMultiModalRetriever,
    to_content_blocks,
)
from langchain_world import WordEmbeddings, World

SCALE = Calibration({"text": ModalityCalibration(ModalityStatistics(0.8, 0.1, 100))})


@pytest.mark.parametrize("keyword", ["similarity_top_k", "top_k"])
def test_keywords_that_are_no_field_are_refused(world: World, tmp_path: Any, keyword: str) -> None:
    stores = world.stores("in-memory", "two", tmp_path)
    with pytest.raises(InvalidInputError, match=rf"Retriever has no field '{keyword}'; its fields are .*\bk, minimum"):
        StandardizedMultiModalRetriever(**stores, **{keyword: 3})
    with pytest.raises(InvalidInputError, match=rf"ModalityBalancer has no field '{keyword}'; .*top_n"):
        ModalityBalancer(**{keyword: 3})
    with pytest.raises(InvalidInputError, match=rf"SimilarityStandardizer has no field '{keyword}'; .*top_n"):
        SimilarityStandardizer(calibration=SCALE, **{keyword: 3})
    assert StandardizedMultiModalRetriever(**stores, tags=["a"], name="b").tags == ["a"]


def test_one_question_is_no_list_of_questions(retriever: StandardizedMultiModalRetriever) -> None:
    for ask in (retriever.calibrate, retriever.retrieve_batch):
        with pytest.raises(
            InvalidInputError, match="a list of questions is needed, got one question: 'x'; put it into"
        ):
            ask("x")


@pytest.mark.parametrize("question", ["", " \n"])
async def test_an_empty_question_is_refused(retriever: StandardizedMultiModalRetriever, question: str) -> None:
    with pytest.raises(InvalidInputError, match="has no text; ask something"):
        retriever.invoke(question)
    with pytest.raises(InvalidInputError, match="has no text; ask something"):
        await retriever.ainvoke(question)
    with pytest.raises(InvalidInputError, match="has no text; ask something"):
        retriever.calibrate(["what is red", question], method="standardized")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Document(id="a", page_content="words"), "got one document 'a'; put it into a list"),
        ("words", "of LangChain documents is needed, got one with a str: 'w'"),
        (["words"], "of LangChain documents is needed, got one with a str: 'words'"),
        (3, "a list of documents is needed, got int: 3"),
    ],
)
def test_content_is_made_of_a_list_of_documents(given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        to_content_blocks(given)
    assert to_content_blocks([]) == []


def test_a_class_of_embeddings_is_no_instance(world: World, tmp_path: Any) -> None:
    stores = world.stores("in-memory", "two", tmp_path)
    with pytest.raises(InvalidInputError, match=r"the class WordEmbeddings itself; .*: WordEmbeddings\(\.\.\.\)"):
        StandardizedMultiModalRetriever(**stores, embeddings=WordEmbeddings)
