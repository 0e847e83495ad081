"""Real photos that ask, where the project's shared data are at hand: texts are let in, and the right ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("faiss")

from commonscale import JointSearch, Question
from commonscale.index import Document, MemoryIndex

MODELS = Path(__file__).parents[3] / "shared" / "models"
FILES = [MODELS / f"photo-{part}-embeddings.npz" for part in ("test", "dev")]

pytestmark = pytest.mark.skipif(
    not all(file.exists() for file in FILES), reason="needs ../shared/models, embeddings of real photos"
)
ASKING = 300


def reciprocal_ranks(search: JointSearch, asking: list[Question], *, raw: bool) -> tuple[float, float]:
    """The share of texts in the top 10, and the mean reciprocal rank of the photo's own captions in the top 20."""
    rankings = search.search_batch(asking, 20, raw=raw)
    texts = [hit.modality == "text" for ranking in rankings for hit in ranking[:10]]
    places = [
        next((1 / place for place, i in enumerate(ranking.ids, 1) if i.startswith(f"text:{photo}:")), 0.0)
        for photo, ranking in enumerate(rankings)
    ]
    return float(np.mean(texts)), float(np.mean(places))


@pytest.mark.parametrize(("method", "texts", "rank"), [("standardized", 0.4, 0.2), ("chance", 0.7, 0.3)])
def test_photos_find_their_captions_among_texts_and_photos(method: str, texts: float, rank: float) -> None:
    with np.load(FILES[0]) as held:
        photos, captions = held["image"], held["text"]
    with np.load(FILES[1]) as held:
        bank = held["image"][:300]
    index = MemoryIndex(photos.shape[1])
    names = [f"text:{photo}:{number}" for photo in range(len(photos)) for number in range(captions.shape[1])]
    index.add([Document(name, "text") for name in names], captions.reshape(len(names), -1))
    index.add([Document(f"image:{photo}", "image") for photo in range(ASKING, len(photos))], photos[ASKING:])
    search = JointSearch(index.sources())
    asking = [Question(vector=row, kind="image") for row in photos[:ASKING]]
    assert reciprocal_ranks(search, asking, raw=True) == (0.0, 0.0)
    search.calibrate([Question(vector=row, kind="image") for row in bank], method=method)
    found = reciprocal_ranks(search, asking, raw=False)
    assert found[0] > texts
    assert found[1] > rank
