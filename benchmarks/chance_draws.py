"""Mixed-modality benchmarks drawn from photos with five captions each, for benchmarks/methods.py.

Of the photos drawn, some are known by their picture, the others by captions of theirs as passages. Caption 0 asks,
caption 1 of the same (or of other) photos is banked. A draw depends on its seed and its settings alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from commonscale import IMAGE, TEXT
from commonscale.core.dense import unit_rows
from commonscale.core.types import Modality, Vector

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Photos:
    """Embedded photos: ``images`` (n, d) and ``captions`` (n, 5, d), unit vectors."""

    images: Vector
    captions: Vector

    @classmethod
    def load(cls, path: Path) -> Photos:
        """Read ``image`` and ``text`` of an ``.npz`` file."""
        with np.load(path, allow_pickle=False) as arrays:
            images, captions = arrays["image"], arrays["text"]
        return cls(unit_rows(images), unit_rows(captions.reshape(-1, captions.shape[2])).reshape(captions.shape))


@dataclass(frozen=True, slots=True)
class Settings:
    """What a draw is like.

    Attributes:
        texts: share of the photos that are known by captions.
        passages: captions of each of them, 1 to 3.
        photos: how many are drawn.
        bank: how many questions calibrate, at most.
        mix: share of these that ask about passages; None for the share of the photos.
        about: what they ask about: the ``"same"`` photos as the questions, ``"other"`` photos of the same corpus, or
            photos ``"absent"`` from the corpus.
        copies: how often a text is stored.
        image_copies: how often an image is stored.
        copied: share of the texts that are stored so often.
        noise: norm of the noise on each copy (about: noise per coordinate times the root of d).
        strangers: whether the corpus also holds passages of another domain.
    """

    texts: float = 0.5
    passages: int = 3
    photos: int = 1000
    bank: int = 1000
    mix: float | None = None
    about: str = "same"
    copies: int = 1
    image_copies: int = 1
    copied: float = 1.0
    noise: float = 0.0
    strangers: bool = False


@dataclass(frozen=True, slots=True)
class Draw:
    """A benchmark.

    Attributes:
        questions: (Q, d).
        items: the photo of each question (Q,).
        wants_text: whether it is known by passages (Q,).
        bank: (C, d).
        documents: vectors by modality.
        owners: the photo of each document, by modality; -1 for none.
    """

    questions: Vector
    items: Rows
    wants_text: npt.NDArray[np.bool_]
    bank: Vector
    documents: Mapping[Modality, Vector]
    owners: Mapping[Modality, Rows]


SCENARIOS: dict[str, Settings] = {
    "half texts, half images": Settings(),
    "10% texts": Settings(texts=0.1),
    "90% texts": Settings(texts=0.9),
    "one passage each": Settings(passages=1),
    "2% text questions": Settings(mix=0.02),
    "10% text questions": Settings(mix=0.1),
    "90% text questions": Settings(mix=0.9),
    "98% text questions": Settings(mix=0.98),
    "20 questions": Settings(bank=20),
    "50 questions": Settings(bank=50),
    "100 questions": Settings(bank=100),
    "200 questions": Settings(bank=200),
    "bank about other photos": Settings(about="other"),
    "50 about other photos": Settings(about="other", bank=50),
    "bank about absent photos": Settings(about="absent"),
    "texts three times": Settings(copies=3),
    "a tenth of texts ten times": Settings(copies=10, copied=0.1),
    "texts three times, nearly": Settings(copies=3, noise=0.2),
    "images three times": Settings(image_copies=3),
    "200 photos": Settings(photos=200),
}
"""What is drawn by default."""

STRANGE: dict[str, Settings] = {
    "with strangers": Settings(strangers=True),
    "few texts, with strangers": Settings(texts=0.2, passages=1, strangers=True),
    "50 questions, with strangers": Settings(bank=50, strangers=True),
    "200 questions, with strangers": Settings(bank=200, strangers=True),
}
"""What is drawn as well if there are passages of another domain."""


def draw(photos: Photos, elsewhere: Photos, strangers: Vector | None, settings: Settings, seed: int) -> Draw:
    """Draw a benchmark.

    Args:
        photos: those to draw from.
        elsewhere: other photos, to ask about what is absent.
        strangers: passages of another domain (n, d); needed where the settings ask for them.
        settings: what it is like.
        seed: its seed.
    """
    rng = np.random.default_rng([seed, 77])
    chosen = rng.permutation(len(photos.images))[: settings.photos]
    known = {TEXT: chosen[: round(settings.texts * len(chosen))], IMAGE: chosen[round(settings.texts * len(chosen)) :]}
    asked = known
    if settings.about == "other":
        asked = {modality: items[: len(items) // 2] for modality, items in known.items()}
    texts = photos.captions[known[TEXT]][:, 2 : 2 + settings.passages]
    owners = {TEXT: np.repeat(known[TEXT], settings.passages), IMAGE: known[IMAGE]}
    documents = {TEXT: texts.reshape(-1, texts.shape[2]), IMAGE: photos.images[known[IMAGE]]}
    for modality, copies in ((TEXT, settings.copies), (IMAGE, settings.image_copies)):
        again = np.repeat(np.flatnonzero(rng.random(len(owners[modality])) < settings.copied), copies - 1)
        more = documents[modality][again]
        noise = settings.noise * rng.standard_normal(more.shape) / np.sqrt(more.shape[1])
        documents[modality] = np.vstack([documents[modality], unit_rows(more + noise)])
        owners[modality] = np.concatenate([owners[modality], owners[modality][again]])
    if settings.strangers:
        if strangers is None:
            raise ValueError("this draw needs passages of another domain; give --passages")
        documents[TEXT] = np.vstack([documents[TEXT], unit_rows(strangers)])
        owners[TEXT] = np.concatenate([owners[TEXT], np.full(len(strangers), -1)])
    items = np.concatenate([asked[TEXT], asked[IMAGE]])
    return Draw(
        photos.captions[items, 0],
        items,
        np.arange(len(items)) < len(asked[TEXT]),
        _bank(photos, elsewhere, known, asked, settings, rng),
        documents,
        owners,
    )


def _bank(
    photos: Photos,
    elsewhere: Photos,
    known: Mapping[Modality, Rows],
    asked: Mapping[Modality, Rows],
    settings: Settings,
    rng: np.random.Generator,
) -> Vector:
    if settings.about == "absent":
        absent = rng.permutation(len(elsewhere.captions))[: settings.bank]
        return np.ascontiguousarray(elsewhere.captions[absent, 1])
    rest = {m: items[len(asked[m]) :] if settings.about == "other" else items for m, items in known.items()}
    share = len(rest[TEXT]) / (len(rest[TEXT]) + len(rest[IMAGE])) if settings.mix is None else settings.mix
    count = int(min(settings.bank, len(rest[TEXT]) / share, len(rest[IMAGE]) / (1.0 - share)) + 1e-9)
    texts = round(count * share)
    rows = [rng.choice(rest[TEXT], texts, replace=False), rng.choice(rest[IMAGE], count - texts, replace=False)]
    return np.ascontiguousarray(photos.captions[np.concatenate(rows), 1])
