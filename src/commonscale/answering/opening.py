"""From the folder of an index, and the name of a language model, to answers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from commonscale.answering.chat_model import ChatModelAnswerer
from commonscale.answering.limits import Limits
from commonscale.answering.naming import EXAMPLES
from commonscale.answering.retrieval import Encode
from commonscale.answering.types import Answerer
from commonscale.core.errors import InvalidInputError
from commonscale.core.fair_lock import FairLock
from commonscale.index import FaissIndex
from commonscale.index.opening import indexed_folder
from commonscale.index.searching import OpenedIndex
from commonscale.prompting.budget import Budget
from commonscale.prompting.builder import PromptBuilder
from commonscale.prompting.costs import rule_of
from commonscale.prompting.pictures import Pictures

LLM = "llm"
"""The note of an index that names the language model to ask if the user names none."""

DEMO = "demo"
"""The name of the small model of the demonstration, which needs no network and no key."""


def answerer_for(
    name: str | None,
    notes: Mapping[str, Any],
    *,
    base_url: str | None = None,
    limits: Limits | None = None,
    **settings: Any,
) -> Answerer:
    """Give the language model of a name, or of an index.

    Args:
        name: ``PROVIDER:MODEL``, or ``"demo"``; None takes what the index names.
        notes: of the index.
        base_url: as for ``ChatModelAnswerer.from_name``.
        limits: how long an answer may take.
        **settings: for the model, such as ``temperature``.

    Raises:
        InvalidInputError: if there is no name, with how to give one; or if it is of another form.
        AnswererError: if the model cannot be used.
    """
    # What an index names runs on this machine: a folder from elsewhere must not choose who is sent the documents.
    name = name or (DEMO if notes.get(LLM) == DEMO else None)
    if name is None:
        raise InvalidInputError(
            f"no language model is named; name one with --llm PROVIDER:MODEL (or the environment variable "
            f"COMMONSCALE_LLM), such as {EXAMPLES}; for a server of your own that speaks OpenAI's protocol: "
            f"--llm openai:MODEL --base-url http://localhost:8000/v1"
        )
    if name == DEMO:
        from commonscale.demo.answering import DrawnWorldAnswerer

        return DrawnWorldAnswerer()
    return ChatModelAnswerer.from_name(name, base_url=base_url, limits=limits, **settings)


def picture_rule(llm: str) -> str:
    """Give what to count pictures by for a language model: its name if it has a rule, else ``"flat"``."""
    return "flat" if rule_of(llm) is None else llm


def builder_for(
    opened: OpenedIndex, budget: Budget | None = None, folders: Iterable[str | os.PathLike[str]] = ()
) -> PromptBuilder:
    """Make the builder of prompts for an index: pictures are read from the folder that was indexed, and no other.

    Args:
        opened: the index.
        budget: how much may be sent.
        folders: others that pictures may be read from, for an index that records no folder or whose pictures have
            moved.
    """
    return PromptBuilder(budget, Pictures(readable_folders(opened.index, folders)))


def readable_folders(index: FaissIndex, folders: Iterable[str | os.PathLike[str]] = ()) -> list[str | os.PathLike[str]]:
    """List where pictures may be read from: the folder that was indexed, and others.

    Args:
        index: the index. If its folder is gone, there are no pictures there, but texts can still be answered from.
        folders: the others.
    """
    recorded = indexed_folder(index)
    return [*([recorded] if recorded is not None and recorded.is_dir() else []), *folders]


def one_at_a_time(encode: Encode) -> Encode:
    """Embed for one thread at a time, first come, first served: tokenizers of transformers do not bear two at once."""
    turn = FairLock()

    def locked(questions: Sequence[str]) -> NDArray[Any]:
        with turn:
            return encode(questions)

    return locked
