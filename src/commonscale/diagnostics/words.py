"""The diagnosis in words: what the numbers allow to be said, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping

from commonscale.core.methods import CHANCE, COSINE, STANDARDIZED
from commonscale.core.types import Modality
from commonscale.diagnostics.diagnosis import Diagnosis
from commonscale.diagnostics.gains import ALL, Gain
from commonscale.diagnostics.intervals import Estimate
from commonscale.diagnostics.learning import LIMIT, LONG, LearningCurve

STRONG = 1.0
"""A gap of this many standard deviations between average best cosines is called wide."""

SLIGHT = 0.3
"""One below this many is called slight."""

_PLURALS = {"text": "texts", "image": "images"}
_NAMES = {STANDARDIZED: "standardizing", CHANCE: "chance-level calibration"}


def plural(modality: Modality) -> str:
    """Name the documents of a modality."""
    return _PLURALS.get(modality, f"{modality} documents")


def group_name(group: str) -> str:
    """Name a group of questions."""
    return "all questions" if group == ALL else f"questions for {plural(group)}"


def method_name(method: str) -> str:
    """Name a method within a sentence."""
    return _NAMES.get(method, method)


def count(number: int, noun: str) -> str:
    """Write a number with its noun, such as ``1 question`` and ``2,000 questions``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def who_asks(diagnosis: Diagnosis) -> str:
    """Say which questions calibrate and which are asked."""
    asked = {
        "file": f"{count(diagnosis.asked, 'other question')} asked",
        "halves": "each half of them asked under the scale of the other half",
        "none": "the same one asked, so nothing here is held out",
    }[diagnosis.held_out]
    return f"{count(diagnosis.banked, 'question')} to calibrate with, {asked}"


def signed(estimate: Estimate) -> str:
    """Write a difference with its interval."""
    if estimate.few:
        return f"{estimate.value:+.3f}, too few for an interval"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def verdict(diagnosis: Diagnosis) -> list[str]:
    """Say what the diagnosis comes down to.

    Args:
        diagnosis: the diagnosis.

    Returns:
        Sentences: the gap, whether standardizing helps, and how many questions are enough.
    """
    if len(diagnosis.modalities) < 2:
        only = plural(diagnosis.loud)
        return [f"All documents are {only}: there is no second scale, so nothing to standardize."]
    alone = []
    if diagnosis.held_out == "none":
        alone = ["There is only one question, or copies of one: nothing here says what holds for others."]
    return [*alone, *_gap(diagnosis), *_help(diagnosis), *_enough(diagnosis)]


def separation(diagnosis: Diagnosis, quiet: Modality) -> float:
    """Give how far the average best cosines of the loudest modality and another one lie apart, in standard deviations.

    Args:
        diagnosis: the diagnosis.
        quiet: the other modality.

    Returns:
        The difference by the root mean square of the two standard deviations; 0 if neither varies and they are equal,
        infinite if neither varies and they are not.
    """
    high, low = diagnosis.best[diagnosis.loud], diagnosis.best[quiet]
    spread = float(((high.std**2 + low.std**2) / 2) ** 0.5)
    difference = high.mean - low.mean
    if spread == 0:
        return float("inf") if difference else 0.0
    return difference / spread


def _gap(diagnosis: Diagnosis) -> list[str]:
    loud = diagnosis.loud
    said = []
    for quiet in diagnosis.quiet:
        apart = separation(diagnosis, quiet)
        width = "wide" if apart >= STRONG else "moderate" if apart >= SLIGHT else "slight"
        begin = f"The gap is {width}: a question's" if diagnosis.held_out != "none" else "The question's"
        average = " on average" if diagnosis.held_out != "none" else ""
        high, low = diagnosis.best[loud].mean, diagnosis.best[quiet].mean
        by = f", {apart:.1f} standard deviations less" if 0 < apart < 1000 else ""
        shares = diagnosis.methods[COSINE].shares[ALL]
        of_all = diagnosis.documents[quiet] / sum(diagnosis.documents.values())
        said.append(
            f"{begin} best cosine is {high:.3f}{average} among {plural(loud)} and {low:.3f} "
            f"among {plural(quiet)}{by}. Of the documents {of_all:.0%} are {plural(quiet)}; of the first {diagnosis.k} "
            f"hits by raw cosine {shares.hits[quiet]:.0%}, and {shares.any[quiet]:.0%} of the questions have any."
        )
    return said


def _help(diagnosis: Diagnosis) -> list[str]:
    said = [_helped(diagnosis, method) for method in diagnosis.methods if method != COSINE]
    said += [f"{_begin(method)} cannot be used here: {reason}." for method, reason in diagnosis.skipped.items()]
    if diagnosis.versus is not None:
        mrr = {group: gains["mrr@20"].difference for group, gains in diagnosis.versus.items()}
        by_group = "; ".join(f"{signed(one)} for {group_name(group)}" for group, one in mrr.items())
        said.append(f"Chance-level calibration against standardizing, in MRR@20: {by_group}.")
    if diagnosis.gains is not None and diagnosis.wanted is not None and len(diagnosis.wanted) < 2:
        kind = plural(next(iter(diagnosis.wanted)))
        said.append(f"All questions with labels ask for {kind}: what others lose by it, these labels cannot tell.")
    if diagnosis.gains is None and diagnosis.held_out != "none":
        said.append(_unknown(diagnosis))
    return said


