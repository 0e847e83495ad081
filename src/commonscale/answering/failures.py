"""What a failed call to a language model means, in a sentence that its user can read and that holds no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from commonscale.answering.redaction import hidden
from commonscale.core.errors import AnswererError, CommonscaleError

_LONGEST = 300  # signs of a provider's own words
_TOO_LONG = re.compile(
    r"context[_ ](length|window|size)|maximum context|prompt is too long|too many (input )?tokens|"
    r"input token count|request_too_large|reduce the length",
    re.IGNORECASE,
)
_EMPTY = re.compile(r"no generation chunks", re.IGNORECASE)  # LangChain, of a web page where answers were awaited
_SPENT = re.compile(r"quota|billing|credit|balance", re.IGNORECASE)
_BAD_KEY = re.compile(r"api[_ ]?key (is )?(not valid|invalid|expired)|(invalid|incorrect) api[_ ]?key", re.IGNORECASE)
_KEYLESS = re.compile(r"api[_ ]?key|credentials|authentication method", re.IGNORECASE)
# By the names of classes, along the chain of causes: the packages that they come from need not be installed.
_LATE = ("TimeoutError", "TimeoutException", "APITimeoutError", "ReadTimeoutError", "ConnectTimeoutError", "Timeout")
_UNREACHED = ("APIConnectionError", "ConnectError", "ConnectionError", "gaierror", "EndpointConnectionError")
_BROKEN = ("RemoteProtocolError", "ReadError", "ClientPayloadError", "ChunkedEncodingError", "IncompleteRead")


@dataclass(frozen=True)
class Failures:
    """Explains failures of one model.

    Attributes:
        name: what the model is called.
        key: the environment variable of its API key, if known.
        address: where it was sought, if the user chose that.
        secrets: what must not get into a message.
    """

    name: str
    key: str | None = None
    address: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __call__(self, error: Exception, begun: bool = False) -> AnswererError:
        """Make the error that is shown.

        Args:
            error: what the client raised.
            begun: whether a part of the answer had come.
        """
        if isinstance(error, AnswererError):
            return error
        if isinstance(error, CommonscaleError):
            return AnswererError(str(error))
        chain = list(_chain(error))
        # Hidden before it is clipped: of a secret cut in two the first half would stay.
        words = _clipped(hidden(_words(chain), self.secrets))
        return AnswererError(hidden(self._sentence(chain, words, begun), self.secrets))

    def _sentence(self, chain: list[Exception], words: str, begun: bool) -> str:
        status = next(filter(None, map(_status, chain)), None)
        names = {cls.__name__ for error in chain for cls in type(error).__mro__}
        # Bedrock says "Too many tokens, please wait" of too many requests.
        if "ContextOverflowError" in names or (status != 429 and _TOO_LONG.search(words)):
            return (
                f"the question with its documents is too long for {self.name}: {words}; send less: fewer documents or "
                f"pictures, or a budget of tokens"
            )
        if status is not None:
            return self._of_status(status, words)
        if names.intersection(_LATE):
            return f"{self.name} did not answer in time; ask again later"
        if names.intersection(_BROKEN):
            return f"the connection to {self.name} broke off before the answer was whole; ask again"
        if names.intersection(_UNREACHED):
            where = f" at {self.address}" if self.address else ""
            return f"{self.name} cannot be reached{where} ({words}); check the network, and that it is running"
        if _EMPTY.search(words):
            where = f" at {self.address}" if self.address else ""
            return f"{self.name}{where} gave an empty answer; ask again, or check the base URL"
        if not begun and _KEYLESS.search(words):
            return f"{self.name} cannot be asked without an API key; {self._advice}"
        return f"{self.name} {'broke off' if begun else 'failed'}: {type(chain[0]).__name__}: {words}"

    def _of_status(self, status: int, words: str) -> str:
        said = f"HTTP {status}: {words}" if words else f"HTTP {status}"
        if status == 401 or (status == 400 and _BAD_KEY.search(words)):  # Google and xAI say 400
            return f"{self.name} refuses the API key (HTTP {status}); {self._advice}"
        if status in (402, 429) and _SPENT.search(words):
            return f"{self.name} has no quota left for this API key ({said})"
        if status == 403:
            return f"{self.name} refuses access ({said}); {self._advice}"
        if status == 404:
            where = f" at {self.address}" if self.address else ""
            return f"{self.name} is not known{where} ({said}); check the name of the model, and the base URL"
        if status in (408, 504):
            return f"{self.name} did not answer in time (HTTP {status}); ask again later"
        if status == 429:
            return f"{self.name} is asked too often at the moment ({said}); wait a little and ask again"
        if status == 413:
            return f"the question with its documents is too large for {self.name} ({said}); send less"
        if status >= 500:
            return f"{self.name} has a problem of its own ({said}); ask again later"
        return f"{self.name} does not take what was sent ({said})"

    @property
    def _advice(self) -> str:
        return f"set the environment variable {self.key} to a valid one" if self.key else "give it a valid one"


def _chain(error: BaseException | None) -> Iterator[Exception]:
    """Give an exception and what it was caused by, outermost first."""
    seen: set[int] = set()
    while isinstance(error, Exception) and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        found: Any = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return found if isinstance(found, int) else None
    for holder, name in ((error, "status_code"), (response, "status_code"), (error, "code")):
        value = getattr(holder, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    return None


def _words(chain: list[Exception]) -> str:
    """Give what was said of it: the provider's own words if there are any."""
    for error in chain:
        said = _message(getattr(error, "body", None)) or _message(getattr(error, "details", None))
        if said:
            return said
    # "Connection error." says nothing; what caused it does.
    said = next((str(error) for error in reversed(chain) if str(error).strip()), type(chain[0]).__name__)
    return _validation(chain[0]) or (str(chain[0]) if _status(chain[0]) else said)


def _message(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    inner = body.get("error")
    for holder in (inner, body):
        if isinstance(holder, dict) and isinstance(holder.get("message"), str):
            return str(holder["message"])
    return inner if isinstance(inner, str) else ""


def _validation(error: Exception) -> str:
    """Give the messages of pydantic's ValidationError without the input that it repeats, which may hold a key."""
    errors = getattr(error, "errors", None)
    if type(error).__name__ != "ValidationError" or not callable(errors):
        return ""
    return "; ".join(str(entry.get("msg", "")) for entry in errors(include_input=False, include_url=False))


def _clipped(words: str) -> str:
    """Give words on one line, and not too many."""
    line = " ".join(words.split())
    if line.lower().startswith(("<!doctype", "<html")):
        return "a web page came back"
    return (line if len(line) <= _LONGEST else f"{line[:_LONGEST]}...").rstrip(".;")
