"""What a prior on modality knows, and what it adds to both kinds of questions; settings and findings in docs/priors.md.

python benchmarks/priors.py SHARED --cache FILE.npz [--only wording simulated strength transplanted self-taught]

SHARED is the folder of evaluation data: data/mmqa, data/*.npz and models/photo-dual-encoder. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from prior_world import PHOTO_SETS, Ranked, Wordings, load_wordings, log_odds, rank, transplanted
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from commonscale import IMAGE, TEXT, Question
from commonscale.core.types import Floats
from commonscale.encoders import Encoder, load_encoder
from commonscale.priors import LabeledPrior, LinearPrior, SelfTaughtPrior, ZeroShotPrior, strength_of
from commonscale.priors.fitting import fit_regression
from commonscale.priors.odds import centered
from commonscale.priors.self_taught import GRID
from commonscale.priors.vectors import features_of
from commonscale.priors.words import word_vectors
from commonscale.priors.zero_shot import PROMPTS

LABELS = (20, 50, 100, 500)
AUCS = (0.8, 0.9, 0.95, 0.98, 1.0)
DESCRIBED = {
    TEXT: (
        "a question whose answer is stated in a written passage",
        "a question about a fact, a name, a date or an event",
        "a question that an encyclopedia article answers",
    ),
    IMAGE: (
        "a question about what can be seen in a picture",
        "a question about a color, a shape or an object in a photo",
        "a question that is answered by looking at an image",
    ),
}
DRAWS = 20
SEEDS = 10
RESAMPLES = 2000
LIMIT = 6.0


def main() -> None:
    """Run the chosen parts."""
    parts: dict[str, Callable[[Path, Wordings], None]] = {
        "wording": wording,
        "simulated": simulated,
        "strength": strength,
        "transplanted": transplanted_wordings,
        "self-taught": self_taught,
    }
    parser = argparse.ArgumentParser(description="priors on modality, measured")
    parser.add_argument("shared", type=Path, help="folder of evaluation data")
    parser.add_argument("--cache", type=Path, required=True, help="where the questions' vectors are kept (.npz)")
    parser.add_argument("--only", nargs="+", choices=list(parts), default=list(parts))
    arguments = parser.parse_args()
    wordings = load_wordings(arguments.shared, arguments.cache)
    for name in arguments.only:
        print(f"\n## {name}\n")
        parts[name](arguments.shared, wordings)


def wording(shared: Path, wordings: Wordings) -> None:
    """Measure how well wording alone tells the kinds apart, with few and many labels."""
    print("| what | labels | AUC | Brier | ECE |\n| --- | --- | --- | --- | --- |")
    encoder = load_encoder(str(shared / "models/photo-dual-encoder"))
    examples = [(text, modality) for modality, texts in PROMPTS.items() for text in texts]
    extra = [
        Question(text, v)
        for (text, _), v in zip(examples, encoder.encode_questions([t for t, _ in examples]), strict=True)
    ]
    for count in LABELS:
        found: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(SEEDS):
            order = np.random.default_rng(seed).permutation(len(wordings.questions))
            train, test = order[:count], order[count:]
            asked, labels = wordings.pick(train)
            held, _ = wordings.pick(test)
            truth = wordings.wants_text[test]
            more, more_labels = asked + extra, labels + [m for _, m in examples]
            for name, prior in (
                ("embeddings", LabeledPrior.fit(asked, labels, modalities=(TEXT, IMAGE), words=False)),
                ("embeddings and words", LabeledPrior.fit(asked, labels, modalities=(TEXT, IMAGE))),
                (
                    "embeddings and words, 12 examples more",
                    LabeledPrior.fit(more, more_labels, modalities=(TEXT, IMAGE)),
                ),
                ("words", _words_alone(asked, labels)),
            ):
                seen = _words_only(held) if name == "words" else held
                found.setdefault(name, []).append(_quality(prior.probabilities(seen, _rates(labels))[:, 0], truth))
        for name, rows in found.items():
            print(f"| {name} | {count} | " + " | ".join(_range(column) for column in np.array(rows).T) + " |")
    for name, prompts in (("examples", PROMPTS), ("descriptions", DESCRIBED)):
        zero = ZeroShotPrior.fit(wordings.questions, encoder, prompts)
        shares = zero.probabilities(wordings.questions, _rates(wordings.labels))[:, 0]
        values = " | ".join(f"{value:.3f}" for value in _quality(shares, wordings.wants_text))
        print(f"| zero-shot, {name} as prompts | 0 | {values} |")
    base = np.full(len(wordings.questions), wordings.wants_text.mean())
    print("| the base rate | all | " + " | ".join(f"{v:.3f}" for v in _quality(base, wordings.wants_text)) + " |")


def simulated(shared: Path, _: Wordings) -> None:
    """Add simulated calibrated log-odds of a known AUC to the chance scale."""
    sets = {name: rank(shared / f"data/{name}.npz") for name in (*PHOTO_SETS, "coco-clip-b32")}
    print("| AUC | photo-encoder text | photo-encoder image | coco image |\n| --- | --- | --- | --- |")
    for auc in (0.5, *AUCS):
        photos = _ratios([_simulated(sets[name], auc) for name in PHOTO_SETS], [sets[name] for name in PHOTO_SETS])
        coco = _ratios([_simulated(sets["coco-clip-b32"], auc)], [sets["coco-clip-b32"]])
        print(f"| {auc} | {_interval(photos, 0)} | {_interval(photos, 1)} | {_interval(coco, 1)} |")
    photo = [sets[name] for name in PHOTO_SETS]
    print("\n| AUC | text | image | 2.5% bound of the smaller |\n| --- | --- | --- | --- |")
    for auc in (0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995):
        ratios = _ratios([_simulated(one, auc) for one in photo], photo)
        low = np.quantile(ratios[1:].min(axis=1), 0.025)
        print(f"| {auc} | {ratios[0, 0]:.3f} | {ratios[0, 1]:.3f} | {low:.3f} |")


def strength(shared: Path, _: Wordings) -> None:
    """Vary the strength, the limit and the scale."""
    photo = [rank(shared / f"data/{name}.npz") for name in PHOTO_SETS]
    fitted = [strength_of(one.best) for one in photo]
    print(f"strength fitted on the three photo-encoder sets: {np.round(fitted, 4).tolist()}\n")
    print("| strength | " + " | ".join(f"AUC {auc}" for auc in AUCS) + " |\n| --- |" + " --- |" * len(AUCS))
    for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0):
        cells = [_pair(_ratios([_simulated(one, auc, factor) for one in photo], photo)) for auc in AUCS]
        print(f"| x {factor} | " + " | ".join(cells) + " |")
    print("\n| limit (nats) | " + " | ".join(f"AUC {auc}" for auc in AUCS) + " |\n| --- |" + " --- |" * len(AUCS))
    for limit in (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0):
        cells = [_pair(_ratios([_simulated(one, auc, 1.0, limit) for one in photo], photo)) for auc in AUCS]
        print(f"| {limit} | " + " | ".join(cells) + " |")
    print("\n| scale | strength | AUC 0.5 | AUC 0.9 | AUC 0.98 | AUC 1.0 |\n| --- | --- | --- | --- | --- | --- |")
    for method in ("chance", "centered+standardized", "standardized", "centered"):
        ranked = [rank(shared / f"data/{name}.npz", method) for name in PHOTO_SETS]
        cells = [_pair(_ratios([_simulated(one, auc) for one in ranked], ranked)) for auc in (0.5, 0.9, 0.98, 1.0)]
        print(f"| {method} | {np.mean([strength_of(one.best) for one in ranked]):.3f} | " + " | ".join(cells) + " |")


def transplanted_wordings(shared: Path, wordings: Wordings) -> None:
    """Give the photo-encoder questions real wordings of their kind, and use real priors of these."""
    encoder = load_encoder(str(shared / "models/photo-dual-encoder"))
    photo = [rank(shared / f"data/{name}.npz") for name in PHOTO_SETS]
    found: dict[str, list[tuple[list[Floats], list[float]]]] = {}
    for seed in range(3):
        by_name: dict[str, tuple[list[Floats], list[float]]] = {}
        for ranked in photo:
            rng = np.random.default_rng(seed)
            learn, ask = transplanted(ranked, wordings, rng)
            held, _ = wordings.pick(ask)
            for name, prior in _priors(ranked, wordings, learn, encoder, rng).items():
                evidence = centered(prior.evidence(held), LIMIT)
                gained, aucs = by_name.setdefault(name, ([], []))
                gained.append(ranked.reciprocal_ranks(strength_of(ranked.best) * evidence[:, 0]))
                aucs.append(float(roc_auc_score(ranked.wants_text, evidence[:, 0])))
        for name, result in by_name.items():
            found.setdefault(name, []).append(result)
    print("| prior | AUC | text | image |\n| --- | --- | --- | --- |")
    for name, results in found.items():
        means = [np.mean([gained[place] for gained, _ in results], axis=0) for place in range(len(photo))]
        ratios = _ratios(means, photo)
        auc = np.mean([aucs for _, aucs in results])
        print(f"| {name} | {auc:.3f} | {_interval(ratios, 0)} | {_interval(ratios, 1)} |")


def self_taught(shared: Path, _: Wordings) -> None:
    """Fit the real self-taught prior on captions, whose wording says nothing of where their photo is kept."""
    with np.load(shared / "models/photo-test-embeddings.npz", allow_pickle=False) as arrays:
        vectors, captions = arrays["text"], arrays["captions"]
    print("| set | flat | gain, share of the base rate | text | image | followed anyway: text | image |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in PHOTO_SETS:
        ranked = rank(shared / f"data/{name}.npz")
        asked, bank = (
            [Question(str(t), v) for t, v in zip(captions[:, k], vectors[:, k], strict=True)] for k in (0, 1)
        )
        prior = SelfTaughtPrior.fit(bank, ranked.best)
        texts, images = ranked.best[TEXT], ranked.best[IMAGE]
        margins = np.abs(texts - images)
        seen = features_of(bank, None, words=True)
        fit = fit_regression(seen, (images > texts).astype(np.int64), 2, margins / margins.mean(), GRID)
        anyway = LinearPrior((TEXT, IMAGE), fit.weights, fit.intercept, strength=prior.strength, words=True)
        plain = ranked.reciprocal_ranks(np.zeros(len(asked)))
        cells = []
        for one in (prior, anyway):
            gained = ranked.reciprocal_ranks(one.offsets(asked)[TEXT])
            cells += [f"{_mean(gained, ranked, kind) - _mean(plain, ranked, kind):+.4f}" for kind in (True, False)]
        facts = prior.facts
        gain = f"{facts['gain']:.4f} ± {facts['gain_error']:.4f}, {facts['gain_share']:.1%}"
        print(f"| {name} | {prior.flat} | {gain} | " + " | ".join(cells) + " |")


def _priors(
    ranked: Ranked, wordings: Wordings, learn: npt.NDArray[np.intp], encoder: Encoder, rng: np.random.Generator
) -> dict[str, LinearPrior]:
    """Make every prior from the wordings to learn from; the self-taught one from winners of questions of their kind."""
    asked, labels = wordings.pick(learn)
    kinds = wordings.wants_text[learn]
    rows = np.empty(len(learn), dtype=np.intp)
    for wants in (True, False):
        rows[kinds == wants] = rng.permutation(np.flatnonzero(ranked.wants_text == wants))[
            : int((kinds == wants).sum())
        ]
    made: dict[str, LinearPrior] = {
        "none": LinearPrior((TEXT, IMAGE), np.zeros((2, len(asked[0].vector_for(TEXT)))), np.zeros(2)),
        "zero-shot": ZeroShotPrior.fit(asked, encoder),
        "self-taught": SelfTaughtPrior.fit(asked, {m: best[rows] for m, best in ranked.best.items()}),
    }
    made["self-taught, embeddings alone"] = SelfTaughtPrior.fit(
        asked, {m: best[rows] for m, best in ranked.best.items()}, words=False
    )
    for count in (20, 50, 100, len(asked)):
        made[f"{count} labels"] = LabeledPrior.fit(asked[:count], labels[:count], modalities=(TEXT, IMAGE))
    examples = [(text, modality) for modality, texts in PROMPTS.items() for text in texts]
    texts, more = [text for text, _ in examples], [modality for _, modality in examples]
    extra = [Question(t, v) for t, v in zip(texts, encoder.encode_questions(texts), strict=True)]
    made["100 labels, 12 examples more"] = LabeledPrior.fit(
        asked[:100] + extra, labels[:100] + more, modalities=(TEXT, IMAGE)
    )
    made[f"{len(asked)} labels, embeddings alone"] = LabeledPrior.fit(
        asked, labels, modalities=(TEXT, IMAGE), words=False
    )
    return made


def _words_alone(asked: Sequence[Question], labels: Sequence[str]) -> LabeledPrior:
    return LabeledPrior.fit(_words_only(asked), labels, modalities=(TEXT, IMAGE), words=False)


def _words_only(questions: Sequence[Question]) -> list[Question]:
    rows = word_vectors([question.text for question in questions]).astype(np.float32)
    return [Question(question.text, row) for question, row in zip(questions, rows, strict=True)]


def _rates(labels: Sequence[str]) -> dict[str, float]:
    return {modality: (labels.count(modality) + 1.0) / (len(labels) + 2.0) for modality in (TEXT, IMAGE)}


def _quality(shares: Floats, truth: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Give AUC, Brier score and expected calibration error (ten bins of equal counts)."""
    bins = np.array_split(np.argsort(shares, kind="stable"), 10)
    error = sum(len(rows) * abs(shares[rows].mean() - truth[rows].mean()) for rows in bins) / len(shares)
    return float(roc_auc_score(truth, shares)), float(((shares - truth) ** 2).mean()), float(error)


