"""The diagnosis as a page with figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from commonscale.diagnostics.diagnosis import Diagnosis
from commonscale.diagnostics.report import Report, Section
from commonscale.diagnostics.sections import sections_of
from commonscale.diagnostics.words import plural, verdict, who_asks


def build_report(diagnoses: Sequence[Diagnosis]) -> Report:
    """Make the page of one or more diagnoses; figures are named after what was diagnosed."""
    one = diagnoses[0] if len(diagnoses) == 1 else None
    folders = folder_names(diagnoses)
    sections = []
    for diagnosis, folder in zip(diagnoses, folders, strict=True):
        parts = sections_of(diagnosis, folder)
        if one is None:
            sections.append(Section(folder, verdict=verdict(diagnosis), paragraphs=[_subject(diagnosis)], parts=parts))
        else:
            sections = [Section("In short", verdict=verdict(diagnosis), paragraphs=[_subject(diagnosis)]), *parts]
    title = (
        f"The modality gap of {folders[0]}" if one is not None else f"The modality gap of {len(diagnoses)} collections"
    )
    summary = (
        "Do texts and images compete on one scale? Where they lie, how their scores are distributed, what fills the "
        "first hits, what a common scale changes, and how many questions it takes to learn one.",
    )
    return Report(title, summary, sections, _footnote(diagnoses))


def folder_names(diagnoses: Sequence[Diagnosis]) -> list[str]:
    """Name each diagnosis after its file or folder, with a number where names come twice."""
    names: list[str] = []
    for diagnosis in diagnoses:
        path = Path(diagnosis.name)
        name = (path.stem if path.suffix == ".npz" else path.name) or "index"
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names


def _subject(diagnosis: Diagnosis) -> str:
    documents = ", ".join(f"{number:,} {plural(modality)}" for modality, number in diagnosis.documents.items())
    taken = ""
    if dict(diagnosis.sampled) != dict(diagnosis.documents):
        parts = ", ".join(f"{number:,} {plural(modality)}" for modality, number in diagnosis.sampled.items())
        taken = f" Distances and distributions are those of a sample: {parts}; searches use all documents."
    return f"{documents}; {who_asks(diagnosis)}.{taken}"


def _footnote(diagnoses: Sequence[Diagnosis]) -> list[str]:
    first = diagnoses[0]
    return [
        "cosine: the raw cosine. standardized: cosine minus the mean best cosine of the modality, divided by its "
        "standard deviation (Yamashita et al. 2025). chance: the centred cosine, corrected for hubs, above the level "
        "that the best of all documents reaches by chance.",
        f"First hits: {first.k}. Intervals: paired bootstrap over questions, 95%. Samples are drawn with the seed "
        f"{first.seed}.",
    ]
