"""MixBench's subsets, embedded: words and pictures apart, so that they can be blended before or after centring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import commonscale
from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality, Vector
from commonscale.datasets import MixBenchSubset, MixedDocument
from commonscale.datasets.mixbench import MIXED
from commonscale.embedding.partitions import digest_of
from commonscale.reproduction.arrays import write_arrays
from commonscale.reproduction.embedding import QUESTION, Item, embed_items, identity_of, read_vectors
from commonscale.reproduction.selection import Sizes

if TYPE_CHECKING:
    from commonscale.encoders import Encoder

ALPHA = 0.5
"""Weight of the words in a document of both; the rest is the picture's (GR-CLIP, alpha = 0.5)."""

FOLDS = 2
_SEED = 42
_Part = tuple[dict[str, int], Vector, list[list[str]]]
"""Row by id, vectors, and what tells the shards from others."""


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """An embedded subset.

    Attributes:
        questions: unit vectors (q, d).
        relevant: ids of each question's relevant documents, as rankings have them (``"text:3"``).
        parts: for each modality the vectors (n, d) of the words and of the pictures; None for what it has not.
        digest: differs if anything that was embedded does.
        notes: what a reader should know, in sentences.
    """

    questions: Vector
    relevant: Sequence[frozenset[str]]
    parts: Mapping[Modality, tuple[Vector | None, Vector | None]]
    digest: str
    notes: Sequence[str]

    def documents(self, modality: Modality) -> Vector:
        """Give unit vectors (n, d); those of documents of both are the weighted sum of their parts, of norm 1."""
        words, picture = self.parts[modality]
        if words is None or picture is None:
            return words if words is not None else known(picture)
        return unit_rows(ALPHA * words + (1 - ALPHA) * picture) if len(words) else words


def embed_subset(
    subset: MixBenchSubset,
    encoder: Encoder,
    sizes: Sizes,
    cache: Path,
    *,
    retry_failed: bool = False,
    progress: bool = False,
) -> Corpus:
    """Embed a subset's questions and documents; what was embedded before is kept.

    Args:
        subset: the subset.
        encoder: embeds questions, words and pictures.
        sizes: how many questions and documents.
        cache: where vectors are kept.
        retry_failed: try again what an earlier run could not embed.
        progress: show progress bars on stderr.

    Raises:
        InvalidInputError: if fewer than two questions have a relevant document that could be embedded.
    """
    relevant = subset.relevant()
    asked = [(key, text) for key, text in subset.questions() if key in relevant]
    if sizes.limit is not None:
        drawn = np.random.default_rng(_SEED).permutation(len(asked))[: sizes.limit]
        asked = [asked[row] for row in sorted(drawn.tolist())]
    needed = {document for key, _ in asked for document in relevant[key]}

    def chosen() -> Iterator[MixedDocument]:
        others = 0
        for document in subset.documents():
            others += document.id not in needed
            if document.id in needed or sizes.documents is None or others <= sizes.documents:
                yield document

    def embed(what: str, items: Callable[[], Iterator[Item]]) -> _Part:
        shards = embed_items(
            items,
            cache / what,
            encoder,
            title=f"{subset.name}: {what}",
            open_picture=subset.open,
            retry_failed=retry_failed,
            progress=progress,
        )
        ids, vectors = read_vectors(shards)
        return {key: row for row, key in enumerate(ids)}, vectors, identity_of(shards)

    questions = embed("questions", lambda: (Item(key, QUESTION, text) for key, text in asked))
    words = embed("words", lambda: (Item(d.id, TEXT, d.text) for d in chosen() if d.text is not None))
    pictures = embed("pictures", lambda: (_picture(d) for d in chosen() if d.image is not None))
    return _corpus(subset.name, asked, relevant, list(chosen()), questions, words, pictures)


def _picture(document: MixedDocument) -> Item:
    image = document.image
    return Item(document.id, IMAGE, "", image) if isinstance(image, bytes) else Item(document.id, IMAGE, image or "")


def _corpus(
    name: str,
    asked: Sequence[tuple[str, str]],
    relevant: Mapping[str, Sequence[str]],
    documents: Sequence[MixedDocument],
    questions: _Part,
    words: _Part,
    pictures: _Part,
) -> Corpus:
    places: dict[str, str] = {}
    rows: dict[Modality, list[tuple[int, int]]] = {TEXT: [], IMAGE: [], MIXED: []}
    for document in documents:
        text, image = words[0].get(document.id), pictures[0].get(document.id)
        if (document.text is None or text is not None) and (document.image is None or image is not None):
            of = rows[document.modality]
            places[document.id] = f"{document.modality}:{len(of)}"
            of.append((-1 if text is None else text, -1 if image is None else image))
    parts = {
        modality: (
            words[1][[text for text, _ in found]] if modality != IMAGE else None,
            pictures[1][[image for _, image in found]] if modality != TEXT else None,
        )
        for modality, found in rows.items()
    }
    kept = [(key, frozenset(places[d] for d in relevant[key] if d in places)) for key, _ in asked]
    answerable = [(key, golds) for key, golds in kept if golds and key in questions[0]]
    if len(answerable) < FOLDS:
        raise InvalidInputError(
            f"MixBench {name}: {len(answerable)} questions have a relevant document that could be embedded, at least "
            f"{FOLDS} are needed; check that the pictures and the relevance file belong to the corpus"
        )
    notes = []
    if lost := len(documents) - len(places):
        notes.append(f"{name}: {lost:,} documents could not be embedded and are not in the pool.")
    if lost := len(asked) - len(answerable):
        notes.append(f"{name}: {lost:,} questions were left out because no relevant document could be embedded.")
    vectors = questions[1][[questions[0][key] for key, _ in answerable]]
    digest = digest_of(
        commonscale.__version__, questions[2], words[2], pictures[2], [sorted(golds) for _, golds in answerable]
    )
    return Corpus(vectors, [golds for _, golds in answerable], parts, digest, notes)


def known(vectors: Vector | None) -> Vector:
    """Give vectors, or none of them."""
    return np.empty((0, 1), np.float32) if vectors is None else vectors


def folds(count: int) -> npt.NDArray[np.int64]:
    """Give each question's half: 0 or 1."""
    halves = np.arange(count, dtype=np.int64) % FOLDS
    np.random.default_rng(_SEED).shuffle(halves)
    return halves


def write_benchmark(corpus: Corpus, target: Path) -> None:
    """Write the questions about texts alone or pictures alone as a benchmark file; documents of both have no place.

    The first half of the questions calibrates, the second is evaluated; nothing is written if none of it can be.
    """
    single = {m: corpus.documents(m) for m in (TEXT, IMAGE)}
    fold = folds(len(corpus.questions))
    pairs: list[tuple[int, str, int]] = []
    kept: list[int] = []
    for row in np.flatnonzero(fold == 1).tolist():
        found = [gold.split(":") for gold in sorted(corpus.relevant[row])]
        inside = [(kind, int(number)) for kind, number in found if kind in single]
        if inside:
            pairs += [(len(kept), kind, number) for kind, number in inside]
            kept.append(row)
    if not kept:
        return
    number, kind, index = zip(*pairs, strict=True)
    arrays = {
        "questions": corpus.questions[kept],
        "calibration_questions": corpus.questions[fold == 0],
        "texts": single[TEXT],
        "images": single[IMAGE],
        "relevant_question": np.array(number),
        "relevant_modality": np.array(kind),
        "relevant_index": np.array(index),
    }
    write_arrays(target, arrays)
