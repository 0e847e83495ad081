"""Text and images in one honest ranking.

Importing this package loads numpy and nothing heavier; adapters live in ``commonscale.llama_index``,
``commonscale.langchain``, ``commonscale.index`` and ``commonscale.encoders`` and are loaded when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commonscale.core.background import Background
from commonscale.core.calibration import Calibration, ModalityCalibration, Provenance
from commonscale.core.centering import Centering
from commonscale.core.correction import Correction
from commonscale.core.cosines import SCORE_KINDS, cosines_with, to_cosine
from commonscale.core.drift import DriftMonitor, DriftReport
from commonscale.core.errors import CommonscaleError, CommonscaleWarning, MissingExtraError
from commonscale.core.failures import FailurePolicy
from commonscale.core.living import LivingCalibration
from commonscale.core.questions import QuestionBank
from commonscale.core.ranking import Quotas
from commonscale.core.search import JointSearch
from commonscale.core.statistics import ModalityStatistics
from commonscale.core.types import IMAGE, TEXT, Candidates, Hit, Prior, Probe, Question, Ranking, Source
from commonscale.core.verification import StoreCheck, Verification

if TYPE_CHECKING:
    from commonscale.encoders import load_encoder

__version__ = "0.1.0"

__all__ = [
    "IMAGE",
    "SCORE_KINDS",
    "TEXT",
    "Background",
    "Calibration",
    "Candidates",
    "Centering",
    "CommonscaleError",
    "CommonscaleWarning",
    "Correction",
    "DriftMonitor",
    "DriftReport",
    "FailurePolicy",
    "Hit",
    "JointSearch",
    "LivingCalibration",
    "MissingExtraError",
    "ModalityCalibration",
    "ModalityStatistics",
    "Prior",
    "Probe",
    "Provenance",
    "Question",
    "QuestionBank",
    "Quotas",
    "Ranking",
    "Source",
    "StoreCheck",
    "Verification",
    "__version__",
    "cosines_with",
    "load_encoder",
    "to_cosine",
]


def __getattr__(name: str) -> Any:
    # load_encoder needs torch and transformers: loaded at first use, so that importing stays fast.
    if name == "load_encoder":
        from commonscale.encoders import load_encoder

        return load_encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
