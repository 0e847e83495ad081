"""What a self-check found, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from commonscale.core.types import Modality

NO_HITS = "the search found no document"
"""Why a store that may be filled later could not be checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a self-check found.

    Attributes:
        name: ``"inverted"``, ``"squared"``, ``"other kind"``, ``"unnormalized"``, ``"per query"``,
            ``"other function"``, ``"unrelated"``, ``"out of range"``, ``"reordered"``, ``"dimension"``,
            ``"compressed"``, ``"approximate"``, ``"norms"`` or ``"null vector"``.
        words: what it is and what to do.
        error: whether it would silently ruin rankings; if not, it is a note.
    """

    name: str
    words: str
    error: bool

    def __str__(self) -> str:
        return f"{'error' if self.error else 'note'} ({self.name}): {self.words}"


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What the self-check of one modality's store found.

    Attributes:
        modality: the modality.
        kind: what the store's numbers are taken for; None if they are not used.
        questions: how many questions the store was asked.
        pairs: how many pairs of question and document were compared with numpy's cosine.
        largest_difference: the largest difference between the cosine in use and numpy's; None if none was compared.
            0 where cosines are computed from the vectors.
        norms: least and greatest norm of the stored vectors seen.
        recall: share of the closest documents, among those seen in any answer, that each answer had; a cheap lower
            bound on how much is missed, not a measurement of the store.
        findings: what was found.
        unchecked: why nothing, or not all, could be checked; None if all was.
    """

    modality: Modality
    kind: str | None = None
    questions: int = 0
    pairs: int = 0
    largest_difference: float | None = None
    norms: tuple[float, float] | None = None
    recall: float | None = None
    findings: tuple[Finding, ...] = ()
    unchecked: str | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that would silently ruin rankings."""
        return tuple(finding for finding in self.findings if finding.error)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """The other findings."""
        return tuple(finding for finding in self.findings if not finding.error)

    @property
    def ok(self) -> bool:
        """Whether no error was found; also true if nothing could be checked (see ``unchecked``)."""
        return not self.errors

    def __str__(self) -> str:
        verdict = "WRONG" if not self.ok else "not checked" if not self.pairs else "as it should be"
        lines = [f"{self.modality}: {verdict}{self._numbers()}"]
        lines += [f"  {finding}" for finding in self.findings]
        if self.unchecked is not None:
            lines.append(f"  {'not all checked' if self.pairs else 'cannot be checked'}: {self.unchecked}")
        return "\n".join(lines)

    def _numbers(self) -> str:
        parts = []
        if self.pairs:
            parts.append(f"{self.pairs} pairs from {self.questions} questions")
        if self.largest_difference is not None:
            read = "cosines computed from the vectors" if self.kind is None else f"numbers read as {self.kind!r}"
            parts.append(f"{read}, largest difference from numpy's cosine {self.largest_difference:.2g}")
        if self.norms is not None:
            parts.append(f"norms {self.norms[0]:.4g} to {self.norms[1]:.4g}")
        if self.recall is not None:
            parts.append(f"consistency recall {self.recall:.3f}")
        return " (" + "; ".join(parts) + ")" if parts else ""


@dataclass(frozen=True, slots=True)
class Verification(Mapping[Modality, StoreCheck]):
    """The self-checks of all modalities; a mapping from modality to ``StoreCheck``, and in words as a string.

    Attributes:
        checks: one per modality.
    """

    checks: tuple[StoreCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether no store was found in error, and none was empty, of which nothing is known."""
        return all(check.ok and check.unchecked != NO_HITS for check in self.checks)

    def __getitem__(self, modality: Modality) -> StoreCheck:
        for check in self.checks:
            if check.modality == modality:
                return check
        raise KeyError(modality)

    def __iter__(self) -> Iterator[Modality]:
        return iter([check.modality for check in self.checks])

    def __len__(self) -> int:
        return len(self.checks)

    def __str__(self) -> str:
        return "\n".join(str(check) for check in self.checks)
