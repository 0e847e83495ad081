"""Small real picture files, passages, an encoder with a modality gap, and rankings for photo questions by numpy."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from commonscale.encoders import CallableEncoder

DIMENSION = 16
TEXTS = 30
PICTURES = 24
ASKED = 40


def _projection() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((12, DIMENSION))


def _pixels(pictures: list[Any]) -> np.ndarray:
    """Four mean colors of each picture, projected, on the pictures' side of the space."""
    quarters = np.array([np.asarray(p.resize((2, 2), 0), dtype=np.float64).reshape(12) for p in pictures])
    return (quarters / 128.0 - 1.0) @ _projection() + 6.0 * np.eye(DIMENSION)[0]


def _words(texts: list[str]) -> np.ndarray:
    """A vector of its own for every text, on the other side."""
    rows = [np.random.default_rng(zlib.crc32(t.encode())).standard_normal(12) for t in texts]
    return np.array(rows) @ _projection() - 6.0 * np.eye(DIMENSION)[0]


def encoder(fingerprint: str = "pictures-1") -> CallableEncoder:
    """An encoder of words and pixels."""
    return CallableEncoder(embed_text=_words, embed_image=_pixels, fingerprint=fingerprint, dimension=DIMENSION)


def text_encoder() -> CallableEncoder:
    """One that reads no pictures."""
    return CallableEncoder(embed_text=_words, fingerprint="words-1", dimension=DIMENSION)


class PictureWorld:
    """Passages and pictures to store, and pictures to ask with, half of which are stored."""

    def __init__(self, folder: Path) -> None:
        from PIL import Image

        rng = np.random.default_rng(3)
        self.encoder = encoder()
        self.paths: list[str] = []
        for number in range(PICTURES + ASKED // 2):
            pixels = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
            path = folder / f"picture {number}.png"
            Image.fromarray(pixels, "RGB").resize((16, 12), 0).save(path)
            self.paths.append(str(path))
        self.texts = [f"passage {number}" for number in range(TEXTS)]
        self.pictures = self.paths[:PICTURES]
        self.asked = self.paths[: ASKED // 2] + self.paths[PICTURES:]
        self.questions = [f"question {number}" for number in range(ASKED)]
        self.vectors = {
            "text": self.encoder.encode_texts(self.texts),
            "image": self.encoder.encode_images(self.pictures),
        }
        self.ids = {"text": [f"t{i}" for i in range(TEXTS)], "image": [f"i{i}" for i in range(PICTURES)]}

    @property
    def stranger(self) -> str:
        """A picture that is not stored."""
        return self.paths[-1]

    def forms(self, path: str) -> list[Any]:
        """One picture as all that may stand for it: path, bytes and PIL image."""
        from PIL import Image

        content = Path(path).read_bytes()
        return [path, Path(path), content, bytearray(content), io.BytesIO(content), Image.open(io.BytesIO(content))]

    def ranking(self, path: str, k: int, *, raw: bool = False, only: str | None = None) -> list[tuple[str, float]]:
        """The exact ranking for a photo question, own hits left out of the statistics: ids and scores."""
        question = self.encoder.encode_images([path])[0].astype(np.float64)
        bank = self.encoder.encode_images(self.asked).astype(np.float64)
        found = []
        for modality, rows in self.vectors.items():
            if only in (None, modality):
                cosines = bank @ rows.astype(np.float64).T
                best = np.where(cosines > 0.9999, -np.inf, cosines).max(axis=1)
                mean, std = (0.0, 1.0) if raw else (best.mean(), best.std())
                scores = (rows.astype(np.float64) @ question - mean) / std
                found += list(zip(self.ids[modality], scores.tolist(), strict=True))
        return sorted(found, key=lambda hit: -hit[1])[:k]
