"""A world with a modality gap, small enough to know every answer: documents are numbers, in words or as a colour.

Run as a program, it reproduces MultiModalQA with an encoder that kills its own process after some calls.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DIMENSION = 24
GAP = 2.0


def vector(number: int, kind: str) -> NDArray[np.float64]:
    """The vector of a number: its own direction, some noise, and the direction of its kind."""
    own = np.random.default_rng(number).standard_normal(DIMENSION)
    noise = np.random.default_rng([number, *kind.encode()]).standard_normal(DIMENSION)
    found = own + 0.8 * noise
    found[0 if kind != "image" else 1] += GAP * np.sqrt(DIMENSION)
    return found / np.linalg.norm(found)


class WorldEncoder:
    """Reads the number in a text, or in the colour of a picture's first pixel; a fake, with real pictures.

    Attributes:
        seen: all texts, and how many pictures.
        deadly: kills this process at the call with this number.
    """

    dimension = DIMENSION
    fingerprint = "world:1"

    def __init__(self, deadly: int = 0) -> None:
        self.seen: list[str] = []
        self.pictures = 0
        self.deadly = deadly
        self._calls = 0

    def encode_questions(self, questions: Sequence[str]) -> NDArray[np.float32]:
        return self._words(questions, "question")

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._words(texts, "text")

    def encode_images(self, images: Sequence[Any]) -> NDArray[np.float32]:
        from commonscale.encoders import load_image

        self._call()
        colors = [load_image(image).getpixel((0, 0)) for image in images]
        self.pictures += len(images)
        return _rows([vector(red + 256 * green, "image") for red, green, _ in colors])

    def _words(self, texts: Sequence[str], kind: str) -> NDArray[np.float32]:
        self._call()
        self.seen += texts
        return _rows([vector(int(re.findall(r"\d+", text)[0]), kind) for text in texts])

    def _call(self) -> None:
        self._calls += 1
        if self._calls == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)


def _rows(vectors: list[NDArray[np.float64]]) -> NDArray[np.float32]:
    return np.array(vectors, dtype=np.float32).reshape(-1, DIMENSION)


def png(number: int, size: int = 8) -> bytes:
    """A picture of a number: its first pixel tells it, the others are noise."""
    stream = io.BytesIO()
    picture = Image.effect_noise((size, size), 80).convert("RGB")
    picture.putpixel((0, 0), (number % 256, number // 256, 0))
    picture.save(stream, "PNG")
    return stream.getvalue()


def write_world(folder: Path, count: int = 60, **options: Any) -> Path:
    """Write MultiModalQA of so many texts (even numbers) and pictures (odd ones), with questions on half of them."""
    from dataset_files import mmqa_question, write_mmqa

    texts = {f"t{n}": f"The passage on {n}." for n in range(0, 2 * count, 2)}
    pictures = {f"i{n}.png": png(n) for n in range(1, 2 * count, 2)}

    def questions(numbers: range, words: str) -> list[Any]:
        found = []
        for n in numbers:
            part, key = ("text", f"t{n}") if n % 2 == 0 else ("image", f"i{n}")
            near = f"{key[0]}{(n + 2) % (2 * count)}"
            context = {"text_doc_ids": [], "image_doc_ids": [], f"{part}_doc_ids": [key, near]}
            kind = {"text": "TextQ", "image": "ImageQ"}[part]
            found.append(mmqa_question(f"{words}{n}", f"{words} {n}?", kind, [(part, key)], **context))
        return found

    asked = {"dev": questions(range(count), "What of"), "train": questions(range(count, 2 * count), "Which is")}
    return write_mmqa(folder, asked, texts, pictures, **options)


if __name__ == "__main__":
    from commonscale.reproduction import reproduce

    data, out, deadly = sys.argv[1:]
    reproduce("mmqa", data, out, WorldEncoder(int(deadly)), encoder_name="world")
