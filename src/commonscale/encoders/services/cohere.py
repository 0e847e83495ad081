"""Cohere's Embed models through Cohere's own service and its official SDK."""

from __future__ import annotations

import inspect
import os
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

from commonscale.core.errors import EncoderUnavailableError, InvalidInputError
from commonscale.core.extras import require
from commonscale.core.passing import is_passing
from commonscale.encoders.request import LoadRequest
from commonscale.encoders.services.calls import Calls, Trouble, clipped, retry_after, trouble_of_status
from commonscale.encoders.services.cohere_embed import CohereEmbed
from commonscale.encoders.services.cohere_models import EmbedModel, cohere_model
from commonscale.encoders.services.cohere_settings import EmbedSettings, Inputs
from commonscale.encoders.services.pace import Pace

EXTRA = "cohere"
KEYS = ("CO_API_KEY", "COHERE_API_KEY")
"""Environment variables that are asked for the key, in this order."""

_SET_KEY = f"Set {KEYS[0]} in the environment, or pass api_key=, to a key from https://dashboard.cohere.com/api-keys"
_ADVICE = {
    401: f"{_SET_KEY}.",
    403: f"The key has no right to do this. {_SET_KEY}.",
    404: "Check the name of the model, and base_url if it is set.",
    429: "Set inputs_per_minute or requests_per_minute to what the key allows, lower concurrency, or try again later.",
}
_BILLED = ("input_tokens", "text_tokens", "image_tokens", "images")


class CohereEncoder(CohereEmbed):
    """An Embed model at Cohere, for example ``embed-v4.0``.

    Questions have the input type ``search_query``, passages ``search_document``; pictures have ``image`` with Embed 3,
    one a request, and are contents of type ``search_document`` with later models.
    """

    service: ClassVar[str] = "cohere"
    secret_settings: ClassVar[tuple[str, ...]] = ("api_key",)

    def __init__(
        self, model: EmbedModel, settings: EmbedSettings, request: LoadRequest, calls: Calls, client: Any
    ) -> None:
        super().__init__(model, settings, request, calls)
        self._client = client

    @staticmethod
    def _reload(request: LoadRequest) -> CohereEncoder:
        return load(request)

    def _send(self, inputs: Inputs) -> tuple[Any, Mapping[str, float]]:
        answer = self._client.embed(
            model=self.model.name,
            embedding_types=["float"],
            request_options={"max_retries": 0, "timeout_in_seconds": self.settings.timeout},
            **self._arguments(inputs),
        )
        units = getattr(getattr(answer, "meta", None), "billed_units", None)
        billed = {name: getattr(units, name, None) or 0 for name in _BILLED}
        rows = getattr(getattr(answer, "embeddings", None), "float_", None)
        return rows, {name: count for name, count in billed.items() if count}

    def _arguments(self, inputs: Inputs) -> dict[str, Any]:
        kind = "search_query" if inputs.role == "question" else "search_document"
        arguments: dict[str, Any] = {"input_type": kind}
        if inputs.texts:
            arguments |= {"texts": inputs.texts, "truncate": self.settings.truncate.upper()}
        elif self.model.mixed:
            contents = [{"type": "image_url", "image_url": {"url": uri}} for uri in inputs.images]
            arguments["inputs"] = [{"content": [content]} for content in contents]
        else:
            arguments |= {"input_type": "image", "images": inputs.images}
        if self.model.mixed:
            arguments["output_dimension"] = self.dimension
        if self._most_tokens is not None:
            arguments["max_tokens"] = self._most_tokens
        return arguments


def load(request: LoadRequest) -> CohereEncoder:
    """Make the encoder of one of Cohere's models.

    Settings, besides those of :class:`EmbedSettings`: ``api_key`` (None: from the environment, see ``KEYS``);
    ``base_url`` of another server (None: ``CO_API_URL`` in the environment, else Cohere's); ``client``, a
    ``cohere.ClientV2`` made by the caller, in place of these two.

    Raises:
        MissingExtraError: if cohere is not installed.
        InvalidInputError: if a setting cannot be used.
        EncoderUnavailableError: if there is no key.
    """
    request.refuse("device", "dtype", "revision", "local_files_only")
    given = dict(request.settings)
    settings = EmbedSettings.of(given)
    model = cohere_model(request.name, settings.output_dimension)
    sdk = require("cohere", EXTRA)
    require("tenacity", EXTRA)
    key, client = given.get("api_key"), given.get("client")
    if client is None:
        key = _checked_key(key or next(filter(None, map(os.environ.get, KEYS)), None))
        base_url = given.get("base_url") or os.environ.get("CO_API_URL")
        client = sdk.ClientV2(key, base_url=base_url, timeout=settings.timeout, log_warning_experimental_features=False)
    else:
        _check_client(client, sdk, given)
    calls = Calls(
        "Cohere",
        _explanation(settings),
        EXTRA,
        settings.max_retries,
        Pace(settings.requests_per_minute, settings.inputs_per_minute),
        secrets=(key,) if key else (),
    )
    encoder = CohereEncoder(model, settings, request, calls, client)
    if given.get("client") is None:
        weakref.finalize(encoder, client.__exit__, None, None, None)  # The SDK has no other way to close connections.
    return encoder


def _checked_key(key: object) -> str:
    """Return a key that can be sent; no message repeats it."""
    if key is None:
        raise EncoderUnavailableError(f"Cohere cannot be used: there is no API key. {_SET_KEY}.")
    if not isinstance(key, str):
        raise InvalidInputError(f"api_key must be a string, got {type(key).__name__}")
    key = key.strip()  # files of keys end in a newline
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInputError(f"The API key is empty, or has characters that no key has. {_SET_KEY}.")
    return key


def _check_client(client: Any, sdk: Any, given: Mapping[str, Any]) -> None:
    if given.get("api_key") is not None or given.get("base_url") is not None:
        raise InvalidInputError("Give either client, which has its own key and address, or api_key and base_url")
    embed = getattr(client, "embed", None)
    old = isinstance(client, sdk.Client) and not isinstance(client, sdk.ClientV2)
    if not callable(embed) or inspect.iscoroutinefunction(embed) or old:
        raise InvalidInputError(f"client must be a cohere.ClientV2, got {type(client).__name__}")


def _explanation(settings: EmbedSettings) -> Any:
    def explain(error: Exception) -> Trouble | None:
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            body = getattr(error, "body", None)
            words = body.get("message", body) if isinstance(body, Mapping) else body or ""
            return trouble_of_status(
                status, str(words), _ADVICE.get(status, ""), retry_after(getattr(error, "headers", None))
            )
        if is_passing(error):
            return Trouble(
                "passing",
                clipped(f"{type(error).__name__}: {error}"),
                f"Check the connection, or raise timeout (now {settings.timeout:g} s).",
            )
        if type(error).__module__.partition(".")[0] == "httpx":
            return Trouble("unavailable", clipped(f"{type(error).__name__}: {error}"), "Check base_url.")
        return None

    return explain
