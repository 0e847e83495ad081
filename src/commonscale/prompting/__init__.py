"""From ranked documents to a prompt that a multimodal language model reads well, whatever the framework."""

from commonscale.prompting.budget import Budget
from commonscale.prompting.builder import PromptBuilder
from commonscale.prompting.citations import Citation, Citations, Mark, parse_citations, strip_citations, strip_unknown
from commonscale.prompting.costs import TextCost, count_text, rule_of
from commonscale.prompting.instructions import (
    ANSWER_INSTRUCTIONS,
    CHAT_INSTRUCTIONS,
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
from commonscale.prompting.picture_rules import PictureCost, PictureRule
from commonscale.prompting.picture_table import PICTURE_RULES
from commonscale.prompting.pictures import Pictures
from commonscale.prompting.untrusted import neutralize

__all__ = [
    "ANSWER_INSTRUCTIONS",
    "CHAT_INSTRUCTIONS",
    "CONDENSE_INSTRUCTIONS",
    "PICTURE_RULES",
    "Budget",
    "Citation",
    "Citations",
    "LeftOut",
    "Mark",
    "Part",
    "PictureCost",
    "PicturePart",
    "PictureRule",
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
    "neutralize",
    "parse_citations",
    "question_text",
    "rule_of",
    "strip_citations",
    "strip_unknown",
    "user_parts",
]
