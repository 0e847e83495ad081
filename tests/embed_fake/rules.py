"""What Cohere's service and Amazon Bedrock document of their Embed models, as a fake that has no model.

It refuses what they would refuse. Its vectors are made of what a request holds, so that a test can say which vector
belongs to which text or picture.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

KEY = "co-secret-0123456789"
REFUSED = "forbidden words"
"""A text that holds this is refused, and so is a picture whose first pixel is ``REFUSED_COLOR``."""
REFUSED_COLOR = (1, 2, 3)
DIMENSIONS = {"v3": 1024, "v3-light": 384, "v4": 1536, "v5": 2048}
PASSAGE, QUESTION = "search_document", "search_query"
_FORMATS = {"cohere": {"JPEG", "PNG", "WEBP", "GIF"}, "bedrock": {"JPEG", "PNG"}}


@dataclass
class Call:
    """One request that the server got."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    pictures: list[Image.Image] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)


class RefusedError(Exception):
    """What is wrong with a request."""

    def __init__(self, words: str, status: int = 400) -> None:
        self.status = status
        super().__init__(words)


def text_vector(text: str, kind: str, dimension: int) -> NDArray[np.float32]:
    """Return the vector, not of unit length, of a text with an input type."""
    seed = hashlib.sha256(f"{kind}\n{text}".encode()).digest()
    return 3 * np.random.default_rng(list(seed)).standard_normal(dimension).astype(np.float32)


def image_vector(picture: Image.Image, kind: str, dimension: int) -> NDArray[np.float32]:
    """Return the vector of a picture: that of its size and the color in its middle."""
    rgb = picture.convert("RGB")
    return text_vector(f"{rgb.size} {rgb.getpixel((rgb.width // 2, rgb.height // 2))}", kind, dimension)


