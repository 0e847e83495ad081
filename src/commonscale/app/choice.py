"""What a user has chosen beside the question: how many documents, of which kinds, ranked how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commonscale.core.errors import InvalidInputError
from commonscale.core.ranking import Quotas
from commonscale.core.types import Modality

MOST_DOCUMENTS = 30
"""Most documents that the page ranks for a question."""

DOCUMENTS = 10
"""How many it ranks before anybody has chosen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How to rank.

    Attributes:
        k: how many documents.
        raw: whether to answer from the ranking by raw cosine.
        quotas: least and most of each modality.
    """

    k: int
    raw: bool
    quotas: Quotas


def choice_of(k: float, raw: bool, bounds: Sequence[float], modalities: Sequence[Modality]) -> Choice:
    """Read the controls of the page.

    Args:
        k: number of documents.
        raw: whether to answer from the ranking by raw cosine.
        bounds: least and most of each modality, in the order of ``modalities``; a most of ``MOST_DOCUMENTS`` is no
            limit.
        modalities: of the index.

    Returns:
        The choice.

    Raises:
        InvalidInputError: if the numbers contradict each other, or could not have been chosen on the page.
    """
    numbers = [k, *bounds]
    if not all(isinstance(number, (int, float)) and 0 <= number <= MOST_DOCUMENTS for number in numbers) or k < 1:
        raise InvalidInputError(f"numbers of documents must lie between 0 and {MOST_DOCUMENTS}, got {numbers}")
    least = {m: int(n) for m, n in zip(modalities, bounds[0::2], strict=True) if n}
    most = {m: int(n) for m, n in zip(modalities, bounds[1::2], strict=True) if n < MOST_DOCUMENTS}
    quotas = Quotas(least, most)
    quotas.check(int(k), modalities)
    return Choice(int(k), bool(raw), quotas)
