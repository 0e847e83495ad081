"""Cohere's Embed models on Amazon Bedrock, through boto3."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from commonscale.core.errors import EncoderError, EncoderUnavailableError, InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.request import LoadRequest
from commonscale.encoders.services.calls import Calls, Trouble, clipped, retry_after, trouble_of_status
from commonscale.encoders.services.cohere_embed import CohereEmbed
from commonscale.encoders.services.cohere_models import EmbedModel, bedrock_model
from commonscale.encoders.services.cohere_settings import EmbedSettings, Inputs
from commonscale.encoders.services.pace import Pace

EXTRA = "bedrock"
# Embed 4 on Bedrock has names of its own for the sides.
_SIDES = {"end": "RIGHT", "start": "LEFT", "none": "NONE"}
_TOKENS = "x-amzn-bedrock-input-token-count"
_CREDENTIALS = (
    "Give credentials as boto3 reads them: environment variables, ~/.aws, profile=, or the role of the machine"
)
_ADVICE = {
    401: f"{_CREDENTIALS}.",
    403: f"{_CREDENTIALS}; they need the right to bedrock:InvokeModel, and access to the model in this region.",
    404: "Check the id of the model, and whether the region has it.",
    429: "Set requests_per_minute to what the account allows, lower concurrency, or try again later.",
}
_PROFILE = "Embed 4 is called by the id of an inference profile, such as 'us.cohere.embed-v4:0'."


class BedrockEncoder(CohereEmbed):
    """An Embed model on Amazon Bedrock, for example ``cohere.embed-english-v3``.

    Questions have the input type ``search_query``, passages ``search_document``; pictures have ``image`` with Embed 3,
    one a request, and ``search_document`` with Embed 4, as ``images``: what Amazon's guide says of ``inputs`` differs
    between its versions.
    """

    service: ClassVar[str] = "bedrock"

    def __init__(
        self, model: EmbedModel, settings: EmbedSettings, request: LoadRequest, calls: Calls, client: Any
    ) -> None:
        super().__init__(model, settings, request, calls)
        self._client = client
        self._model_id = request.name

    @staticmethod
    def _reload(request: LoadRequest) -> BedrockEncoder:
        return load(request)

    def _send(self, inputs: Inputs) -> tuple[Any, Mapping[str, float]]:
        answer = self._client.invoke_model(
            modelId=self._model_id,
            body=json.dumps(self._body(inputs)),
            contentType="application/json",
            accept="application/json",
        )
        content = answer["body"].read()
        try:
            found = json.loads(content)
        except ValueError as error:
            raise EncoderError(f"{self.calls.service} gave an answer that is no JSON: {clipped(content)}") from error
        rows = found.get("embeddings") if isinstance(found, dict) else None
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        tokens = str(headers.get(_TOKENS, ""))
        billed = {"input_tokens": int(tokens)} if tokens.isdecimal() else {}
        # By type where types were asked for; a list of vectors is the older form.
        return rows.get("float") if isinstance(rows, dict) else rows, billed

    def _body(self, inputs: Inputs) -> dict[str, Any]:
        kind = "search_query" if inputs.role == "question" else "search_document"
        body: dict[str, Any] = {"input_type": kind, "embedding_types": ["float"]}
        side = self.settings.truncate
        if inputs.texts:
            body |= {"texts": inputs.texts, "truncate": _SIDES[side] if self.model.mixed else side.upper()}
        else:
            body["images"] = inputs.images
        if self.model.mixed:
            body["output_dimension"] = self.dimension
        elif inputs.images:
            body["input_type"] = "image"
        if self._most_tokens is not None:
            body["max_tokens"] = self._most_tokens
        return body


def load(request: LoadRequest) -> BedrockEncoder:
    """Make the encoder of one of the models on Amazon Bedrock.

    Settings, besides those of :class:`EmbedSettings`: ``region`` (None: as boto3 finds it, or ``AWS_REGION``) and
    ``profile`` (None: as boto3 finds it); ``base_url`` of another endpoint; ``client``, boto3's client of
    ``bedrock-runtime`` made by the caller, in place of these three (it keeps its own retries and timeouts; ours come on
    top); ``model``, an id such as ``"cohere.embed-v4:0"``, needed if the name is an ARN that does not end in one.

    Raises:
        MissingExtraError: if boto3 is not installed.
        InvalidInputError: if a setting cannot be used, or the name names no model.
        EncoderUnavailableError: if boto3 finds no region, or not the profile.
    """
    request.refuse("device", "dtype", "revision", "local_files_only")
    given = dict(request.settings)
    settings = EmbedSettings.of(given)
    model = bedrock_model(given.get("model") or request.name)
    require("boto3", EXTRA)
    require("tenacity", EXTRA)
    client = given.get("client")
    if client is None:
        client = _client(given, settings)
    elif any(given.get(name) is not None for name in ("region", "profile", "base_url")):
        raise InvalidInputError(
            "Give either client, which has its own region and address, or region, profile, base_url"
        )
    elif not callable(getattr(client, "invoke_model", None)):
        raise InvalidInputError(f"client must be boto3's client of 'bedrock-runtime', got {type(client).__name__}")
    calls = Calls(
        "Amazon Bedrock",
        _explanation(settings),
        EXTRA,
        settings.max_retries,
        Pace(settings.requests_per_minute, settings.inputs_per_minute),
    )
    return BedrockEncoder(model, settings, request, calls, client)


def _client(given: Mapping[str, Any], settings: EmbedSettings) -> Any:
    errors = require("botocore.exceptions", EXTRA)
    config = require("botocore.config", EXTRA).Config(
        connect_timeout=settings.timeout,
        read_timeout=settings.timeout,
        max_pool_connections=max(10, settings.concurrency),
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    # boto3 alone among Amazon's SDKs does not read AWS_REGION.
    region = given.get("region") or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    try:
        session = require("boto3", EXTRA).Session(profile_name=given.get("profile"), region_name=region)
        return session.client("bedrock-runtime", endpoint_url=given.get("base_url"), config=config)
    except errors.BotoCoreError as error:
        raise EncoderUnavailableError(
            f"Amazon Bedrock cannot be used: {error} Pass region= and profile=, or set AWS_REGION and AWS_PROFILE."
        ) from error


def _explanation(settings: EmbedSettings) -> Any:
    errors = require("botocore.exceptions", EXTRA)
    # These say something against the machine's settings; the other ones of HTTP are of the connection.
    lasting = (errors.SSLError, errors.ProxyConnectionError)
    connection = (errors.HTTPClientError, errors.ConnectionError, errors.ResponseStreamingError)

    def explain(error: Exception) -> Trouble | None:
        words = clipped(f"{type(error).__name__}: {error}")
        if isinstance(error, errors.ClientError):
            return _of_answer(error.response)
        if isinstance(error, lasting):
            return Trouble("unavailable", words, "Check proxies, certificates and base_url.")
        if isinstance(error, (*connection, errors.IncompleteReadError)):
            return Trouble(
                "passing", words, f"Check the connection and the region, or raise timeout (now {settings.timeout:g} s)."
            )
        if isinstance(error, errors.ParamValidationError):
            return Trouble("unavailable", words, "Check the id of the model.")
        if isinstance(error, errors.BotoCoreError):
            return Trouble("unavailable", words, f"{_CREDENTIALS}.")
        return None

    return explain


def _of_answer(response: Mapping[str, Any]) -> Trouble:
    said = response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    words = f"{code}: {message}"
    original = response.get("originalStatusCode")  # of a ModelErrorException: what the model itself said
    if isinstance(original, int) and 400 <= original < 500:
        status = original
    if code == "ServiceQuotaExceededException":
        return Trouble("unavailable", words, "Ask for more in the console of Service Quotas, or try again later.")
    advice = _PROFILE if status == 400 and "inference profile" in message else _ADVICE.get(status, "")
    headers = metadata.get("HTTPHeaders") or {}
    milliseconds = str(headers.get("x-amz-retry-after", ""))
    wait = int(milliseconds) / 1000 if milliseconds.isdecimal() else retry_after(headers)
    return trouble_of_status(status, words, advice, wait)
