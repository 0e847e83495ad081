"""What the behavioral suite needs to know of a store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store_suite.corpus import Item

BEHAVIOURS = (
    "ranking", "filters", "rare", "batch", "async", "reopen", "threads", "delete", "add", "images", "empty", "absent",
    "verify", "scan",
)  # fmt: skip


@dataclass
class Place:
    """Where one store of one test lives.

    Attributes:
        folder: a folder of its own.
        dimension: length of the vectors.
        server: starts, or finds running, a server by the name of its session fixture.
        name: a name for collections and tables that nobody else uses.
    """

    folder: Path
    dimension: int
    server: Callable[[str], Any]
    name: str = field(default_factory=lambda: f"c{uuid.uuid4().hex[:12]}")
    _closers: list[Callable[[], Any]] = field(default_factory=list)

    def on_close(self, closer: Callable[[], Any]) -> None:
        """Have something called when the store is no longer needed: at the end, or before it is opened again."""
        self._closers.append(closer)

    def close(self) -> None:
        """Call them, the latest first."""
        while self._closers:
            self._closers.pop()()


@dataclass(frozen=True)
class Kind:
    """A store of one framework with one setting.

    Attributes:
        name: database, mode and metric, such as ``"qdrant-disk-cosine"``.
        framework: ``"llama_index"`` or ``"langchain"``.
        make: makes the store at a place and adds items; no items make an empty store.
        add: adds items.
        packages: what must be importable; the kind is skipped otherwise.
        reopen: opens again what ``make`` left at a place, after ``place.close()``; None if it does not outlive the
            process.
        delete: deletes by item ids; None if the store cannot.
        even: makes the user's own filter "metadata parity is 0", in the form that the retriever's ``filters`` or
            ``filter`` takes; None if the store has no filters.
        recall: 1.0 for exact stores, otherwise the least recall@20 that is accepted.
        settings: for approximate stores, the settings at which ``recall`` holds.
        norm: vectors of any norm are stored, between 1 / norm and norm.
        nodes: whether a LlamaIndex store keeps only vectors, so that nodes must be given: ``"rows"`` (by row number),
            ``"ids"`` (by node id), or None.
        skips: behaviors (see ``BEHAVIOURS``) that are not run, and why.
        why_not: a reason why the whole kind cannot run here, or None.
    """

    name: str
    framework: str
    make: Callable[[Place, Sequence[Item]], Any]
    add: Callable[[Any, Sequence[Item]], None]
    packages: tuple[str, ...] = ()
    reopen: Callable[[Place], Any] | None = None
    delete: Callable[[Any, list[str]], None] | None = None
    even: Callable[[], Any] | None = None
    recall: float = 1.0
    settings: str = ""
    norm: float = 1.0
    nodes: str | None = None
    skips: Mapping[str, str] = field(default_factory=dict)
    why_not: Callable[[], str | None] = lambda: None

    @property
    def id(self) -> str:
        """The readable id of the kind."""
        return f"{self.framework}-{self.name}"
