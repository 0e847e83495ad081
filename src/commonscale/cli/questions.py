"""Files of questions."""

from __future__ import annotations

import json
from pathlib import Path

from commonscale.core.errors import FileFormatError, InvalidInputError


def read_questions(path: Path) -> list[str]:
    """Read questions: one per line, or from a ``.jsonl`` file the field ``"question"`` of each line.

    UTF-8, with or without a byte order mark. Blank lines are skipped; questions that come twice are kept, as a
    question that is asked often counts often.

    Args:
        path: the file.

    Returns:
        The questions, at least one.

    Raises:
        FileNotFoundError: if there is no such file.
        FileFormatError: if it is not UTF-8, or a line of JSON is not as needed; names the line.
        InvalidInputError: if it holds no question.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: not UTF-8: {error.reason} at byte {error.start}; convert it") from error
    # Not splitlines(): that would also cut at signs that may stand within a question, such as U+2028.
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    filled = [(number, line) for number, line in lines if line]
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        questions = [_from_json(line, f"{path}: line {number}") for number, line in filled]
    else:
        questions = [line for _, line in filled]
    if not questions:
        raise InvalidInputError(f"{path}: holds no question; write one per line")
    return questions


def _from_json(line: str, where: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{where} is no JSON ({error}); a .jsonl file has one object per line") from error
    question = entry.get("question") if isinstance(entry, dict) else None
    if not isinstance(question, str) or not question.strip():
        raise FileFormatError(f'{where} needs a field "question" with the question\'s text, got {line[:80]!r}')
    return question.strip()
