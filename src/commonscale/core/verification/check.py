"""The self-check of one source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commonscale.core.attempts import store_name
from commonscale.core.probing import probe_of
from commonscale.core.types import Modality, Source
from commonscale.core.unbounded import is_by_text, is_unbounded
from commonscale.core.verification.blind import check_blindly
from commonscale.core.verification.evidence import THOROUGH, WORDING, Effort, Evidence, gather
from commonscale.core.verification.matching import kind_name
from commonscale.core.verification.neighbors import check_neighbors
from commonscale.core.verification.numbers import read_numbers
from commonscale.core.verification.report import NO_HITS, Finding, StoreCheck, Verification

_UNIT = 0.01
"""Norms this close to 1 are not worth a note."""

_CHANGES_ORDER = frozenset({"unnormalized"})


def check_source(
    source: Any, modality: Modality, dimension: int | None, effort: Effort = THOROUGH, wording: str = WORDING
) -> StoreCheck:
    """Compare what a source's store returns with numpy's cosines.

    The store is asked with random unit vectors and with vectors of its own hits. What it says of these few decides;
    a document that no answer contains is not looked at.

    Args:
        source: any source; one without ``probe`` cannot be checked.
        modality: its modality.
        dimension: length of its vectors; None if that is not known.
        effort: how many questions, and how many hits of each.
        wording: the wording of the questions, for stores that look at it too.

    Raises:
        SourceError: if the source does not keep to the contract of ``probe``; a store's own errors come as they are.
    """
    obstacle = _obstacle(source)
    if obstacle is not None:
        return StoreCheck(modality, unchecked=obstacle)
    if dimension is None:
        return StoreCheck(modality, unchecked=f"the dimension of the vectors of {store_name(source)} is not known yet")
    return judge(modality, gather(source, modality, dimension, effort, wording))


def _obstacle(source: Any) -> str | None:
    """Say why a source cannot be verified."""
    name = store_name(source)
    if is_unbounded(source):
        return f"{name} returns scores of its own, which are not meant to be cosines"
    if is_by_text(source):
        return f"{name} searches by words, so that there are no vectors to compare with"
    if probe_of(source) is None:
        return f"{name} has no method probe(questions, k), which would show its numbers beside vectors"
    return None


def verify(sources: Mapping[Modality, Source], dimensions: Mapping[Modality, int | None]) -> Verification:
    """Check every source.

    Args:
        sources: one source per modality.
        dimensions: lengths of their vectors, as far as they are known.
    """
    return Verification(tuple(check_source(source, m, dimensions.get(m)) for m, source in sources.items()))


def verifiable(sources: Mapping[Modality, Source]) -> dict[Modality, Source]:
    """Choose the sources that show their numbers, and search by vectors for cosines."""
    return {m: source for m, source in sources.items() if _obstacle(source) is None}


def dimension_of(source: Any) -> int | None:
    """Ask a source for the length of its vectors; None if it does not know."""
    own: int | None = getattr(source, "dimension", None)
    return getattr(getattr(source, "provenance", None), "dimension", None) if own is None else own


def judge(modality: Modality, evidence: Evidence) -> StoreCheck:
    """Put into words what the answers of a store show.

    Args:
        modality: whose store it is.
        evidence: its answers.
    """
    kind = kind_name(evidence.kind) if evidence.converted else None
    asked, hits = len(evidence.answers), sum(len(answer.ids) for answer in evidence.answers)
    if evidence.dimension is not None:
        given = len(evidence.answers[0].row)
        words = f"stored vectors have dimension {evidence.dimension}, questions {given}; use the encoder of the store"
        return StoreCheck(modality, kind, asked, findings=(Finding("dimension", words, error=True),))
    nulls = _null(evidence)
    if not hits:
        return StoreCheck(modality, kind, asked, findings=nulls, unchecked=NO_HITS)
    if not evidence.has_vectors:
        why = "the store does not give its vectors, so that its numbers were only checked for their range and order"
        return StoreCheck(modality, kind, asked, findings=check_blindly(evidence), unchecked=why)
    reading = read_numbers(evidence)
    known = any(finding.name in _CHANGES_ORDER and finding.error for finding in reading.findings)
    neighbors = check_neighbors(evidence, reading.noise, explained=known)
    norms = evidence.norms()
    span = (float(norms.min()), float(norms.max()))
    findings = (*reading.findings, *neighbors.findings, *nulls)
    if not any(finding.name == "unnormalized" for finding in findings) and max(1 - span[0], span[1] - 1) > _UNIT:
        words = f"stored vectors have norms from {span[0]:.4g} to {span[1]:.4g}, which does no harm here"
        findings = (*findings, Finding("norms", words, error=False))
    return StoreCheck(modality, kind, asked, hits, reading.difference, span, neighbors.recall, findings)


def _null(evidence: Evidence) -> tuple[Finding, ...]:
    if not evidence.null:
        return ()
    words = (
        f"{len(evidence.null)} of the stored vectors seen are null or not finite, so they have no cosine; the first is "
        f"that of document {evidence.null[0]!r}: embed it again, or delete it"
    )
    return (Finding("null vector", words, error=False),)
