"""Putting items into a store batch by batch, so that it is always known what is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import unit_rows
from commonscale.core.errors import CommonscaleError, IngestError, InvalidInputError
from commonscale.core.extras import require
from commonscale.core.types import Modality, Vector


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One item on its way into a store.

    Attributes:
        id: its id there.
        content: what the embedding model reads.
        payload: what is stored beside the vector: the framework's node or document.
        name: what messages call it.
    """

    id: str
    content: Any
    payload: Any
    name: str


class Embedded(NamedTuple):
    """Vectors of the contents that could be read.

    Attributes:
        kept: places in the batch (n), ascending.
        vectors: their vectors (n, d), of any norm.
    """

    kept: Sequence[int]
    vectors: npt.ArrayLike


Embed = Callable[[list[Any]], Embedded]
Write = Callable[[list[Entry], Vector], None]
"""Writes entries with their unit rows (n, d), leaving one copy of each id."""


@dataclass(frozen=True)
class Plan:
    """How items are put in.

    Attributes:
        store_name: what messages call the store.
        dimension: length of the store's vectors; None while it has none.
        batch_size: items embedded and written together.
        show_progress: whether a progress bar is shown on stderr.
        unit: what an item is.
    """

    store_name: str
    dimension: int | None
    batch_size: int
    show_progress: bool
    unit: str

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InvalidInputError(f"batch_size must be an integer of at least 1, got {self.batch_size!r}")


def put(entries: Sequence[Entry], embed: Embed, write: Write, plan: Plan) -> list[str]:
    """Embed and write entries, one batch after the other.

    Args:
        entries: with different ids.
        embed: the model; it may leave out contents that cannot be read.
        write: the store.
        plan: how.

    Returns:
        The ids that are in, in order.

    Raises:
        IngestError: if a batch fails; the message says what is in.
        CommonscaleError: what Commonscale itself objects to, as it is, while nothing was written.
    """
    stored: list[str] = []
    dimension = plan.dimension
    with progress(len(entries), plan) as advance:
        for start in range(0, len(entries), plan.batch_size):
            batch = list(entries[start : start + plan.batch_size])
            try:
                kept, rows = _embedded(batch, embed, dimension, plan)
                if kept:
                    write(kept, rows)
                    dimension = rows.shape[1]
            except Exception as error:
                if not stored and isinstance(error, CommonscaleError):
                    raise
                raise _stopped(error, entries, start, stored, plan) from error
            stored += [entry.id for entry in kept]
            advance(len(batch))
    return stored


def _embedded(batch: list[Entry], embed: Embed, dimension: int | None, plan: Plan) -> tuple[list[Entry], Vector]:
    """Give the entries that could be embedded, with unit rows of the right length."""
    places, vectors = embed([entry.content for entry in batch])
    kept = [batch[place] for place in places]
    if len(vectors) != len(kept):  # type: ignore[arg-type]
        raise InvalidInputError(f"the embedding model gave {len(vectors)} vectors for {len(kept)} {plan.unit}s")  # type: ignore[arg-type]
    if not kept:
        return [], np.empty((0, dimension or 0), np.float32)
    try:
        rows = unit_rows(vectors, f"{plan.unit} vector")
    except InvalidInputError as error:
        raise InvalidInputError(_fault(kept, vectors, error)) from error
    if dimension is not None and rows.shape[1] != dimension:
        raise InvalidInputError(
            f"the embedding model gives vectors of length {rows.shape[1]}, but the {plan.store_name} holds vectors of "
            f"length {dimension}; embed with the model that the store was filled with, or use another store"
        )
    return kept, rows


def _fault(kept: Sequence[Entry], vectors: npt.ArrayLike, error: InvalidInputError) -> str:
    """Name the item whose vector cannot be used."""
    for entry, vector in zip(kept, vectors, strict=True):  # type: ignore[arg-type]
        values = np.asarray(vector, dtype=np.float64)
        if values.ndim == 1 and not (np.isfinite(values).all() and values.any()):
            return (
                f"the embedding model gave a vector for {entry.name} that is null or not finite, so it has no cosine; "
                f"leave that item out, or embed with another model"
            )
    return f"the embedding model gave vectors that cannot be used: {error}"


def _stopped(error: Exception, entries: Sequence[Entry], start: int, stored: list[str], plan: Plan) -> IngestError:
    batch = entries[start : start + plan.batch_size]
    between = batch[0].name if len(batch) == 1 else f"{batch[0].name} to {batch[-1].name}"
    return IngestError(
        f"{type(error).__name__} at {between}: {error}. {len(stored)} of {len(entries)} {plan.unit}s are in the "
        f"{plan.store_name}; of the {len(batch)} at which it stopped some may be. Put all of them in again: the ids "
        f"are the same, so that none will be there twice",
        stored,
    )


@contextmanager
def progress(total: int, plan: Plan) -> Iterator[Callable[[int], Any]]:
    """Give a function that advances a bar on stderr by so many items; without a bar it does nothing."""
    if not plan.show_progress:
        yield lambda _count: None
        return
    with require("tqdm", "encoders").tqdm(total=total, unit=plan.unit, desc="adding") as bar:
        yield bar.update


def as_list(items: Any, what: str) -> list[Any]:
    """Give items as a list.

    Raises:
        InvalidInputError: if it is a single one, or none at all.
    """
    if isinstance(items, (str, bytes, bytearray, Mapping)) or not hasattr(items, "__iter__") or hasattr(items, "read"):
        raise InvalidInputError(f"a list of {what}s is needed, got one {type(items).__name__}; put it into a list")
    return list(items)


def labeled(
    metadatas: Sequence[Mapping[str, Any]] | None, count: int, modality: Modality, key: str | None
) -> list[dict[str, Any]]:
    """Copy metadata and add each item's modality.

    Args:
        metadatas: of each item; None if they have none.
        count: how many items there are.
        modality: their modality.
        key: the metadata key for it; None to add nothing.

    Raises:
        InvalidInputError: if there is not one mapping for each item, or one names another modality.
    """
    if not isinstance(modality, str) or not modality:
        raise InvalidInputError(f"modality must be a name such as 'text', got {modality!r}")
    given = [{} for _ in range(count)] if metadatas is None else as_list(metadatas, "metadata")
    check_count("metadatas", given, count)
    made = []
    for place, metadata in enumerate(given):
        if not isinstance(metadata, Mapping):
            raise InvalidInputError(f"metadatas[{place}] must be a mapping, got {metadata!r}")
        copied = deepcopy(dict(metadata))
        if key is not None and copied.setdefault(key, modality) != modality:
            raise InvalidInputError(
                f"metadatas[{place}] says {key}={copied[key]!r}, but these items are put in as {modality!r}; put each "
                f"modality in with a call of its own, or name another key with modality_key="
            )
        made.append(copied)
    return made


def check_count(name: str, given: Sequence[Any], count: int) -> None:
    """Check that there is one for each item.

    Raises:
        InvalidInputError: if there are more or fewer.
    """
    if len(given) != count:
        raise InvalidInputError(f"{name} has {len(given)} entries for {count} items; give one for each")
