"""The vectors whose inner products are the similarities of a corrected modality."""

from __future__ import annotations

from typing import NamedTuple

from commonscale.core.centering import centered_rows
from commonscale.core.correction import Correction
from commonscale.core.types import Floats, Vector
from commonscale.diagnostics.material import Sample


class Corrected(NamedTuple):
    """Questions and documents such that ``questions @ documents.T - minus`` are the similarities.

    Attributes:
        questions: centred unit vectors (q, d).
        documents: centred unit vectors (n, d).
        minus: weighted hub scores (n,).
    """

    questions: Vector
    documents: Vector
    minus: Floats


def corrected(correction: Correction, questions: Vector, sample: Sample) -> Corrected:
    """Centre questions and documents, and look up the documents' hub scores (see ``Correction``).

    Args:
        correction: a modality's correction; the documents must be in its table.
        questions: unit vectors (q, d).
        sample: the documents.

    Raises:
        InvalidInputError: if a question or document has no direction once it is centred.
    """
    table = correction.documents
    hubs = table.hubs[table.rows(sample.ids)]
    return Corrected(
        centered_rows(questions, correction.question_mean, "question"),
        centered_rows(sample.vectors, correction.document_mean, "document"),
        correction.hub_weight * hubs,
    )
