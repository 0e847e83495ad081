"""Reading priors from their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from commonscale.core.errors import CommonscaleError, FileFormatError, InvalidInputError
from commonscale.priors.base import Prior
from commonscale.priors.document import field, read, refuse_unknown
from commonscale.priors.function import FunctionPrior
from commonscale.priors.labeled import LabeledPrior
from commonscale.priors.linear import LinearPrior
from commonscale.priors.prompt import PromptPrior
from commonscale.priors.self_taught import SelfTaughtPrior
from commonscale.priors.vectors import check_fingerprint, fingerprint_of
from commonscale.priors.zero_shot import ZeroShotPrior

if TYPE_CHECKING:
    from commonscale.encoders.base import Encoder

LINEAR: Mapping[str, type[LinearPrior]] = MappingProxyType(
    {cls.kind: cls for cls in (LinearPrior, LabeledPrior, SelfTaughtPrior, ZeroShotPrior)}
)


def load_prior(
    path: str | os.PathLike[str],
    *,
    encoder: Encoder | None = None,
    fingerprint: str | None = None,
    function: Callable[[str], Any] | None = None,
    llm: Any = None,
) -> Prior:
    """Read what a prior's ``save`` wrote.

    Args:
        path: the file.
        encoder: of a prior on embeddings: embeds the questions' texts. Needed if it was made with an encoder of its
            own; otherwise it is only compared, and the vectors that questions are searched with are taken.
        fingerprint: of the encoder of those vectors, to be compared with the file's.
        function: of a ``FunctionPrior``: the function, which no file can hold.
        llm: of a ``PromptPrior``: the language model.

    Returns:
        The prior, of the class that wrote it.

    Raises:
        FileNotFoundError: if there is no such file.
        FileFormatError: if it is damaged, no prior, or was written by a newer version.
        EncoderMismatchError: if the encoder is not the one that the prior was made with.
        InvalidInputError: if the encoder, function or language model that it needs is not given.
    """
    name = os.fspath(path)
    document = read(path)
    kind = document.get("kind")
    if kind == FunctionPrior.kind and function is None:
        raise InvalidInputError(
            f"{name}: this prior asks a function, which no file holds; give load_prior(function=...)"
        )
    if kind == PromptPrior.kind and llm is None:
        raise InvalidInputError(f"{name}: this prior asks a language model; give load_prior(llm=...)")
    if kind in LINEAR:
        if document.get("own_encoder") is True and encoder is None:
            raise InvalidInputError(
                f"{name}: this prior embeds the questions' texts itself, with encoder "
                f"{document.get('encoder_fingerprint')!r}; give load_prior(encoder=...)"
            )
        given = fingerprint_of(encoder, fingerprint)
        known = document.get("encoder_fingerprint")
        check_fingerprint(known if isinstance(known, str) else None, given)
    try:
        prior = _build(kind, document, encoder, fingerprint, function, llm)
        slope = float(field(document, "slope", float))
        if not (np.isfinite(slope) and slope >= 0):
            raise ValueError(f"field 'slope' is {slope!r}")
        prior.method = field(document, "method", str, type(None))
    except (KeyError, TypeError, ValueError, OverflowError, CommonscaleError) as error:
        reason = f"field {error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{name}: damaged prior: {reason}; make it again") from error
    prior.slope = slope
    return prior


def _build(
    kind: object,
    document: Mapping[str, Any],
    encoder: Encoder | None,
    fingerprint: str | None,
    function: Callable[[str], Any] | None,
    llm: Any,
) -> Prior:
    modalities = [str(label) for label in field(document, "modalities", list)]
    strength = field(document, "strength", float, type(None))
    limit = field(document, "limit", float)
    if kind == FunctionPrior.kind and function is not None:
        refuse_unknown(document, {"gives"})
        gives = field(document, "gives", str)
        return FunctionPrior(function, modalities, gives=gives, strength=strength, limit=limit)
    if kind == PromptPrior.kind:
        return PromptPrior.from_document(document, llm, strength, limit)
    if not isinstance(kind, str) or kind not in LINEAR:
        raise ValueError(f"kind {kind!r} is not known")
    refuse_unknown(document, {"encoder_fingerprint", "own_encoder", "words", "weights", "intercept", "facts"})
    known = field(document, "encoder_fingerprint", str, type(None))
    return LINEAR[kind](
        modalities,
        np.array(field(document, "weights", list), dtype=np.float64),
        np.array(field(document, "intercept", list), dtype=np.float64),
        strength=strength,
        limit=limit,
        encoder=encoder if field(document, "own_encoder", bool) else None,
        fingerprint=known if fingerprint is None else fingerprint,
        words=field(document, "words", bool),
        facts={str(key): float(value) for key, value in field(document, "facts", dict).items()},
    )
