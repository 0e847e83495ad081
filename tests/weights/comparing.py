"""What our encoders give, against documented numbers and recorded vectors."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import MissingExtraError, TruncationWarning
from commonscale.encoders import Encoder, load_encoder
from weights.checkpoints import scale_and_bias
from weights.documented import Case
from weights.originals import Original
from weights.pictures import digest, drawn
from weights.scoring import numbers


def documented(case: Case, checkpoint: str, weights: Path, pictures: list[Any]) -> None:
    """Check that a checkpoint gives documented numbers.

    Args:
        case: the numbers.
        checkpoint: what to load.
        weights: the file with its scale.
        pictures: the pictures, one for each row of numbers.

    Raises:
        AssertionError: if it gives others.
    """
    encoder = _loaded(checkpoint)
    cosines = encoder.encode_images(pictures).astype(np.float64) @ encoder.encode_texts(case.texts).T
    scale, bias = (case.factor or 1.0), 0.0
    if case.form != "cosine" and case.factor is None:
        scale, bias = scale_and_bias(weights, case.log_scale_if_absent)
    found = numbers(cosines, case.form, scale, bias)
    np.testing.assert_allclose(found, np.array(case.numbers), rtol=0, atol=case.atol, err_msg=case.source)


def ours(checkpoint: str, original: Original) -> Encoder:
    """Load a checkpoint as it is compared with the original."""
    return _loaded(checkpoint, dtype=original.dtype)


def _loaded(checkpoint: str, **settings: Any) -> Encoder:
    try:
        return load_encoder(checkpoint, local_files_only=True, **settings)
    except MissingExtraError as error:
        pytest.skip(f"{checkpoint}: {error}")


def recorded(file: Path, original: Original, encoder: Encoder) -> None:
    """Check that an encoder gives the vectors that the original implementation gave.

    Args:
        file: what ``record`` wrote.
        original: how it was computed.
        encoder: ours of the same checkpoint; see ``ours``.

    Raises:
        AssertionError: if it gives others, or the drawn pictures are not those that were recorded.
    """
    record = json.loads(file.read_text(encoding="utf-8"))
    pictures = drawn()
    assert {name: digest(picture) for name, picture in pictures.items()} == record["pictures"], "other pictures"
    with warnings.catch_warnings():
        # One of the texts is longer than most models read, on purpose: both sides cut it.
        warnings.simplefilter("ignore", TruncationWarning)
        texts = encoder.encode_texts(record["texts"])
    images = encoder.encode_images(list(pictures.values()))
    for kind, found, tolerance in (("text", texts, original.text_atol), ("image", images, original.image_atol)):
        np.testing.assert_allclose(
            found, np.array(record[f"{kind}_vectors"]), rtol=0, atol=tolerance, err_msg=f"{kind}s, {record['api']}"
        )
