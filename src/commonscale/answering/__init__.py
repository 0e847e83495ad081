"""Answers to questions from texts and pictures, with citations, over any index and any language model."""

from commonscale.answering.types import Answer, Answerer, Request, Turn

__all__ = ["Answer", "Answerer", "Request", "Turn"]
