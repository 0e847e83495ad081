"""Priors: which modality a question wants, known from its wording, as offsets on the common scale."""

from commonscale.priors.base import Prior
from commonscale.priors.file import load_prior
from commonscale.priors.function import FunctionPrior
from commonscale.priors.labeled import LabeledPrior
from commonscale.priors.linear import LinearPrior
from commonscale.priors.prompt import PromptPrior
from commonscale.priors.self_taught import SelfTaughtPrior
from commonscale.priors.strength import best_scores, strength_of
from commonscale.priors.zero_shot import PROMPTS, ZeroShotPrior

__all__ = [
    "PROMPTS",
    "FunctionPrior",
    "LabeledPrior",
    "LinearPrior",
    "Prior",
    "PromptPrior",
    "SelfTaughtPrior",
    "ZeroShotPrior",
    "best_scores",
    "load_prior",
    "strength_of",
]
