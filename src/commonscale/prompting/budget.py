"""How much may be sent: items, pictures, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from commonscale.core.errors import InvalidInputError
from commonscale.core.ranking import Quotas
from commonscale.core.types import Modality
from commonscale.prompting.costs import TextCost, count_text, picture_cost, text_cost
from commonscale.prompting.picture_rules import PictureCost


@dataclass(frozen=True)
class Budget:
    """What a prompt may hold of ranked documents.

    Attributes:
        items: how many documents in all; None for no limit.
        minimum: at least this many of a modality, even if others are ranked higher, as far as there are any and the
            tokens allow it.
        maximum: at most this many of a modality.
        images: at most this many pictures, whatever modality their documents were found in; None for no limit.
        tokens: at most this many tokens of documents; None for no limit. Leave room for the question, the instructions
            and the answer.
        item_tokens: a passage that has more tokens than this is cut between words; None cuts none. Label and picture
            come on top.
        image_tokens: what a picture costs: the name of a model or rule in ``commonscale.prompting.PICTURE_RULES``, a
            number of tokens, or a function of width and height in pixels.
        text_tokens: a function from a text to its tokens, as a number or as a list; by default an estimate.
    """

    items: int | None = None
    minimum: Mapping[Modality, int] = field(default_factory=dict)
    maximum: Mapping[Modality, int] = field(default_factory=dict)
    images: int | None = None
    tokens: int | None = None
    image_tokens: str | int | PictureCost = "flat"
    text_tokens: TextCost = count_text
    item_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("items", "images", "tokens", "item_tokens"):
            value = getattr(self, name)
            least = 0 if name == "images" else 1
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise InvalidInputError(f"{name} must be an integer >= {least}, or None for no limit, got {value!r}")
        for name in ("minimum", "maximum"):  # what the caller does to its dict afterwards changes nothing here
            object.__setattr__(self, name, dict(getattr(self, name)))
        quotas = self.quotas
        if self.items is not None:
            quotas.check(self.items)
        picture_cost(self.image_tokens)  # a wrong name or function is told here and not at the first question
        text_cost(self.text_tokens)

    @property
    def quotas(self) -> Quotas:
        """Minimum and maximum by modality."""
        return Quotas(self.minimum, self.maximum)
