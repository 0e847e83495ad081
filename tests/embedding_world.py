"""A corpus of pictures and texts that are told apart by what they hold, and an encoder that notes what it is shown.

Run as a program it embeds a corpus; with ``--step`` it waits for a line on stdin after every batch, so that whoever
started it can kill it at a known place.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from commonscale.embedding import ShardBatch, Shards, embed_corpus
from commonscale.encoders import CallableEncoder
from commonscale.encoders.options import EncodingOptions

DIMENSION = 8
Note = Callable[[list[str]], None]


def write_corpus(folder: Path, pictures: int, texts: int) -> Path:
    """Write pictures and texts: every picture has a color of its own, every text its number."""
    from PIL import Image

    (folder / "deep").mkdir(parents=True)
    for number in range(pictures):
        color = (number // 256, number % 256, 7)
        Image.new("RGB", (8, 8), color).save(folder / "deep" / f"picture-{number:03d}.png")
    for number in range(texts):
        (folder / f"text-{number:03d}.txt").write_text(f"text {number}\n")
    return folder


def noting_encoder(note: Note = lambda _: None, *, fingerprint: str = "noting-1", batch_size: int = 4) -> Any:
    """Make an encoder whose vectors are a hash of the item, and which tells of every batch that it embeds."""

    def embed(names: list[str]) -> list[Any]:
        note(names)
        return [vector_of(name) for name in names]

    def embed_image(images: list[Any]) -> list[Any]:
        colors = [image.getpixel((0, 0)) for image in images]
        return embed([f"picture {red * 256 + green}" for red, green, _ in colors])

    options = EncodingOptions(batch_size=batch_size)
    return CallableEncoder(
        embed_text=embed, embed_image=embed_image, fingerprint=fingerprint, dimension=DIMENSION, options=options
    )


def vector_of(name: str) -> Any:
    """The vector of an item."""
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).normal(size=DIMENSION)


def unit(name: str) -> Any:
    """The vector of an item as it is stored."""
    vector = vector_of(name)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def everything(shards: Shards) -> list[tuple[Any, ...]]:
    """All that shards hold, with the bytes of vectors."""

    def rows(batch: ShardBatch) -> list[tuple[Any, ...]]:
        vectors = [row.tobytes() for row in batch.vectors]
        columns = (batch.ids, batch.modalities, batch.texts, batch.paths, batch.metadata, vectors)
        return list(zip(*columns, strict=True))

    return [row for batch in shards.batches() for row in rows(batch)]


class DiesOnce:
    """An encoder around another one whose process kills itself when it has embedded some pictures, but only once."""

    def __init__(self, encoder: Any, flag: Path) -> None:
        self._encoder = encoder
        self._flag = flag
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_texts(self, texts: Any) -> Any:
        return self._encoder.encode_texts(texts)

    def encode_images_reporting(self, images: Any) -> Any:
        self._calls += 1
        if self._calls > 1 and not self._flag.exists():
            self._flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._encoder.encode_images_reporting(images)


def main(corpus: str, out: str, log: str, step: bool) -> None:
    """Embed a corpus and note every item in a file."""

    def note(names: list[str]) -> None:
        with Path(log).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{name}\n" for name in names)
        if step:
            sys.stdout.write("batch\n")
            sys.stdout.flush()
            sys.stdin.readline()

    embed_corpus(corpus, out, noting_encoder(note), partition_size=10)


if __name__ == "__main__":
    main(*sys.argv[1:4], "--step" in sys.argv)