def _helped(diagnosis: Diagnosis, method: str) -> str:
    if diagnosis.gains is None:
        return _moved(diagnosis, method)
    gains = diagnosis.gains[method]
    main = ALL if ALL in gains else next(iter(gains))
    whole = gains[main]["mrr@20"]
    asked = count(whole.questions, "held-out question" if diagnosis.held_out != "none" else "question")
    parts = [f"over {asked} goes {_change(whole)}"]
    parts += [f"for {group_name(group)} {_change(gain['mrr@20'])}" for group, gain in gains.items() if group != main]
    return f"{_begin(method)} {_effect(gains, main)}. MRR@20 {'; '.join(parts)}."


def _effect(gains: Mapping[str, Mapping[str, Gain]], main: str) -> str:
    whole = gains[main]["mrr@20"].difference
    parts = {group_name(group): gain["mrr@20"].difference for group, gain in gains.items() if group != main}
    losing = " and ".join(group for group, difference in parts.items() if difference.sure and difference.value < 0)
    winning = " and ".join(group for group, difference in parts.items() if difference.sure and difference.value > 0)
    if not whole.sure:
        mixed = f" on the whole: it helps {winning}, at a cost to {losing}" if losing and winning else ""
        return f"makes no sure difference{mixed}"
    if whole.value > 0:
        return f"helps on the whole, at a cost to {losing}" if losing else "helps"
    return f"harms on the whole, though it helps {winning}" if winning else "harms"


def _begin(method: str) -> str:
    name = method_name(method)
    return f"{name[0].upper()}{name[1:]}"


def _change(gain: Gain) -> str:
    return f"from {gain.before:.3f} to {gain.value:.3f} ({signed(gain.difference)})"


def _moved(diagnosis: Diagnosis, method: str) -> str:
    view = diagnosis.methods[method]
    before = diagnosis.methods[COSINE].shares[ALL]
    after = view.shares[ALL]
    parts = [
        f"the share of {plural(quiet)} goes from {before.hits[quiet]:.0%} to {after.hits[quiet]:.0%}, that of the "
        f"questions that have any from {before.any[quiet]:.0%} to {after.any[quiet]:.0%}"
        for quiet in diagnosis.quiet
    ]
    asked = count(diagnosis.asked, "held-out question" if diagnosis.held_out != "none" else "question")
    return (
        f"{_begin(method)} replaces {view.changed:.0%} of the first {diagnosis.k} hits of {asked}: {'; '.join(parts)}."
    )


def _unknown(diagnosis: Diagnosis) -> str:
    widest = max(separation(diagnosis, quiet) for quiet in diagnosis.quiet)
    rare = min(diagnosis.methods[COSINE].shares[ALL].any[quiet] for quiet in diagnosis.quiet)
    if widest >= STRONG and rare < 0.5:
        expected = (
            "By raw cosine most questions are shown one modality only, however well others fit, so a common scale is "
            "needed if those are to be found at all."
        )
    elif widest < SLIGHT:
        expected = "The modalities nearly share one scale already, so little is to be gained."
    else:
        expected = "By raw cosine one modality is preferred, and a common scale lessens that."
    return (
        f"{expected} Whether the hits that come up are the right ones cannot be told without labels: for that, label "
        f"some dozen questions of each kind and diagnose them as a benchmark (see docs/benchmark-format.md)."
    )


def _enough(diagnosis: Diagnosis) -> list[str]:
    said = [_settled(diagnosis, method, curve) for method, curve in diagnosis.curves.items()]
    missing = [method_name(method) for method in diagnosis.methods if method not in (COSINE, *diagnosis.curves)]
    if missing:
        have = count(diagnosis.banked, "question")
        said.append(
            f"How many questions are enough for {' and '.join(missing)} cannot be told from {have}; give 50 or more."
        )
    return said


def _settled(diagnosis: Diagnosis, method: str, curve: LearningCurve) -> str:
    name = _begin(method)
    have = f"the bank has {diagnosis.banked:,}"
    if curve.enough is None:
        told = "how many questions are enough cannot be told" if curve.sizes[-1] < LONG else "more questions are needed"
        return (
            f"{name}: {told}. Another bank of {curve.sizes[-1]:,} still gives {curve.moved[-1]:.1%} of the first "
            f"{diagnosis.k} hits to another modality, where {LIMIT:.0%} is taken for enough; {have}."
        )
    at = curve.sizes.index(curve.enough)
    # Where the order within a modality depends on the bank too, balance is not all that questions are good for.
    inside = curve.changed[at] > 1.5 * max(LIMIT, curve.moved[at])
    for_what = " to balance the modalities" if inside else ""
    worst = max(curve.wobble, key=lambda modality: curve.wobble[modality][at].score)
    few = diagnosis.banked < curve.enough
    enough = f"about {curve.enough:,} questions would be enough" if few else f"{curve.enough:,} questions are enough"
    said = (
        f"{name}: {enough}{for_what}; {have}. Another bank of that size gives "
        f"{curve.moved[at]:.1%} of the first {diagnosis.k} hits to another modality, replaces "
        f"{curve.changed[at]:.1%} in all, and moves scores by {curve.wobble[worst][at].score:.2f} "
        f"({plural(worst)}, standard error)."
    )
    if inside and not curve.level:
        said += " Which documents of a modality come first is not settled by so few: more questions can still help."
    if curve.level:
        said += (
            f" More hardly settle it further ({curve.moved[-1]:.1%} with {curve.sizes[-1]:,}): a document's hub score "
            f"rests on its ten nearest questions, however many there are."
        )
    return said
