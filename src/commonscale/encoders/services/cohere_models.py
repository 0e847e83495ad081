"""Cohere's Embed models and what one request for them may hold, at Cohere and on Amazon Bedrock.

Sources, read in November 2026: docs.cohere.com (cohere-embed, multimodal-embeddings, changelog/embed-v5), the
docstrings of the cohere SDK 7.3, and "Cohere Embed v3" and "Cohere Embed v4" in the Amazon Bedrock user guide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from commonscale.core.errors import InvalidInputError


@dataclass(frozen=True)
class EmbedModel:
    """One of the models.

    Attributes:
        name: what Cohere calls it.
        dimensions: the lengths of vectors it can give, the default first.
        tokens: the longest text it reads, in its own tokens, which cannot be counted here.
        mixed: texts and pictures are contents of one kind of request (Embed 4 and later); Embed 3 has the input type
            ``image`` instead, and one length of vectors.
        bedrock: what Amazon Bedrock calls it; empty if it is not there.
    """

    name: str
    dimensions: tuple[int, ...]
    tokens: int
    mixed: bool
    bedrock: str = ""


@dataclass(frozen=True)
class Limits:
    """What one request may hold.

    Attributes:
        images: pictures.
        image_bytes: size of the file of one picture, before it is written in base64.
        formats: formats of picture files that are taken, as Pillow calls them.
        request_bytes: length of all pictures together, in base64.
        texts: texts.
        characters: length of one text; None if only the model's tokens count.
    """

    images: int
    image_bytes: int
    formats: tuple[str, ...]
    request_bytes: int
    texts: int = 96
    characters: int | None = None


MODELS: tuple[EmbedModel, ...] = (
    EmbedModel("embed-english-v3.0", (1024,), 512, False, "cohere.embed-english-v3"),
    EmbedModel("embed-english-light-v3.0", (384,), 512, False),
    EmbedModel("embed-multilingual-v3.0", (1024,), 512, False, "cohere.embed-multilingual-v3"),
    EmbedModel("embed-multilingual-light-v3.0", (384,), 512, False),
    EmbedModel("embed-v4.0", (1536, 1024, 512, 256), 128_000, True, "cohere.embed-v4:0"),
    EmbedModel("embed-v5.0-pro", (2048, 1536, 1024, 768, 512, 256), 128_000, True),
    EmbedModel("embed-v5.0-fast", (2048, 1536, 1024, 768, 512, 256), 128_000, True),
)

# Cohere: "the original image file ... can be up to 5 MB"; for mixed contents, "the maximum size of payload is 20mb".
# A tenth is left for what surrounds the pictures. Bedrock does not say whether it measures its 5 MB before or after
# base64; for its other models it measures after, so that three quarters remain.
_AT_COHERE = ("JPEG", "PNG", "WEBP")
_ON_BEDROCK = ("JPEG", "PNG")
LIMITS: dict[tuple[str, bool], Limits] = {
    ("cohere", False): Limits(1, 5_000_000, _AT_COHERE, 18_000_000),
    ("cohere", True): Limits(96, 5_000_000, _AT_COHERE, 18_000_000),
    ("bedrock", False): Limits(1, 3_750_000, _ON_BEDROCK, 18_000_000, characters=2048),
    ("bedrock", True): Limits(96, 3_750_000, _ON_BEDROCK, 18_000_000),
}
"""By service, and by whether the model takes mixed contents."""

# As embed-v4.0 and embed-v5.0-pro are written.
_NEWER = r"embed-v([4-9]|[1-9]\d)\.\d(-[a-z]+)*"
COHERE_NAMES = rf"embed-(english|multilingual)(-light)?-v3\.0|{_NEWER}"
"""Names of Cohere's own service; those that are not in ``MODELS`` are newer ones, if they are not mistaken."""

BEDROCK_NAMES = r"([a-z-]+\.)?cohere\.embed-[\w.:-]+|arn:aws[\w-]*:bedrock:\S+"
"""Ids of Amazon Bedrock: of a model, of an inference profile (``us.``, ``eu.``, ``global.``, ...), or an ARN."""


def cohere_model(name: str, output_dimension: int | None) -> EmbedModel:
    """Find a model by Cohere's name for it.

    Args:
        name: the name.
        output_dimension: the length of vectors that is wanted; it makes a model newer than ``MODELS`` usable.

    Raises:
        InvalidInputError: if there is none.
    """
    for model in MODELS:
        if model.name == name:
            return model
    if output_dimension is not None and re.fullmatch(_NEWER, name):
        return EmbedModel(name, (output_dimension,), 128_000, True)
    raise InvalidInputError(
        f"{name!r} is no Embed model that is known: {', '.join(model.name for model in MODELS)}. For a newer one, "
        "named like embed-v6.0 or embed-v6.0-pro, give output_dimension too, a length of vectors that it can give"
    )


def bedrock_model(name: str) -> EmbedModel:
    """Find a model by an id of Amazon Bedrock that names it, with or without the prefix of an inference profile.

    Args:
        name: for example ``"cohere.embed-english-v3"``, ``"us.cohere.embed-v4:0"``, or an ARN that ends like these.

    Raises:
        InvalidInputError: if the id names none, as that of an application inference profile does.
    """
    last = name.rpartition("/")[2]
    for model in MODELS:
        version = model.bedrock.partition(":")[0]
        if version and re.fullmatch(rf"([a-z-]+\.)?{re.escape(version)}(:\d+)*", last):
            return model
    known = ", ".join(model.bedrock for model in MODELS if model.bedrock)
    raise InvalidInputError(
        f"{name!r} does not say which Embed model it stands for. Give one of {known}, or the id or ARN of an inference "
        "profile that names one; with any other ARN, say which model it stands for: model='cohere.embed-v4:0'"
    )


def dimension_of(model: EmbedModel, output_dimension: int | None) -> int:
    """Return the length of vectors to ask for.

    Raises:
        InvalidInputError: if the model cannot give vectors of this length.
    """
    if output_dimension is None:
        return model.dimensions[0]
    if isinstance(output_dimension, bool) or output_dimension not in model.dimensions:
        known = ", ".join(map(str, sorted(model.dimensions)))
        raise InvalidInputError(
            f"output_dimension={output_dimension!r}, but {model.name} gives vectors of length {known}"
        )
    return output_dimension
