"""What the words of a question must be, whoever is asked it."""

from __future__ import annotations

from commonscale.core.errors import InvalidInputError


def check_wording(question: str) -> str:
    """Give a question back if its words can be sent to a model.

    Raises:
        InvalidInputError: if it holds half of a surrogate pair, which has no encoding: a character cut in two, or a
            byte of another encoding, as Python reads it from a command line.
    """
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"the question {question!r:.200} is no valid Unicode (half of a surrogate pair at character "
            f"{error.start}), and cannot be sent; decode it with the right encoding, or with errors='replace'"
        ) from error
    return question
