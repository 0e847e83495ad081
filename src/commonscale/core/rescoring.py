"""Putting hits that others found on the common scale, from their raw cosines."""

from __future__ import annotations

from collections.abc import Sequence

from commonscale.core.calibration import Calibration
from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError, StaleCalibrationWarning
from commonscale.core.types import Floats, Modality, Vector
from commonscale.core.warn import warn


def rescored(
    calibration: Calibration, modality: Modality, cosines: Floats, ids: Sequence[str], question: Vector | None
) -> Floats:
    """Give the scores of hits of one modality and one question.

    Args:
        calibration: the common scale.
        modality: the hits' modality.
        cosines: their raw cosines (n,).
        ids: their documents' ids (n).
        question: the question's vector (d,), any norm; needed where the calibration corrects the cosines.

    Returns:
        Scores (n,). A document that the calibration does not know is taken for a typical one, with a
        ``StaleCalibrationWarning``.

    Raises:
        NotCalibratedError: if the calibration does not cover the modality.
        InvalidInputError: if the vector is needed and missing, or cannot be used.
    """
    calibration.statistics(modality)
    correction = calibration.modalities[modality].correction
    if correction is None:
        return calibration.standardize(cosines, modality)
    if question is None:
        raise InvalidInputError(
            f"a calibration by method {calibration.method!r} corrects cosines by what the question's vector tells: "
            f"pass the question, and what embeds it (embed_model= in LlamaIndex, embeddings= in LangChain), or "
            f"calibrate with method='standardized'"
        )
    centered = correction.centered(unit_rows([question], "question vector"))
    rows = correction.documents.rows(ids)
    if (rows < 0).any():
        unknown = ids[int((rows < 0).argmax())]
        warn(
            f"modality {modality!r} has documents that came after the calibration, such as {unknown!r}; they are taken "
            f"for typical ones: calibrate again, or keep the calibration up to date",
            StaleCalibrationWarning,
        )
    columns = correction.columns(rows)
    products = (cosines - columns[0]) / centered.norms[0]
    return calibration.standardize(correction.similarities(products, columns, float(centered.levels[0])), modality)
