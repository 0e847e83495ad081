"""The tables behind the default method of ``calibrate``; what they say is in docs/chance.md.

python benchmarks/methods.py --data DIR                      the library's methods on the .npz benchmarks of a folder
python benchmarks/methods.py --photos FILE --elsewhere FILE  the chance level and its variants on draws of photos

Prints Markdown. A text ratio is the MRR@20 of text questions, divided by that of raw cosine; an image ratio that of
image questions, divided by that of images alone by raw cosine. "min" is the smaller of the two, averaged over draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from chance_draws import SCENARIOS, STRANGE, Draw, Photos, Settings, draw
from chance_variants import CONTENDERS, DEFAULT, scores

from commonscale import IMAGE, TEXT
from commonscale.core.types import Floats, Modality, Vector
from commonscale.evaluation import METHODS, Benchmark, score_methods
from commonscale.evaluation.compare import compare

RESAMPLES = 1000
KINDS = (TEXT, IMAGE)
COLUMNS = ("text", "image", "min", "text R@20", "image R@20")
LEFT_OUT = ("labeled", "text-only")


def main() -> None:
    """Measure on files, on draws, or on both."""
    parser = argparse.ArgumentParser(description="methods side by side, with paired bootstrap intervals")
    parser.add_argument("--data", type=Path, help="folder of .npz benchmarks")
    parser.add_argument("--photos", type=Path, help=".npz of photos to draw from: image (n, d), text (n, 5, d)")
    parser.add_argument("--elsewhere", type=Path, help="the same of other photos")
    parser.add_argument("--passages", type=Path, help=".npz whose `vectors` are passages of another domain")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scenarios", nargs="+", help="only these")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), help="only these")
    arguments = parser.parse_args()
    if arguments.data is not None:
        measure_files(sorted(arguments.data.glob("*.npz")))
    if arguments.photos is not None:
        strangers = None
        if arguments.passages is not None:
            with np.load(arguments.passages, allow_pickle=False) as arrays:
                strangers = arrays["vectors"]
        wanted = SCENARIOS | (STRANGE if strangers is not None else {})
        wanted = {name: wanted[name] for name in arguments.scenarios or wanted}
        photos, elsewhere = Photos.load(arguments.photos), Photos.load(arguments.elsewhere)
        measure_draws(photos, elsewhere, strangers, wanted, arguments.seeds, arguments.contenders)


def measure_files(paths: Sequence[Path]) -> None:
    """Print every method's figures on benchmark files, and what each has more than the first paper's."""
    chosen = [name for name in METHODS if name not in LEFT_OUT]
    for path in paths:
        values = score_methods(Benchmark.load(path), chosen)
        comparison = compare(values)
        print(f"\n### {path.stem}\n")
        print("| method | text R@1/5/20, MRR@20 | image R@1/5/20, MRR@20 | text / image / min | min - standardized |")
        print("| --- | --- | --- | --- | --- |")
        for name, by_modality in values.items():
            cells = []
            for modality in KINDS:
                of = by_modality[modality].means() if modality in by_modality else None
                parts = [f"{of[f'recall@{k}']:.3f}" for k in (1, 5, 20)] if of else []
                cells.append(f"{'/'.join(parts)}, {of['mrr@20']:.3f}" if of else "")
            balance = comparison.balance.get(name, {})
            ratios = " / ".join(f"{balance[key].value:.3f}" for key in (*KINDS, "smaller")) if balance else ""
            gain = balance.get("smaller minus standardized")
            bounds = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" if gain and gain.low is not None else ""
            print(f"| {name} | {cells[0]} | {cells[1]} | {ratios} | {bounds} |", flush=True)


def measure_draws(
    photos: Photos,
    elsewhere: Photos,
    strangers: Vector | None,
    wanted: Mapping[str, Settings],
    seeds: Sequence[int],
    contenders: Sequence[str],
) -> None:
    """Print every contender's ratios on draws, and what each has more than the default, by paired bootstrap.

    Photos are resampled, and all questions about one with it in all draws, since draws share photos.
    """
    chosen = {name: CONTENDERS[name] for name in dict.fromkeys([DEFAULT, *contenders])}
    weights = _resampled(len(photos.images))
    totals: dict[str, Floats] = {name: np.zeros((len(weights), len(COLUMNS))) for name in chosen}
    for title, settings in wanted.items():
        means: dict[str, Floats] = {name: np.zeros((len(weights), len(COLUMNS))) for name in chosen}
        for seed in seeds:
            case = draw(photos, elsewhere, strangers, settings, seed)
            for name, figures in _figures(case, scores(case, chosen), weights):
                means[name] += figures / len(seeds)
        _print(title, means)
        for name, figures in means.items():
            totals[name] += figures / len(wanted)
    _print(f"mean of {len(wanted)} scenarios", totals)


def _figures(
    case: Draw, found: Mapping[str, Mapping[Modality, Floats]], weights: Floats
) -> Iterator[tuple[str, Floats]]:
    """Yield each contender's ratios (B, 5) on all questions (first row) and on resamples of them."""
    relevant = {m: case.items[:, None] == case.owners[m] for m in KINDS}
    relevant[TEXT][~case.wants_text] = False
    relevant[IMAGE][case.wants_text] = False
    cosines = {m: (case.questions @ case.documents[m].T).astype(np.float64) for m in KINDS}
    drawn = weights[:, case.items]
    raw = _means(_metrics(cosines, relevant), case, drawn)
    alone = _means(_metrics({TEXT: cosines[TEXT] - 4.0, IMAGE: cosines[IMAGE]}, relevant), case, drawn)
    for name, by_modality in found.items():
        own = _means(_metrics(by_modality, relevant), case, drawn)
        text, image = own[:, 0, 0] / raw[:, 0, 0], own[:, 0, 1] / alone[:, 0, 1]
        recall = own[:, 1, 0] / raw[:, 1, 0], own[:, 1, 1] / alone[:, 1, 1]
        yield name, np.stack([text, image, np.minimum(text, image), *recall], axis=1)


