"""The blocks of docs/priors.md run, and do what stands beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("llama_index.core", "langchain_core", "torch", "PIL", "sklearn"):
    pytest.importorskip(package)

from commonscale import JointSearch, Question, load_encoder  # noqa: E402
from commonscale.demo import ENCODER_FOLDER, build_world  # noqa: E402
from commonscale.priors import LabeledPrior, SelfTaughtPrior  # noqa: E402
from sources import ArraySource  # noqa: E402

DOCUMENT = (Path(__file__).parents[2] / "docs/priors.md").read_text(encoding="utf-8")


def block(heading: str) -> str:
    """Give the first block below a heading; the first of all where it is empty."""
    rest = DOCUMENT[DOCUMENT.index(heading) :]
    found = re.search(r"```python\n(.*?)```", rest, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("heading", ["## From a LlamaIndex retriever", "## From a LangChain retriever"])
def test_a_prior_is_learned_from_a_retriever(heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block(heading), "docs/priors.md", "exec"), names)
    retriever, labeled, taught = names["retriever"], names["prior"], names["retriever"].prior
    assert isinstance(labeled, LabeledPrior)
    assert isinstance(taught, SelfTaughtPrior)
    assert labeled.facts["labels"] == len(names["world"].entries)
    # As the document says: wording tells nothing.
    assert labeled.flat
    assert taught.flat
    gains = re.search(r"gain ([\d.]+) ± ([\d.]+), ([\d.]+)%", DOCUMENT)
    assert gains is not None
    told = [float(gains[1]), float(gains[2]), float(gains[3]) / 100]
    assert [taught.facts[name] for name in ("gain", "gain_error", "gain_share")] == pytest.approx(told, abs=0.001)
    assert (retriever.invoke if hasattr(retriever, "invoke") else retriever.retrieve)("a boat")
    if "load_prior" in names:
        kept = names["load_prior"]("prior.json")
        assert kept.method == retriever.calibration.method
        np.testing.assert_array_equal(kept.weights, labeled.weights)


def test_a_prior_is_learned_from_an_encoder_and_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world, encoder = build_world(), load_encoder(ENCODER_FOLDER)
    entries = world.entries[:60]
    # Passages in both: what the scale is of does not matter here.
    passages = {"text": list(world.passages.values())[:50], "image": list(world.passages.values())[50:100]}
    sources = {m: ArraySource(texts, encoder.encode_texts(texts), m) for m, texts in passages.items()}
    search = JointSearch(sources)
    bank = list(world.calibration_questions[:50])
    vectors = encoder.encode_questions(bank)
    search.calibrate([Question(*pair) for pair in zip(bank, vectors, strict=True)], method="standardized")
    names: dict[str, Any] = {
        "encoder": encoder,
        "texts": [entry.question for entry in entries],
        "labels": [entry.modality for entry in entries],
        "search": search,
    }
    exec(compile(block(""), "docs/priors.md", "exec"), names)
    assert isinstance(search.prior, LabeledPrior)
    assert search.prior.method == "standardized"
    assert search.prior.encoder_fingerprint == encoder.fingerprint