def units(rows: Any) -> NDArray[np.float32]:
    """Return rows of length one."""
    wide = np.asarray(rows, dtype=np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def text_rows(texts: list[str], kind: str = PASSAGE, dimension: int = 1024) -> NDArray[np.float32]:
    """Return what an encoder must make of texts that were sent with an input type."""
    return units([text_vector(text, kind, dimension) for text in texts])


def image_rows(pictures: list[Image.Image], kind: str = "image", dimension: int = 1024) -> NDArray[np.float32]:
    """Return what an encoder must make of pictures that were sent with an input type."""
    return units([image_vector(picture, kind, dimension) for picture in pictures])


def of_cohere(call: Call) -> dict[str, Any]:
    if call.headers.get("authorization") != f"Bearer {KEY}":
        raise RefusedError(f"invalid api token {call.headers.get('authorization', '')}", 401)
    body = call.body
    model = re.fullmatch(
        r"embed-(english|multilingual)(-light)?-v3\.0|embed-v4\.0|embed-v5\.0-(pro|fast)", body["model"]
    )
    if not model:
        raise RefusedError(f"model {body['model']!r} not found", 404)
    mixed = body["model"].startswith("embed-v")
    _check_keys(body, {"model", "input_type", "embedding_types"}, {"texts", "images", "inputs", "truncate"}, mixed)
    if body.get("truncate", "END") not in ("NONE", "START", "END"):
        raise RefusedError("invalid truncate")
    if mixed and body["input_type"] == "image":
        raise RefusedError("input_type image needs images, not inputs")
    uris = list(body.get("images", []))
    for item in body.get("inputs", []):
        (content,) = item["content"]
        if content["type"] != "image_url" or set(content["image_url"]) != {"url"}:
            raise RefusedError("image_url must be an object with a url")
        uris.append(content["image_url"]["url"])
    light = "-light" in body["model"]
    generation = body["model"][6:8] if mixed else "v3-light" if light else "v3"
    dimension = body.get("output_dimension", DIMENSIONS[generation])
    rows = _embedded(call, uris, "cohere", mixed, dimension)
    billed = {"images": len(uris)} if uris else {"input_tokens": sum(len(text.split()) for text in body["texts"])}
    meta = {"api_version": {"version": "2"}, "billed_units": billed}
    return {"id": "1", "response_type": "embeddings_by_type", "embeddings": {"float": rows}, "meta": meta}


def of_bedrock(call: Call) -> dict[str, Any]:
    if not call.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        raise RefusedError("The security token included in the request is invalid.", 403)
    name = urllib.parse.unquote(call.path.removeprefix("/model/").removesuffix("/invoke"))
    body = call.body
    mixed = "embed-v4" in name or "application-inference-profile" in name
    if mixed and not name.startswith(("us.", "eu.", "global.", "arn:")):
        raise RefusedError(
            f"Invocation of model ID {name} with on-demand throughput isn't supported. Retry your request with the ID "
            "or ARN of an inference profile that contains this model."
        )
    _check_keys(body, {"input_type", "embedding_types"}, {"texts", "images", "truncate"}, mixed)
    sides = ("NONE", "LEFT", "RIGHT") if mixed else ("NONE", "START", "END")
    if body.get("truncate", "NONE") not in sides:
        raise RefusedError(f"#/truncate: {body['truncate']} is not a valid enum value")
    for place, text in enumerate(body.get("texts", [])):
        if not mixed and len(text) > 2048:
            raise RefusedError(f"Malformed input request: #/texts/{place}: expected maxLength: 2048")
    dimension = body.get("output_dimension", DIMENSIONS["v4"]) if mixed else DIMENSIONS["v3"]
    rows = _embedded(call, body.get("images", []), "bedrock", mixed, dimension)
    return {"id": "1", "response_type": "embeddings_by_type", "embeddings": {"float": rows}}


def _check_keys(body: dict[str, Any], needed: set[str], possible: set[str], mixed: bool) -> None:
    late = {"output_dimension", "max_tokens"} if mixed else set()
    if not needed <= set(body) <= needed | possible | late:
        raise RefusedError(f"extraneous or missing keys: {sorted(body)}")
    if len({"texts", "images", "inputs"} & set(body)) != 1 or body["embedding_types"] != ["float"]:
        raise RefusedError("exactly one of texts, images and inputs is needed, and float embeddings")


def _embedded(call: Call, uris: list[str], service: str, mixed: bool, dimension: int) -> list[list[float]]:
    kind, texts = call.body["input_type"], call.body.get("texts", [])
    if kind not in ((PASSAGE, QUESTION) if texts or mixed else ("image",)):
        raise RefusedError(f"invalid input_type {kind!r}")
    if len(texts) > 96 or len(uris) > (96 if mixed else 1) or sum(map(len, uris)) > 20_000_000:
        raise RefusedError("too many or too large inputs")
    if any(REFUSED in text for text in texts):
        raise RefusedError("the text was refused")
    most = 128_000 if mixed else 512
    if call.body.get("truncate") == "NONE" and any(len(text.split()) > most for text in texts):
        raise RefusedError(f"too many tokens: at most {most} are possible")
    for uri in uris:
        _open(call, uri, service)
    vectors = [text_vector(text, kind, dimension) for text in texts]
    vectors += [image_vector(picture, kind, dimension) for picture in call.pictures]
    return [vector.tolist() for vector in vectors]


def _open(call: Call, uri: str, service: str) -> None:
    match = re.fullmatch(r"data:image/(\w+);base64,([A-Za-z0-9+/]+=*)", uri)
    if match is None:
        raise RefusedError("not a data URI of an image")
    content = base64.b64decode(match[2], validate=True)
    picture = Image.open(io.BytesIO(content))
    picture.load()
    if (picture.format or "") not in _FORMATS[service] or (picture.format or "").lower() != match[1]:
        raise RefusedError(f"a {picture.format} in a URI of {match[1]}")
    if len(content) > 5_000_000:
        raise RefusedError("image size exceeds 5MB")
    if picture.convert("RGB").getpixel((0, 0)) == REFUSED_COLOR:
        raise RefusedError("the image was refused")
    call.pictures.append(picture)
    call.files.append(content)