def _metrics(found: Mapping[Modality, Floats], relevant: Mapping[Modality, npt.NDArray[np.bool_]]) -> Floats:
    """Give MRR@20 and Recall@20 (2, Q); equal scores in the order of the documents, texts first."""
    every = np.hstack([found[m] for m in KINDS])
    near = np.sort(np.argpartition(-every, 39, axis=1)[:, :40], axis=1)
    order = np.argsort(-np.take_along_axis(every, near, axis=1), axis=1, kind="stable")[:, :20]
    order = np.take_along_axis(near, order, axis=1)
    wanted = np.hstack([relevant[m] for m in KINDS])
    hits = np.take_along_axis(wanted, order, axis=1)
    first = np.where(hits.any(axis=1), 1.0 / (1 + hits.argmax(axis=1)), 0.0)
    return np.stack([first, hits.sum(axis=1) / wanted.sum(axis=1)])


def _means(metrics: Floats, case: Draw, drawn: Floats) -> Floats:
    """Average metrics (2, Q) over text and over image questions, for all questions and resamples: (B, 2, 2)."""
    by_kind = [drawn[:, of] @ metrics[:, of].T / drawn[:, of].sum(axis=1, keepdims=True) for of in _kinds(case)]
    return np.stack(by_kind, axis=2)


def _kinds(case: Draw) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    return case.wants_text, ~case.wants_text


def _resampled(count: int) -> Floats:
    """Give how often each photo counts: once in the first row, as often as it is drawn in the others."""
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return np.vstack([np.ones(count), drawn])


def _print(title: str, means: Mapping[str, Floats]) -> None:
    print(f"\n### {title}\n\n| method | {' | '.join(COLUMNS)} | min - {DEFAULT} |")
    print(f"| --- |{' --- |' * (len(COLUMNS) + 1)}")
    for name, figures in means.items():
        more = figures[:, 2] - means[DEFAULT][:, 2]
        low, high = np.quantile(more[1:], (0.025, 0.975))
        gain = "" if name == DEFAULT else f"{more[0]:+.3f} [{low:+.3f}, {high:+.3f}]"
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in figures[0])} | {gain} |", flush=True)


if __name__ == "__main__":
    main()
