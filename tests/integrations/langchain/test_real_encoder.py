"""A checkpoint on disk, through LangChain's stores, to a ranking of passages and picture files."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from commonscale.core.errors import ImageError
from commonscale.langchain import CommonscaleEmbeddings, StandardizedMultiModalRetriever, to_content_blocks
from langchain_world import add_to_memory
from tiny_models import DIMENSION, save_tiny_clip

SUBJECTS, VERBS = ("dog", "cat", "two dog", "red cat"), ("runs", "sleeps", "on grass", "of blue")
QUESTIONS = [f"{a} {b} {c}" for a, b, c in itertools.product(("a", "the", "photo"), SUBJECTS, VERBS)]


def test_from_folder_to_content_blocks(tmp_path: Path):
    embeddings = CommonscaleEmbeddings(save_tiny_clip(tmp_path / "clip"), device="cpu", batch_size=8)
    assert embeddings.dimension == DIMENSION
    texts = InMemoryVectorStore(embeddings)
    texts.add_texts([f"{a} {b}" for a, b in itertools.product(SUBJECTS, VERBS)], ids=[f"t{i}" for i in range(16)])
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        Image.new("RGB", (40, 30), (40 * number, 200 - 30 * number, 90)).save(file)
    pictures = InMemoryVectorStore(embeddings)
    documents = [Document("", id=file.name, metadata={"image_path": str(file)}) for file in files]
    vectors = np.array(embeddings.embed_image([str(file) for file in files]))
    add_to_memory(pictures, documents, vectors)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-5)

    retriever = StandardizedMultiModalRetriever(text_store=texts, image_store=pictures)
    calibration = retriever.calibrate(QUESTIONS, method="standardized")
    provenance = calibration.modalities["image"].provenance
    assert (provenance.encoder_fingerprint, provenance.dimension) == (embeddings.fingerprint, DIMENSION)

    found = retriever.invoke("the red cat sleeps", k=22, minimum={"image": 6})
    question = np.array(embeddings.embed_query("the red cat sleeps"))
    for document in found:
        if document.metadata["commonscale_modality"] == "image":
            row = vectors[[file.name for file in files].index(str(document.id))]
            assert document.metadata["commonscale_cosine"] == pytest.approx(float(row @ question), abs=1e-5)
    assert [block["type"] for block in to_content_blocks(found)].count("image") == 6

    (tmp_path / "broken.png").write_bytes(files[0].read_bytes()[:40])
    with pytest.raises(ImageError, match=r"broken\.png"):
        embeddings.embed_image([str(tmp_path / "broken.png")])
