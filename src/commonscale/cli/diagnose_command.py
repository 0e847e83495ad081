"""``commonscale diagnose``: the gap of benchmarks and of the user's own indexes, in numbers, figures and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from commonscale.cli.console import output, say
from commonscale.cli.questions import read_questions
from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.core.types import Question
from commonscale.diagnostics import Material, diagnose, print_diagnosis, write_diagnoses
from commonscale.embedding.manifest import has_shards
from commonscale.evaluation import Benchmark
from commonscale.index.opening import encoder_for, has_index, open_filled_index
from commonscale.index.scale import banked_questions

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder


@dataclass(frozen=True, slots=True)
class Settings:
    """How to diagnose.

    Attributes:
        k: how many first hits to look at.
        documents: most documents to take distributions from.
        seed: of every sample.
    """

    k: int
    documents: int
    seed: int


def diagnose_all(
    targets: Sequence[Path],
    questions: Path | None,
    out: Path,
    settings: Settings,
    encoder: str | None,
    device: str | None,
) -> None:
    """Diagnose benchmarks and indexes, print what is found, and write data, figures and a page.

    Args:
        targets: ``.npz`` benchmarks, folders of indexes, and folders of shards.
        questions: unlabeled questions for the folders; see ``read_questions``. None for those that an index was
            calibrated with.
        out: where the files go.
        settings: how to diagnose.
        encoder: where the encoder of the folders is now, if it has moved.
        device: as for ``load_encoder``.

    Raises:
        CommonscaleError: if a target, the questions or the encoder cannot be used; nothing is then written.
        MissingExtraError: if matplotlib or Jinja is not installed; before anything is measured.
    """
    for package in ("matplotlib", "jinja2"):
        require(package, "report")
    chosen = list(dict.fromkeys(targets))
    texts = read_questions(questions) if questions is not None else []
    found = []
    for target in chosen:
        material = _material(target, texts, settings, encoder, device)
        found.append(diagnose(material, k=settings.k, tell=partial(_tell, target)))
        print_diagnosis(found[-1], output())
    files = write_diagnoses(found, out)
    say(f"Wrote {files[0]}, {files[1]} and {len(files) - 2} figures beside it.")


def _material(target: Path, texts: list[str], settings: Settings, encoder: str | None, device: str | None) -> Material:
    if not target.is_dir():
        return Material.of_benchmark(Benchmark.load(target), documents=settings.documents, seed=settings.seed)
    if has_shards(target) and not has_index(target):
        from commonscale.cli.shards import encoder_of, shards_to_calibrate
        from commonscale.embedding import ShardSource

        if not texts:
            raise _without_questions(target)
        shards = shards_to_calibrate(target)
        asked = _embedded(texts, encoder_of(shards, encoder, device))
        sources = ShardSource.all_of(shards)
        counts = {modality: shards.counts[modality] for modality in sources}
        return Material.of_sources(
            str(target), asked, sources, counts, documents=settings.documents, seed=settings.seed
        )
    index = open_filled_index(target)
    asked = _embedded(texts, encoder_for(index, encoder, device)) if texts else banked_questions(index)
    if not asked:
        raise _without_questions(target)
    counts = {modality: len(index.documents(modality)) for modality in index.modalities}
    return Material.of_sources(
        str(target), asked, index.sources(), counts, documents=settings.documents, seed=settings.seed
    )


def _without_questions(target: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{target}: holds documents, but no questions that it was calibrated with; give questions as users ask them, "
        f"one per line, with --questions FILE (at least 50, better 100 or more; no answers are needed)"
    )


def _tell(target: Path, step: str) -> None:
    say(f"{target}: {step} ...")


def _embedded(texts: list[str], model: BatchedEncoder) -> list[Question]:
    say(f"Embedding {len(texts)} questions ...")
    return [Question(text, vector) for text, vector in zip(texts, model.encode_questions(texts), strict=True)]
