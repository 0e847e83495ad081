"""Answers to questions from texts and pictures, with citations, over any index and any language model."""

from commonscale.answering.chat_model import ChatModelAnswerer
from commonscale.answering.events import Event, Finished, Found, Piece, Rankings
from commonscale.answering.items import index_item
from commonscale.answering.limits import Limits
from commonscale.answering.llama_index import LlamaIndexAnswerer
from commonscale.answering.opening import answerer_for
from commonscale.answering.pipeline import QuestionAnswering
from commonscale.answering.types import Answer, Answerer, AsyncAnswerer, Condenser, Request, Turn

__all__ = [
    "Answer",
    "Answerer",
    "AsyncAnswerer",
    "ChatModelAnswerer",
    "Condenser",
    "Event",
    "Finished",
    "Found",
    "Limits",
    "LlamaIndexAnswerer",
    "Piece",
    "QuestionAnswering",
    "Rankings",
    "Request",
    "Turn",
    "answerer_for",
    "index_item",
]
