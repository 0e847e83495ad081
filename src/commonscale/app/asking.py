"""One question of one user: ranked, sent, answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from commonscale.answering import Event, QuestionAnswering, Turn
from commonscale.app.choice import Choice
from commonscale.app.session import Ranked
from commonscale.core.errors import AnswererError


def ask(
    answering: QuestionAnswering, question: str, history: Sequence[Turn], choice: Choice
) -> Iterator[Ranked | Event]:
    """Rank documents both ways, then answer from one of the rankings.

    Args:
        answering: the way from question to answer.
        question: as the user asked it.
        history: earlier turns.
        choice: how to rank.

    Yields:
        ``Ranked``, then the events of ``QuestionAnswering.stream``. If the language model cannot even word the question
        so that it stands for itself, documents are found for the question as it is before that is raised.

    Raises:
        CommonscaleError: if the search or the language model fails.
    """
    searched, failure = question, None
    try:
        searched = answering.standalone(question, history)
    except AnswererError as error:
        failure = error
    found = answering.rankings(searched, k=choice.k, quotas=choice.quotas)
    yield Ranked(searched, found)
    if failure is not None:
        raise failure
    ranking = found.raw if choice.raw or found.standardized is None else found.standardized
    yield from answering.stream(question, history, ranking=ranking)
