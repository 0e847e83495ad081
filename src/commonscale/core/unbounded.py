"""Sources that give scores of another kind than cosines, or that search by words: how to tell, and what they bar."""

from __future__ import annotations

from collections.abc import Mapping

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality, Question


def words_of(question: Question, retriever: object) -> str:
    """Give a question's wording, for retrievers that search by words.

    Raises:
        InvalidInputError: if it has none.
    """
    if not question.text.strip():
        raise InvalidInputError(
            f"the question {question.text!r} has no words, which {type(retriever).__name__} searches by; ask in words"
        )
    return question.text


def is_unbounded(source: object) -> bool:
    """Tell whether a source gives scores of another kind in place of cosines."""
    return bool(getattr(source, "unbounded", False))


def is_by_text(source: object) -> bool:
    """Tell whether a source searches by the question's words, so that it needs no vector."""
    return bool(getattr(source, "by_text", False))


def refuse_mixed_raw(sources: Mapping[Modality, object]) -> None:
    """Refuse to rank numbers of different kinds as they are.

    Raises:
        InvalidInputError: if scores of one source would be compared with cosines, or scores of another kind.
    """
    kinds = {m: getattr(s, "score_kind", "scores") if is_unbounded(s) else "cosines" for m, s in sources.items()}
    if len(set(map(str, kinds.values()))) > 1:
        listed = ", ".join(f"{modality!r} gives {kind}" for modality, kind in kinds.items())
        raise InvalidInputError(
            f"raw=True would rank numbers that cannot be compared: {listed}; calibrate and search without raw, or "
            f"search one modality alone"
        )
