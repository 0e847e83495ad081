"""How an Embed model is asked, and what one request asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.base import Role

_SIDES = ("end", "start", "none")


@dataclass(frozen=True)
class EmbedSettings:
    """Keywords of ``load_encoder`` for Embed models, at Cohere and on Amazon Bedrock.

    Attributes:
        output_dimension: length of the vectors, for models that can give several; None is the model's default.
        truncate: what becomes of a text that is too long: its ``"end"`` or its ``"start"`` is cut off, or with
            ``"none"`` the text is refused.
        max_retries: how often a request is repeated after passing failures: no connection, no answer in time, 429,
            5xx. Pauses double from 1 s, so that the default outlasts a quota that is counted by the minute; if the
            service says Retry-After, that is waited instead.
        timeout: seconds for one answer.
        concurrency: requests at the same time.
        requests_per_minute: most requests in a minute, over all threads of this encoder; None sets no limit.
        inputs_per_minute: most texts and pictures in a minute, as Cohere's limits count them.
    """

    output_dimension: int | None = None
    truncate: str = "end"
    max_retries: int = 6
    timeout: float = 60.0
    concurrency: int = 4
    requests_per_minute: float | None = None
    inputs_per_minute: float | None = None

    def __post_init__(self) -> None:
        if self.truncate not in _SIDES:
            raise InvalidInputError(f"truncate must be one of {', '.join(_SIDES)}, got {self.truncate!r}")
        for name, least in (("max_retries", 0), ("concurrency", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidInputError(f"{name} must be a whole number of at least {least}, got {value!r}")
        for name in ("timeout", "requests_per_minute", "inputs_per_minute"):
            value = getattr(self, name)
            if value is None and name != "timeout":
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and 0 < value < math.inf):
                raise InvalidInputError(f"{name} must be a finite number greater than zero, got {value!r}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> EmbedSettings:
        """Pick these settings from the keywords of a family."""
        return cls(**{name: value for name, value in settings.items() if name in EMBED_SETTINGS})


EMBED_SETTINGS = tuple(item.name for item in fields(EmbedSettings))
"""Names of the settings, for the table of families."""


@dataclass(frozen=True)
class Inputs:
    """What one request embeds: texts, or pictures as data URIs.

    Attributes:
        role: what they are to a search.
        texts: texts.
        images: pictures.
    """

    role: Role
    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts) + len(self.images)
