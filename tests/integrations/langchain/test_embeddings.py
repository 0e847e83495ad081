"""CommonscaleEmbeddings: LangChain's standard tests, and a real encoder of a tiny model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from commonscale.core.errors import InvalidInputError
from commonscale.langchain import CommonscaleEmbeddings, StandardizedMultiModalRetriever


class LetterEncoder:
    """Counts letters; questions, passages and pictures each with a mark of their own."""

    dimension = 29
    fingerprint = "letters-1"

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def _encode(self, items: Any, mark: int) -> np.ndarray:
        rows = np.zeros((len(items), 29), dtype=np.float32)
        for row, item in zip(rows, items, strict=True):
            row[26 + mark] = 1.0
            for letter in str(item).lower():
                if letter.isascii() and letter.isalpha():
                    row[ord(letter) - 97] += 1.0
        self.calls.append((("question", "text", "image")[mark], len(items)))
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def encode_questions(self, questions: Any) -> np.ndarray:
        return self._encode(questions, 0)

    def encode_texts(self, texts: Any) -> np.ndarray:
        return self._encode(texts, 1)

    def encode_images(self, images: Any) -> np.ndarray:
        return self._encode(images, 2)


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[CommonscaleEmbeddings]:
        return CommonscaleEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": LetterEncoder()}


class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[CommonscaleEmbeddings]:
        return CommonscaleEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": LetterEncoder()}


async def test_questions_passages_and_pictures_go_their_own_ways():
    encoder = LetterEncoder()
    embeddings = CommonscaleEmbeddings(encoder)
    question, text, image = (
        method(["cat"])[0] for method in (encoder.encode_questions, encoder.encode_texts, encoder.encode_images)
    )
    assert embeddings.embed_query("cat") == await embeddings.aembed_query("cat") == question.tolist()
    assert embeddings.embed_documents(["cat"]) == await embeddings.aembed_documents(["cat"]) == [text.tolist()]
    assert embeddings.embed_image(["cat"]) == await embeddings.aembed_image(["cat"]) == [image.tolist()]
    assert embeddings.embed_queries(["cat", "dog"]) == await embeddings.aembed_queries(["cat", "dog"])
    assert embeddings.embed_documents([]) == []
    assert (embeddings.dimension, embeddings.fingerprint) == (29, "letters-1")


async def test_retriever_embeds_calibration_questions_in_one_batch():
    encoder = LetterEncoder()
    embeddings = CommonscaleEmbeddings(encoder)
    store = InMemoryVectorStore(embeddings)
    store.add_texts(["a red bus", "two green trees", "a dog on grass"], ids=["a", "b", "c"])
    retriever = StandardizedMultiModalRetriever(text_store=store)
    encoder.calls.clear()
    questions = [
        "".join(chr(97 + number * place % 26) for place in range(1, 7)) + "a" * (number % 7) for number in range(60)
    ]
    retriever.calibrate(questions, method="standardized")
    await retriever.aretrieve_batch(["red bus", "tree"])
    assert encoder.calls == [("question", 60), ("question", 2)]
    assert retriever.invoke("red bus", k=1)[0].id == "a"


def test_what_is_no_encoder_is_refused():
    with pytest.raises(InvalidInputError, match="an encoder, a hub id or a folder is needed, got int"):
        CommonscaleEmbeddings(3)
    with pytest.raises(InvalidInputError, match=r"\['device'\] can only be given with the name"):
        CommonscaleEmbeddings(LetterEncoder(), device="cpu")
