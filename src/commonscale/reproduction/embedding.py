"""Embedding the items of an experiment into shards: kept on disk, and gone on with after a crash."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from commonscale.core.errors import ImageError, TruncationWarning
from commonscale.core.extras import require
from commonscale.core.types import IMAGE, TEXT, Modality, Vector
from commonscale.datasets import load_cut_image
from commonscale.embedding import ShardBatch, ShardFailure, Shards
from commonscale.embedding.manifest import ShardManifest
from commonscale.embedding.output import OutputFolder
from commonscale.embedding.part_file import write_part
from commonscale.embedding.partitions import digest_of
from commonscale.embedding.reporting import Reported, embed_reporting
from commonscale.embedding.storage import may_pass

if TYPE_CHECKING:
    from commonscale.encoders import Encoder
    from commonscale.encoders.images import ImageInput

QUESTION: Modality = "question"
BLOCK = 200
"""Items in a part: what a crash can cost, at most."""

CUT = "cut"
"""Metadata of a picture whose file was cut short: the missing part is gray."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something to embed.

    Attributes:
        id: its id in the data set.
        modality: ``"question"``, ``"text"`` or ``"image"``.
        content: its words; for a picture, the name that it is opened by.
        inline: the bytes of a picture that has no name.
    """

    id: str
    modality: Modality
    content: str
    inline: bytes | None = None


def embed_items(
    items: Callable[[], Iterable[Item]],
    folder: Path,
    encoder: Encoder,
    *,
    title: str,
    open_picture: Callable[[str], ImageInput] | None = None,
    retry_failed: bool = False,
    progress: bool = False,
) -> Shards:
    """Embed items into a folder of shards; what an earlier run has embedded is kept.

    The items are read twice: once to plan, once to embed what is missing. Every part is written whole or not at all.
    Passages without words and pictures that cannot be read are left out, with the reason in ``failures``; a picture
    whose file is cut short is read as far as it goes. Texts longer than the encoder reads are cut, as in the papers.

    Args:
        items: gives the items, the same ones every time.
        folder: where the shards are kept.
        encoder: embeds them.
        title: what they are, for the progress bar.
        open_picture: opens a picture by its name.
        retry_failed: embed the parts anew in which something could not be embedded.
        progress: show a progress bar on stderr.

    Returns:
        The shards, in the order of the items.

    Raises:
        EncoderError: if the encoder cannot be used; what was embedded stays.
        IndexConflictError: if another run writes to the folder.
    """
    fingerprint = encoder.fingerprint
    plan = {_part(number, block, fingerprint): len(block) for number, block in _blocks(items())}
    manifest = ShardManifest(fingerprint, None, encoder.dimension, {"kind": "reproduction"}, tuple(plan))
    with OutputFolder(folder) as output:
        manifest.write(folder)
        known = Shards(folder, manifest)
        missing = set(known.missing)
        if retry_failed:
            missing |= {path.name for path, header in known.headers.items() if header.failures}
        done = sum(count for part, count in plan.items() if part not in missing)
        bar = require("tqdm", "encoders").tqdm(
            total=sum(plan.values()), initial=done, desc=title, unit="item", disable=not progress
        )
        with bar:
            for number, block in _blocks(items()) if missing else ():
                part = _part(number, block, fingerprint)
                if part in missing:
                    batch, failures = _embedded(block, encoder, open_picture)
                    write_part(
                        folder / part, batch, fingerprint=fingerprint, failures=tuple(failures), items=len(block)
                    )
                    bar.update(len(block))
        output.remove_others(manifest.parts)
    return Shards(folder, manifest)


def read_vectors(shards: Shards) -> tuple[list[str], Vector]:
    """Give the ids and the vectors (n, d) of all documents of shards, in order."""
    vectors = np.empty((len(shards), shards.dimension), dtype=np.float32)
    ids: list[str] = []
    for batch in shards.batches(BLOCK):
        vectors[len(ids) : len(ids) + len(batch)] = batch.vectors
        ids.extend(batch.ids)
    return ids, vectors


def identity_of(shards: Shards) -> list[list[str]]:
    """Give what tells shards from others: their parts, and what is not in them."""
    return [list(shards.manifest.parts), [failure.id for failure in shards.failures]]


def count_cut(shards: Shards) -> int:
    """Count the pictures whose files were cut short."""
    return sum(bool(entry.get(CUT)) for batch in shards.batches(BLOCK) for entry in batch.metadata)


def _blocks(items: Iterable[Item]) -> Iterator[tuple[int, list[Item]]]:
    rest = iter(items)
    number = 0
    while block := list(islice(rest, BLOCK)):
        yield number, block
        number += 1


def _part(number: int, block: list[Item], fingerprint: str) -> str:
    facts = [[item.id, item.modality, item.content, len(item.inline or b"")] for item in block]
    return f"part-{number:05d}-{digest_of(fingerprint, facts)}.parquet"


def _embedded(
    block: list[Item], encoder: Encoder, open_picture: Callable[[str], ImageInput] | None
) -> tuple[ShardBatch, list[ShardFailure]]:
    ready: list[tuple[Item, Any]] = []
    failures: list[ShardFailure] = []
    for item in block:
        try:
            ready.append((item, _content(item, open_picture)))
        except ImageError as error:
            failures.append(ShardFailure(item.id, str(error), may_pass(error)))
    found, cut = _encoded(ready, encoder)
    kept = [ready[row][0] for row in found.kept]
    failures += [ShardFailure(ready[row][0].id, reason, may_pass(error)) for row, reason, error in found.failures]
    metadata: list[Mapping[str, Any]] = [{CUT: True} if row in cut else {} for row in found.kept]
    return (
        ShardBatch(
            [item.id for item in kept],
            [item.modality for item in kept],
            found.vectors,
            ["" if item.modality == IMAGE else item.content for item in kept],
            [None] * len(kept),
            metadata,
        ),
        failures,
    )


def _content(item: Item, open_picture: Callable[[str], ImageInput] | None) -> Any:
    if item.modality != IMAGE:
        if not item.content.strip():
            raise ImageError("no words in it")
        return item.content
    if item.inline is not None:
        return item.inline
    if open_picture is None:
        raise ImageError(f"no pictures were given to open {item.content!r} from")
    return open_picture(item.content)


def _encoded(ready: list[tuple[Item, Any]], encoder: Encoder) -> tuple[Reported, set[int]]:
    """Embed what can be embedded, and tell which pictures were cut short."""
    contents = [content for _, content in ready]
    modality = ready[0][0].modality if ready else TEXT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # one for every block would say little
        if modality == QUESTION:
            return Reported(encoder.encode_questions(contents), list(range(len(contents))), []), set()
        found = embed_reporting(encoder, modality == IMAGE, contents)
        if modality != IMAGE or not found.failures:
            return found, set()
        return _with_cut(found, contents, encoder)


def _with_cut(found: Reported, contents: list[Any], encoder: Encoder) -> tuple[Reported, set[int]]:
    """Try pictures that could not be read once more, as far as they go."""
    opened: dict[int, Any] = {}
    for row, _, error in found.failures:
        try:
            if isinstance(error, ImageError):
                opened[row] = load_cut_image(contents[row])
        except ImageError:
            continue
    again = embed_reporting(encoder, True, list(opened.values()))
    rows = list(opened)
    cut = {rows[at] for at in again.kept}
    order = np.argsort(np.array(found.kept + [rows[at] for at in again.kept]), kind="stable")
    vectors = np.concatenate([found.vectors, again.vectors])[order]
    kept = sorted([*found.kept, *cut])
    return Reported(vectors, kept, [entry for entry in found.failures if entry[0] not in cut]), cut
