"""From ranked documents to a prompt that a multimodal language model reads well, whatever the framework."""

from commonscale.prompting.budget import Budget, TextCost
from commonscale.prompting.builder import PromptBuilder
from commonscale.prompting.citations import Citation, Citations, parse_citations
from commonscale.prompting.costs import PICTURE_RULES, PictureCost, count_text
from commonscale.prompting.instructions import (
    ANSWER_INSTRUCTIONS,
    CONDENSE_INSTRUCTIONS,
    condense_text,
    question_text,
    user_parts,
)
from commonscale.prompting.items import (
    LeftOut,
    Part,
    PicturePart,
    PreparedPicture,
    Prompt,
    PromptItem,
    Reason,
    SentItem,
    TextPart,
)
from commonscale.prompting.pictures import Pictures

__all__ = [
    "ANSWER_INSTRUCTIONS",
    "CONDENSE_INSTRUCTIONS",
    "PICTURE_RULES",
    "Budget",
    "Citation",
    "Citations",
    "LeftOut",
    "Part",
    "PictureCost",
    "PicturePart",
    "Pictures",
    "PreparedPicture",
    "Prompt",
    "PromptBuilder",
    "PromptItem",
    "Reason",
    "SentItem",
    "TextCost",
    "TextPart",
    "condense_text",
    "count_text",
    "parse_citations",
    "question_text",
    "user_parts",
]
