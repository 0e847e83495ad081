"""Putting shards of ready vectors into a store, batch by batch, without embedding anything."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from commonscale.core.dense import unit_rows
from commonscale.core.errors import CommonscaleError, IngestError, InvalidInputError
from commonscale.core.types import Modality, Vector
from commonscale.stores.ingest import Plan, progress
from commonscale.stores.shard_documents import Loaded, Naming
from commonscale.stores.shard_rows import by_modality, with_all_fields

if TYPE_CHECKING:
    from commonscale.embedding import Shards

WriteLoaded: TypeAlias = Callable[[Modality, list[Loaded], Vector], None]
"""Writes documents of one modality with their unit rows (n, d), leaving one copy of each id."""


def open_if_folder(shards: Any) -> Shards:
    """Give shards: opened ones as they are, or those of a folder.

    Raises:
        InvalidInputError: if it is neither, or the folder has none, or not all.
        FileFormatError: if a shard is damaged or foreign.
        MissingExtraError: if pyarrow is not installed.
    """
    if isinstance(shards, (str, os.PathLike)):
        from commonscale.embedding import open_shards

        return open_shards(shards)
    if not all(hasattr(shards, name) for name in ("batches", "check_ids", "counts", "fingerprint", "dimension")):
        raise InvalidInputError(
            f"shards must be a folder that `commonscale embed` wrote, or what commonscale.embedding.open_shards() "
            f"returned, got {type(shards).__name__}: {shards!r:.200}"
        )
    opened: Shards = shards
    return opened


def wanted(shards: Shards, modality: Modality | None) -> dict[Modality, int]:
    """Count the documents that are to be put in.

    Args:
        shards: where they are.
        modality: only these; None for all.

    Raises:
        InvalidInputError: if there are none of this modality.
    """
    counts = dict(shards.counts)
    if modality is None:
        return counts
    if not counts.get(modality):
        held = ", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing"
        raise InvalidInputError(
            f"modality={modality!r}: the shards in {shards.folder} have no such documents, they hold {held}; name one "
            f"of these, or leave modality= out to put all of them in"
        )
    return {modality: counts[modality]}


def check_dimension(shards: Shards, plan: Plan) -> None:
    """Check that the vectors fit the store.

    Raises:
        InvalidInputError: if they do not.
    """
    if plan.dimension is not None and plan.dimension != shards.dimension:
        raise InvalidInputError(
            f"the shards in {shards.folder} hold vectors of length {shards.dimension}, but the {plan.store_name} holds "
            f"vectors of length {plan.dimension}; embed with the model that the store was filled with, or use another "
            f"store"
        )


@dataclass
class _State:
    """How far a call has come."""

    done: Counter[Modality] = field(default_factory=Counter)
    batch: int = 0
    ids: str = ""
    reading: bool = True


def put_shards(
    shards: Shards,
    modality: Modality | None,
    naming: Naming,
    write: WriteLoaded,
    plan: Plan,
    *,
    first_decides: bool = False,
) -> dict[Modality, int]:
    """Write the documents of shards, one batch after the other; memory holds one of them.

    Args:
        shards: the documents with their vectors.
        modality: only these; None for all.
        naming: how they are named and labeled.
        write: the store.
        plan: how.
        first_decides: whether the first documents written decide for good which metadata there may be. Then a few that
            have all of them between them go in first, and the shards are read twice.

    Returns:
        How many are in, by modality.

    Raises:
        IngestError: if a batch fails; the message names it and says what is in.
        CommonscaleError: what Commonscale itself objects to, as it is, while nothing was written.
    """
    total = sum(wanted(shards, modality).values())
    check_dimension(shards, plan)
    shards.check_ids()
    state = _State()
    with progress(total, plan) as advance:
        try:
            if first_decides and (few := with_all_fields(shards, modality, plan.batch_size)) is not None:
                documents = [one for kind, part in by_modality(few) for one in naming.loaded(kind, part)]
                rows = np.concatenate([part.vectors for _, part in by_modality(few)])
                write(few.modalities[0], documents, unit_rows(rows))
            for batch in shards.batches(plan.batch_size, modality):
                state.batch, state.ids, state.reading = state.batch + 1, f"{batch.ids[0]!r} to {batch.ids[-1]!r}", False
                for kind, part in by_modality(batch):
                    write(kind, naming.loaded(kind, part), unit_rows(part.vectors))
                    state.done[kind] += len(part)
                state.reading = True
                advance(len(batch))
        except Exception as error:
            if not state.done and isinstance(error, CommonscaleError):
                raise
            raise _stopped(error, state, total, plan) from error
    return dict(state.done)


def _stopped(error: Exception, state: _State, total: int, plan: Plan) -> IngestError:
    done = ", ".join(f"{number} {kind}" for kind, number in state.done.items()) or "none"
    where, half = "after" if state.reading else "at", "" if state.reading else "; of that batch some more may be"
    return IngestError(
        f"{type(error).__name__} {where} batch {state.batch} of {plan.batch_size} documents ({state.ids}): {error}. "
        f"Of {total} documents these are in the {plan.store_name}: {done}{half}. Load the shards again: the ids are "
        f"the same, so that none will be there twice"
    )
