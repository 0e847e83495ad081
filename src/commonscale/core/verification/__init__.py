"""The self-check: is a store's number what it is taken for, and does the store find the closest documents?"""

from __future__ import annotations

from commonscale.core.verification.check import check_source, dimension_of, verifiable, verify
from commonscale.core.verification.evidence import WORDING
from commonscale.core.verification.first_use import FirstUse
from commonscale.core.verification.report import Finding, StoreCheck, Verification

__all__ = [
    "WORDING",
    "Finding",
    "FirstUse",
    "StoreCheck",
    "Verification",
    "check_source",
    "dimension_of",
    "verifiable",
    "verify",
]
