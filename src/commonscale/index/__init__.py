"""The embedded default: an exact index in a folder, one FAISS file per modality plus one of documents.

    index = FaissIndex.create("my-index", dimension=encoder.dimension, encoder_fingerprint=encoder.fingerprint)
    index.add([Document("dog.jpg", "image", path="dog.jpg")], encoder.encode_images(["dog.jpg"]))
    index.save()
    search = JointSearch(index.sources(), provenance=index.provenance())

Needs ``faiss-cpu`` and ``filelock`` (extra ``faiss``), both loaded when an index is created or opened.
"""

from __future__ import annotations

from commonscale.index.document import Document
from commonscale.index.faiss_index import FaissIndex
from commonscale.index.memory import MemoryIndex
from commonscale.index.source import IndexSource

__all__ = ["Document", "FaissIndex", "IndexSource", "MemoryIndex"]
