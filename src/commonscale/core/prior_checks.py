"""Whether a prior can be used in a search, told when it is assigned and not by the first question."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from commonscale.core.calibration import Calibration, Provenance
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality


def check_prior(prior: Any, modalities: Collection[Modality], provenance: Mapping[Modality, Provenance]) -> None:
    """Refuse what cannot serve as the prior of a search.

    Any object with ``offsets`` serves. One that also has ``check_use(modalities, fingerprint)``, as those of
    ``commonscale.priors`` do, is asked whether it fits.

    Args:
        prior: what is to be used; None for nothing.
        modalities: those that are searched or calibrated.
        provenance: where their cosines come from, as far as it is known.

    Raises:
        InvalidInputError: if it is no prior, or one of other modalities.
        NotCalibratedError: if it was not fitted to a scale.
        EncoderMismatchError: if it is known to take the embeddings of another encoder.
    """
    if prior is None:
        return
    if isinstance(prior, type) or not callable(getattr(prior, "offsets", None)):
        raise InvalidInputError(
            f"prior must be an object with offsets(questions), such as those of commonscale.priors, or None, "
            f"got {prior!r}; make one (LabeledPrior.fit(...), FunctionPrior(function)), or read one from its file with "
            f"commonscale.priors.load_prior(path)"
        )
    check = getattr(prior, "check_use", None)
    if callable(check):
        check(modalities, common_fingerprint(provenance.values()))


def warn_of_other_scale(prior: Any, calibration: Calibration | None) -> None:
    """Warn if a prior was scaled to another calibration, as far as it has a ``check_scale(calibration)`` and can tell.

    Warns:
        PriorWarning: if it was.
    """
    check = getattr(prior, "check_scale", None)
    if calibration is not None and callable(check):
        check(calibration)


def common_fingerprint(provenance: Iterable[Provenance]) -> str | None:
    """Give the encoder of all modalities; None if it is not known, or they have different ones."""
    known = {one.encoder_fingerprint for one in provenance if one.encoder_fingerprint is not None}
    return known.pop() if len(known) == 1 else None
