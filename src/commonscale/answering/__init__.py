"""Answers to questions from texts and pictures, with citations, over any index and any language model."""

from commonscale.answering.events import Event, Finished, Found, Piece, Rankings
from commonscale.answering.items import index_item
from commonscale.answering.pipeline import QuestionAnswering
from commonscale.answering.types import Answer, Answerer, AsyncAnswerer, Condenser, Request, Turn

__all__ = [
    "Answer",
    "Answerer",
    "AsyncAnswerer",
    "Condenser",
    "Event",
    "Finished",
    "Found",
    "Piece",
    "QuestionAnswering",
    "Rankings",
    "Request",
    "Turn",
    "index_item",
]
