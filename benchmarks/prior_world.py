"""What benchmarks/priors.py measures on: real questions of two kinds, and real rankings that a prior shifts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from commonscale import IMAGE, TEXT, JointSearch, Question
from commonscale.core.types import Floats
from commonscale.encoders import load_encoder
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.sources import document_id
from commonscale.priors import best_scores

DEPTH = 20
PHOTO_SETS = ("photo-encoder-0", "photo-encoder-1", "photo-encoder-2")


@dataclass(frozen=True)
class Wordings:
    """Real questions of MultiModalQA's development set that want one passage or one picture.

    Attributes:
        questions: with the vectors of the text tower.
        wants_text: whether each wants a passage (n,).
        fingerprint: of the encoder.
    """

    questions: list[Question]
    wants_text: npt.NDArray[np.bool_]
    fingerprint: str

    @property
    def labels(self) -> list[str]:
        """The modality that each wants."""
        return [TEXT if wants else IMAGE for wants in self.wants_text]

    def pick(self, rows: npt.NDArray[np.intp]) -> tuple[list[Question], list[str]]:
        """Give questions and labels of some rows."""
        return [self.questions[row] for row in rows], [self.labels[row] for row in rows]


def load_wordings(shared: Path, cache: Path) -> Wordings:
    """Read the questions, and embed them or read their vectors from ``cache``."""
    with gzip.open(shared / "data/mmqa/MMQA_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    entries = [entry for entry in entries if entry["metadata"]["type"] in ("TextQ", "ImageQ")]
    texts = [entry["question"] for entry in entries]
    wants = np.array([entry["metadata"]["type"] == "TextQ" for entry in entries])
    if not cache.is_file():
        encoder = load_encoder(str(shared / "models/photo-dual-encoder"))
        np.savez(cache, vectors=encoder.encode_questions(texts), fingerprint=np.array(encoder.fingerprint))
    with np.load(cache, allow_pickle=False) as kept:
        vectors, fingerprint = kept["vectors"], str(kept["fingerprint"])
    return Wordings([Question(t, v) for t, v in zip(texts, vectors, strict=True)], wants, fingerprint)


@dataclass(frozen=True)
class Ranked:
    """The 20 best hits of every question in each modality: all that a shift of modalities can bring to the top 20.

    Attributes:
        wants_text: whether each question's relevant documents are passages (n,).
        scores: best first, by modality (n, 20).
        relevant: whether each hit is relevant, by modality (n, 20).
        best: best scores of the banked questions, by modality (C,).
        reached: reciprocal rank of each question that is compared with (n,): raw cosines of all documents for text
            questions, of images alone for image questions.
    """

    wants_text: npt.NDArray[np.bool_]
    scores: dict[str, Floats]
    relevant: dict[str, npt.NDArray[np.bool_]]
    best: dict[str, Floats]
    reached: Floats

    @property
    def both_kinds(self) -> bool:
        """Whether there are questions of both kinds."""
        return bool(self.wants_text.any() and not self.wants_text.all())

    def reciprocal_ranks(self, offsets: Floats) -> Floats:
        """Rank with ``offsets`` (n,) added to texts and taken off images; give reciprocal ranks up to 20 (n,)."""
        joined = np.hstack([self.scores[TEXT] + offsets[:, None], self.scores[IMAGE] - offsets[:, None]])
        hits = np.hstack([self.relevant[TEXT], self.relevant[IMAGE]])
        order = np.argsort(-joined, axis=1, kind="stable")[:, :DEPTH]
        return _reciprocal(np.take_along_axis(hits, order, axis=1))


def rank(path: Path, method: str = "chance") -> Ranked:
    """Calibrate on a benchmark's bank with a method, and rank each modality apart."""
    benchmark = Benchmark.load(path)
    search = JointSearch(benchmark.sources)
    search.calibrate(benchmark.bank, method=method)
    wanted: list[set[str]] = [set() for _ in benchmark.asked]
    pairs = benchmark.relevant
    for question, modality, row in zip(pairs.questions, pairs.modalities, pairs.documents, strict=True):
        wanted[question].add(document_id(str(modality), int(row)))
    wants_text = np.zeros(len(wanted), dtype=bool)
    wants_text[pairs.questions[pairs.modalities == TEXT]] = True
    scores, relevant = {}, {}
    for modality in (TEXT, IMAGE):
        rankings = search.only(modality).search_batch(benchmark.asked, DEPTH)
        scores[modality] = np.array([[hit.score for hit in ranking] for ranking in rankings])
        relevant[modality] = _relevant([ranking.ids for ranking in rankings], wanted)
    raw = _relevant([r.ids for r in search.search_batch(benchmark.asked, DEPTH, raw=True)], wanted)
    alone = _relevant([r.ids for r in search.only(IMAGE).search_batch(benchmark.asked, DEPTH, raw=True)], wanted)
    reached = np.where(wants_text, _reciprocal(raw), _reciprocal(alone))
    return Ranked(wants_text, scores, relevant, best_scores(search, benchmark.bank), reached)


def log_odds(wants_text: npt.NDArray[np.bool_], auc: float, rng: np.random.Generator) -> Floats:
    """Simulate calibrated log-odds of text (n,) that tell the two kinds apart with a given AUC.

    Binormal: N(d^2/2, d^2) for text, N(-d^2/2, d^2) for image questions with d = sqrt(2) PhiInv(AUC) is its own
    log-likelihood ratio. An AUC of 1 gives infinite log-odds.
    """
    signs = np.where(wants_text, 1.0, -1.0)
    if auc >= 1.0:
        return np.asarray(signs * np.inf)
    distance = np.sqrt(2.0) * NormalDist().inv_cdf(auc)
    return np.asarray(signs * distance**2 / 2 + distance * rng.standard_normal(len(signs)))


def transplanted(
    ranked: Ranked, wordings: Wordings, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Give each question a real wording of its kind: rows of wordings to learn from, and to ask with (n,).

    Half of the wordings of each kind are for learning; the other half are drawn, with repetition, for the questions.
    """
    learn, ask = [], np.empty(len(ranked.wants_text), dtype=np.intp)
    for wants in (True, False):
        rows = rng.permutation(np.flatnonzero(wordings.wants_text == wants))
        half = len(rows) // 2
        learn.append(rows[:half])
        kind = ranked.wants_text == wants
        ask[kind] = rng.choice(rows[half:], int(kind.sum()))
    return rng.permutation(np.concatenate(learn)), ask


def _relevant(ids: Sequence[Sequence[str]], wanted: Sequence[set[str]]) -> npt.NDArray[np.bool_]:
    return np.array([[key in want for key in found] for found, want in zip(ids, wanted, strict=True)])


def _reciprocal(hits: npt.NDArray[np.bool_]) -> Floats:
    return np.where(hits.any(axis=1), 1.0 / (1.0 + hits.argmax(axis=1)), 0.0)
