"""What the adapters record in the metadata of every hit, and how a later step knows whose record it is."""

from __future__ import annotations

from hashlib import sha256

SCORE_KEY = "commonscale_score"
"""Metadata key, in either framework, of a hit's place on the common scale."""

COSINE_KEY = "commonscale_cosine"
"""Metadata key of a hit's true cosine with the question, or of the score that stands in its place (BM25)."""

MODALITY_KEY = "commonscale_modality"
"""Metadata key of the modality that a hit was found in."""

QUESTION_KEY = "commonscale_question"
"""Metadata key of the mark of the question that the cosine belongs to; see ``question_mark``."""

MISSING_KEY = "commonscale_missing"
"""Metadata key, only where a modality is missing from the ranking because its store failed: why, by modality."""


def question_mark(question: str) -> str:
    """Give what tells this question from others: 64 bits of a hash of its words, in hexadecimal."""
    return sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]
