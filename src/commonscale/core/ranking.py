"""Merging modalities on the common scale, with quotas that balance them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from commonscale.core.errors import CommonscaleWarning, InvalidInputError
from commonscale.core.types import Modality
from commonscale.core.warn import warn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many hits of each modality a ranking must and may hold.

    Attributes:
        minimum: at least this many of a modality, as far as it has them, even if others score higher.
        maximum: at most this many of a modality, even if fewer than k hits come out.
    """

    minimum: Mapping[Modality, int] = field(default_factory=dict)
    maximum: Mapping[Modality, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, limits in (("minimum", self.minimum), ("maximum", self.maximum)):
            for modality, count in limits.items():
                if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                    raise InvalidInputError(f"{name}[{modality!r}] must be an integer >= 0, got {count!r}")
        for modality, least in self.minimum.items():
            most = self.maximum.get(modality)
            if most is not None and least > most:
                raise InvalidInputError(f"minimum[{modality!r}] is {least}, above its maximum of {most}")

    def __bool__(self) -> bool:
        return bool(self.minimum) or bool(self.maximum)

    def check(self, k: int, known: Iterable[Modality] | None = None) -> None:
        """Check the quotas against a number of hits and the modalities that exist.

        Args:
            k: how many hits will be asked for.
            known: the modalities there are; None if any label may come.

        Raises:
            InvalidInputError: if the minima add up to more than ``k``, or a modality does not exist.
        """
        total = sum(self.minimum.values())
        if total > k:
            raise InvalidInputError(
                f"the minima {dict(self.minimum)} add up to {total}, more than the {k} hits asked for"
            )
        if known is not None:
            labels = list(known)
            for modality in (*self.minimum, *self.maximum):
                if modality not in labels:
                    raise InvalidInputError(f"quota for unknown modality {modality!r}; there are {labels}")


def select(
    items: Sequence[T],
    k: int,
    quotas: Quotas,
    modality_of: Callable[[T], Modality],
    identity_of: Callable[[T], Hashable] | None = None,
) -> list[T]:
    """Choose up to ``k`` of ranked items under quotas, keeping their order.

    First every modality's minimum is filled with its best items, then the rest goes to the best items of any
    modality that is below its maximum. Among all choices that respect the quotas this one has the highest
    scores: its sorted scores are, place by place, at least those of any other choice.

    With ``identity_of``, items may stand for the same document in several modalities (a captioned picture), of
    which one is chosen: the best that the quotas leave room for. However many documents there are, none is
    chosen that is not among its modality's ``k`` best: of those above it, each was chosen itself or is a document
    chosen already, and these are fewer than ``k``.

    Args:
        items: best first.
        k: how many to choose at most.
        quotas: minimum and maximum per modality.
        modality_of: tells an item's modality.
        identity_of: tells which document an item is; by default every item is another one.

    Returns:
        The chosen items in the order of ``items``; fewer than ``k`` if items or maxima run out.
    """
    if not quotas and identity_of is None:
        return list(items[:k])
    modalities = [modality_of(item) for item in items]
    identities = list(range(len(items))) if identity_of is None else [identity_of(item) for item in items]
    counts: dict[Modality, int] = {}
    chosen: list[int] = []
    taken: set[Hashable] = set()

    def fill(limits: Mapping[Modality, int], otherwise: int) -> None:
        for place, modality in enumerate(modalities):
            if len(chosen) >= k:
                return
            count = counts.get(modality, 0)
            if count < limits.get(modality, otherwise) and identities[place] not in taken:
                counts[modality] = count + 1
                taken.add(identities[place])
                chosen.append(place)

    if quotas.minimum:
        fill(quotas.minimum, 0)
    fill(quotas.maximum, k)
    return [items[place] for place in sorted(chosen)]


def first_of_each(items: Iterable[T], key: Callable[[T], Hashable]) -> list[T]:
    """Keep the first item of every key: of a ranked list, the best.

    Args:
        items: best first.
        key: what identifies an item, such as its id.

    Returns:
        The items whose key did not occur before them.
    """
    seen: set[Hashable] = set()
    kept = []
    for item in items:
        identity = key(item)
        if identity not in seen:
            seen.add(identity)
            kept.append(item)
    return kept


def warn_of_shortages(quotas: Quotas, chosen: Iterable[Modality], retrieved: int, *, what: str, setting: str) -> None:
    """Warn of every minimum that could not be met by what was retrieved.

    Minima are filled first, and a document in two modalities fills only one, so what was chosen tells.

    Args:
        quotas: what was asked for.
        chosen: the modality of each chosen item.
        retrieved: how many there were to choose from; if none, nothing is said.
        what: what the framework calls them, such as ``"nodes"``.
        setting: the retriever's setting that brings more of them.
    """
    counts = Counter(chosen)
    for modality, least in quotas.minimum.items():
        if retrieved and counts[modality] < least:
            warn(
                f"minimum[{modality!r}] is {least}, but only {counts[modality]} of the {retrieved} {what} retrieved "
                f"are of this modality; retrieve more: raise the retriever's {setting}, or give minimum to the "
                f"retriever",
                CommonscaleWarning,
            )