def _simulated(ranked: Ranked, auc: float, factor: float = 1.0, limit: float = LIMIT) -> Floats:
    """Give each question's reciprocal rank with simulated log-odds, averaged over draws (n,)."""
    worth = factor * strength_of(ranked.best)
    draws = 1 if auc in (0.5, 1.0) else DRAWS
    found = []
    for seed in range(draws):
        odds = np.clip(log_odds(ranked.wants_text, auc, np.random.default_rng(seed)), -limit, limit)
        found.append(ranked.reciprocal_ranks(worth * odds / 2))
    return np.asarray(np.mean(found, axis=0))


def _ratios(gained: Sequence[Floats], ranked: Sequence[Ranked]) -> Floats:
    """Give text and image ratios to what is compared with, mean of the sets: as measured, then of resamples (1 + B, 2).

    Sets of the same questions are resampled together, question by question.
    """
    rng = np.random.default_rng(0)
    count = len(ranked[0].wants_text)
    rows = [np.ones(count)] + [np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(RESAMPLES)]
    weights = np.array(rows, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        per_set = [
            [weights @ (ours * kind) / (weights @ (one.reached * kind)) for kind in (one.wants_text, ~one.wants_text)]
            for ours, one in zip(gained, ranked, strict=True)
        ]
    return np.asarray(np.mean(per_set, axis=0).T)


def _interval(ratios: Floats, column: int) -> str:
    low, high = np.quantile(ratios[1:, column], [0.025, 0.975])
    return f"{ratios[0, column]:.3f} [{low:.3f}, {high:.3f}]"


def _pair(ratios: Floats) -> str:
    return f"{ratios[0, 0]:.3f} / {ratios[0, 1]:.3f}"


def _range(values: Floats) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def _mean(values: Floats, ranked: Ranked, wants_text: bool) -> float:
    return float(values[ranked.wants_text == wants_text].mean())


if __name__ == "__main__":
    main()
