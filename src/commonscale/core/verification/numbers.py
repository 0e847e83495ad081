"""What a store's numbers really are, told by comparing them with numpy's cosines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commonscale.core.cosines import SCORE_KINDS, TOLERANCE
from commonscale.core.types import Floats
from commonscale.core.verification.evidence import Evidence
from commonscale.core.verification.matching import NEAR, Match, best_match, kind_name, misfit, values_of
from commonscale.core.verification.report import Finding
from commonscale.core.verification.shape import shape_of

HARMLESS = 0.02
"""Largest difference from the cosine, and largest share by which norms may differ, that is noted and no error."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the numbers are.

    Attributes:
        findings: what is wrong with reading them as they are read.
        difference: largest difference between the cosine in use and numpy's.
        noise: the largest of what is unsystematic in the numbers.
        order: what the store orders by, if that is known: a measure as in ``Match``.
    """

    findings: tuple[Finding, ...]
    difference: float | None
    noise: float
    order: str | None


def read_numbers(evidence: Evidence) -> Reading:
    """Compare a store's numbers with numpy's cosines.

    Kinds that differ only for vectors of other norms (``cosine`` and ``inner_product``) cannot be told apart on unit
    vectors, where it does not matter which is named.

    Args:
        evidence: answers with vectors and at least one hit.
    """
    numbers = evidence.joined(lambda a: a.numbers)
    targets = {
        "cosine": evidence.joined(lambda a: a.cosines),
        "inner product": evidence.inner_products(),
        "L2 distance": 1.0 - evidence.squared_distances() / 2.0,
    }
    match = best_match(numbers, targets, evidence.kind)
    rms, noise = (0.0, 0.0) if match is None else (match.rms, match.largest)
    if evidence.lossy and evidence.kind is not None:
        # Norms of decoded vectors scatter as well: numbers that fit them exactly are still off the cosine.
        rms, noise = misfit(values_of(numbers, evidence.kind), targets["cosine"])
    order = None if match is None else match.measure
    if not evidence.converted:
        return Reading(_order_finding(evidence, match), 0.0, noise, order)
    values = values_of(numbers, evidence.kind)
    difference = misfit(values, targets["cosine"])[1]
    if match is None:
        return Reading((_unexplained(evidence),), difference, noise, order)
    return Reading(_explained(evidence, match, values, difference, rms), difference, noise, order)


def _explained(evidence: Evidence, match: Match, values: Floats, difference: float, rms: float) -> tuple[Finding, ...]:
    """Say what it means that the numbers are of a known kind."""
    claimed = evidence.kind
    same = match.kind is None or (isinstance(claimed, str) and _formula(match.kind) == _formula(claimed))
    scattered = match.measure == "cosine" or (evidence.lossy and rms <= NEAR)
    if not scattered:
        finding = _unnormalized(evidence, match, difference)
        return (finding,) if same else (_other_kind(evidence, match, values), finding)
    if not same and difference > TOLERANCE:
        return (_other_kind(evidence, match, values),)
    if difference > TOLERANCE:
        words = (
            f"the store's numbers scatter around the cosine, by up to {difference:.2g} (root mean square "
            f"{rms:.2g}), as those of compressed vectors do; scores of different modalities are only as exact"
        )
        return (Finding("compressed", words, error=False),)
    return ()


def _formula(kind: str) -> str:
    return SCORE_KINDS[kind].formula


def _other_kind(evidence: Evidence, match: Match, values: Floats) -> Finding:
    claimed, found = kind_name(evidence.kind), SCORE_KINDS[str(match.kind)]
    remedy = f"pass score_kind={found.name!r}"
    truth = f"the numbers are {found.name!r} (cosine = {found.formula}), not {claimed!r}"
    if {found.name, claimed} == {"l2", "squared_l2"}:
        which = "squared distances" if found.name == "squared_l2" else "distances that are not squared"
        return Finding("squared", f"the numbers are {which}: {truth}; {remedy}", error=True)
    if isinstance(evidence.kind, str):
        inverted = SCORE_KINDS[evidence.kind].higher_is_better != found.higher_is_better
    else:
        inverted = falls_with(values, evidence.joined(lambda a: a.cosines))
    if inverted:
        words = f"closer documents would get lower cosines: {truth}; {remedy}"
        return Finding("inverted", words, error=True)
    return Finding("other kind", f"{truth}; {remedy}", error=True)


def _unnormalized(evidence: Evidence, match: Match, difference: float) -> Finding:
    norms = evidence.norms()
    words = (
        f"stored vectors have norms from {norms.min():.4g} to {norms.max():.4g}, and the store returns the "
        f"{match.measure}, which is a function of the cosine for vectors of norm 1 only; normalize vectors before they "
        f"are added, or let the store compare by cosine"
    )
    return Finding("unnormalized", words, error=difference > HARMLESS)


def _order_finding(evidence: Evidence, match: Match | None) -> tuple[Finding, ...]:
    """Say whether a store, whose numbers are not used, finds the right documents."""
    if match is None or match.measure == "cosine" or evidence.lossy:
        return ()
    norms = evidence.norms()
    unequal = norms.max() / norms.min() - 1.0
    known = SCORE_KINDS[str(match.kind)]
    words = (
        f"stored vectors have norms from {norms.min():.4g} to {norms.max():.4g}, and the store orders by "
        f"{match.measure} ({known.name!r})"
    )
    if unequal <= HARMLESS:
        return (Finding("unnormalized", f"{words}; norms are alike, so the order is that of the cosine", error=False),)
    words += (
        ", so it does not find the documents of highest cosine; normalize vectors before they are added, or let the "
        "store compare by cosine"
    )
    return (Finding("unnormalized", words, error=True),)


def _unexplained(evidence: Evidence) -> Finding:
    """Describe numbers that are of no known kind."""
    shape = shape_of(evidence)
    claimed = kind_name(evidence.kind)
    inverted = falls_with(evidence.joined(lambda a: a.numbers), evidence.joined(lambda a: a.cosines), evidence)
    if shape.per_query:
        top = " (the best hit of every question gets 1.0)" if shape.tops_are_one else ""
        words = (
            f"the numbers are normalized per query{top}: within one answer they {'fall' if inverted else 'rise'} with "
            f"the cosine, but the same cosine gets different numbers in different answers, so no score kind leads back "
            f"to it; fetch the stored vectors and use commonscale.cosines_with, or search the store in another mode"
        )
        return Finding("per query", words, error=True)
    if shape.line is not None:
        start, slope = shape.line
        words = (
            f"the numbers are {start:.6g} {'+' if slope > 0 else '-'} {abs(slope):.6g} * cosine, not {claimed!r}; pass "
            f"score_kind=lambda r: (r - {start:.6g}) / {slope:.6g}"
        )
        return Finding("inverted" if inverted else "other function", words, error=True)
    if shape.common:
        words = (
            f"the numbers {'fall' if inverted else 'rise'} with the cosine, but by another function than {claimed!r}"
        )
        words += "; if you know it, pass its inverse as score_kind="
        return Finding("inverted" if inverted else "other function", words, error=True)
    if inverted:
        words = f"greater numbers belong to more distant documents, though they are read as {claimed!r}"
        return Finding("inverted", f"{words}; search by a method that returns plain distances or scores", error=True)
    words = (
        f"read as {claimed!r}, the numbers are off the cosine in no systematic way: they come from something else "
        f"(a hybrid search, a reranker, very coarse compression); use stored vectors and commonscale.cosines_with"
    )
    return Finding("unrelated", words, error=True)


def falls_with(values: Floats, cosines: Floats, evidence: Evidence | None = None) -> bool:
    """Tell whether values mostly fall where cosines rise: among all pairs, or among those of one answer."""
    groups = np.zeros(len(cosines))
    if evidence is not None:
        groups = np.repeat(np.arange(len(evidence.answers)), [len(a.ids) for a in evidence.answers])
    with np.errstate(invalid="ignore"):
        signs = np.sign(np.subtract.outer(values, values)) * np.sign(np.subtract.outer(cosines, cosines))
    return bool(np.nansum(signs[np.equal.outer(groups, groups)]) < 0)
