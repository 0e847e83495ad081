"""What moves when the same documents are ranked another way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commonscale.core.types import Ranking


@dataclass(frozen=True, slots=True)
class Move:
    """Where a document stands in another ranking.

    Attributes:
        places: how many places higher it stands here than there; negative if it stands lower, 0 if it has stayed,
            None if it is not there at all.
    """

    places: int | None

    @property
    def direction(self) -> str:
        """One word for style sheets: ``"new"``, ``"up"``, ``"down"`` or ``"same"``."""
        if self.places is None:
            return "new"
        return "up" if self.places > 0 else "down" if self.places < 0 else "same"

    @property
    def words(self) -> str:
        """What it means, for people who do not see arrows."""
        if self.places is None:
            return "only in this ranking"
        if not self.places:
            return "at the same place in both rankings"
        count = abs(self.places)
        return f"{count} place{'s' * (count != 1)} {'higher' if self.places > 0 else 'lower'} than in the other ranking"


def moves(here: Ranking, there: Ranking) -> Mapping[str, Move]:
    """Compare two rankings.

    Args:
        here: the ranking whose documents are told of.
        there: the other one.

    Returns:
        By document id, how it stands here against there.
    """
    other = {hit.id: place for place, hit in enumerate(there)}
    return {hit.id: Move(other[hit.id] - place if hit.id in other else None) for place, hit in enumerate(here)}
