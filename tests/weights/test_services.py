"""The services themselves keep to the limits that the encoders assume; asked only where somebody says so, as they bill.

``COMMONSCALE_SERVICES="embed-v4.0 us.cohere.embed-v4:0" pytest -m weights tests/weights/test_services.py`` with the
keys of both in the environment sends about fifteen requests for each model.
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commonscale.core.errors import InputRefusedError
from commonscale.encoders import load_encoder

pytestmark = [pytest.mark.weights, pytest.mark.filterwarnings("ignore::commonscale.core.errors.TruncationWarning")]
NAMES = os.environ.get("COMMONSCALE_SERVICES", "").split()


@pytest.fixture(scope="module", params=NAMES or [""])
def name(request: pytest.FixtureRequest) -> str:
    if not request.param:
        pytest.skip("COMMONSCALE_SERVICES names no model of Cohere or Amazon Bedrock to ask")
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(name: str) -> Any:
    return load_encoder(name, batch_size=96)


def noise(side: int, form: str, **settings: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **settings)
    return stream.getvalue()


def test_a_full_request_comes_back_in_order(encoder: Any) -> None:
    texts = [f"{number} birds on a wire" for number in range(96)]
    together = encoder.encode_texts(texts)
    assert together.shape == (96, encoder.dimension)
    alone = encoder.encode_texts([texts[70]])
    assert int(np.argmax(together @ alone[0])) == 70


def test_questions_are_embedded_unlike_passages(encoder: Any) -> None:
    question, passage = encoder.encode_questions(["Who sings?"]), encoder.encode_texts(["Who sings?"])
    assert not np.allclose(question, passage, atol=1e-3)


def test_long_texts_are_taken(encoder: Any) -> None:
    assert encoder.encode_texts(["All birds sing. " * 1000]).shape == (1, encoder.dimension)


def test_files_up_to_the_limit_are_taken_as_they_are(encoder: Any) -> None:
    side = int((encoder.limits.image_bytes / 3) ** 0.5) - 10
    content = noise(side, "PNG", compress_level=0)
    assert 0.95 * encoder.limits.image_bytes < len(content) <= encoder.limits.image_bytes
    assert encoder.encode_images([content]).shape == (1, encoder.dimension)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_all_formats_arrive(encoder: Any, form: str) -> None:
    assert encoder.encode_images([noise(200, form)]).shape == (1, encoder.dimension)


def test_what_is_too_long_is_refused_and_the_rest_is_kept(name: str) -> None:
    strict = load_encoder(name, truncate="none")
    batch = strict.encode_texts_reporting(["birds", "All birds sing. " * 60_000, "wires"])
    assert batch.kept == (0, 2)
    assert isinstance(batch.failures[0].error, InputRefusedError)


def test_usage_is_told(encoder: Any) -> None:
    encoder.encode_texts(["birds"])
    assert encoder.usage["requests"] >= 1
    assert encoder.usage.get("input_tokens", 0) > 0
