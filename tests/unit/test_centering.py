from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale import Centering, Question
from commonscale.core.errors import InvalidInputError
from sources import unit_rows


def world(seed: int = 0, dimension: int = 6) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    cone = rng.standard_normal(dimension)
    texts = rng.standard_normal((20, dimension)) + cone
    images = rng.standard_normal((15, dimension)) - cone
    return rng.standard_normal((12, dimension)) + cone, {"text": texts, "image": images}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@given(st.integers(0, 1000))
def test_it_subtracts_the_mean_of_unit_vectors_and_renormalizes(seed: int) -> None:
    questions, documents = world(seed)
    centering = Centering.fit(questions, documents)
    for role, rows in {"question": questions, **documents}.items():
        expected = unit(unit(rows) - unit(rows).mean(axis=0))
        np.testing.assert_allclose(centering.center(rows, role), expected, atol=2e-6)


def test_batches_questions_and_norms_make_no_difference() -> None:
    questions, documents = world()
    whole = Centering.fit(questions, documents)
    asked = [Question(vector=(3 * row).astype(np.float32)) for row in questions]
    parted = Centering.fit(asked, {m: iter([rows[:7], rows[7:]]) for m, rows in documents.items()})
    for modality in documents:
        np.testing.assert_allclose(parted.documents[modality], whole.documents[modality], atol=1e-7)
        np.testing.assert_allclose(parted.questions[modality], whole.questions[modality], atol=1e-7)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_a_blend_loses_the_blend_of_the_means(alpha: float) -> None:
    questions, documents = world()
    centering = Centering.fit(questions, documents)
    t, i = documents["text"][:5], documents["image"][:5]
    means = [unit(documents[m]).mean(axis=0) for m in ("text", "image")]
    expected = unit(alpha * unit(t) + (1 - alpha) * unit(i) - (alpha * means[0] + (1 - alpha) * means[1]))
    np.testing.assert_allclose(centering.blend(t, i, alpha), expected, atol=2e-6)


def test_the_ends_of_a_blend_are_the_modalities_themselves() -> None:
    questions, documents = world()
    centering = Centering.fit(questions, documents)
    t, i = documents["text"][:5], documents["image"][:5]
    np.testing.assert_allclose(centering.blend(t, i, 1.0), centering.center(t, "text"), atol=1e-6)
    np.testing.assert_allclose(centering.blend(t, i, 0.0), centering.center(i, "image"), atol=1e-6)


def test_encoders_of_their_own_have_question_means_of_their_own() -> None:
    rng = np.random.default_rng(0)
    pairs = [Question(vectors={"text": unit_rows(rng, 1, 4)[0], "image": unit_rows(rng, 1, 8)[0]}) for _ in range(9)]
    centering = Centering.fit(pairs, {"text": unit_rows(rng, 9, 4), "image": unit_rows(rng, 9, 8)})
    assert centering.center(pairs[0].vectors["image"][None], "question", "image").shape == (1, 8)
    with pytest.raises(InvalidInputError, match="say with modality="):
        centering.center(pairs[0].vectors["image"][None], "question")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.center(np.ones((1, 6)), "video"), r"roles \['question', 'text', 'image'\], not 'video'"),
        (lambda c: c.center(np.ones((1, 5)), "text"), "dimension 5, the means of this centering 6"),
        (lambda c: c.center(np.zeros((1, 6)), "text"), "have no direction"),
        (lambda c: c.center(np.ones(6), "text"), r"shape \(n, d\)"),
        (lambda c: c.blend(np.ones((1, 6)), np.ones((2, 6))), "pair up"),
        (lambda c: c.blend(np.ones((1, 6)), np.ones((1, 6)), alpha=1.5), r"in \[0, 1\], got 1.5"),
        (lambda c: Centering({}, {}), "for every modality"),
        (lambda c: Centering({"question": np.ones(2)}, {"question": np.ones(2)}), "cannot be called 'question'"),
        (lambda c: Centering({"text": np.ones(2)}, {"text": np.ones(3)}), "finite vectors"),
        (lambda c: Centering.fit(np.empty((0, 3)), {"text": np.ones((1, 3))}), "at least one of the questions"),
        (lambda c: Centering.fit(np.ones((2, 3)), {"text": iter([])}), "at least one of the documents of 'text'"),
    ],
)
def test_what_cannot_be_used_is_refused(call, message: str) -> None:
    centering = Centering.fit(*world())
    with pytest.raises(InvalidInputError, match=message):
        call(centering)


def test_the_mean_itself_has_no_direction() -> None:
    centering = Centering.fit(np.ones((1, 3)), {"text": np.array([[1.0, 0.0, 0.0]])})
    with pytest.raises(InvalidInputError, match="centred text vector"):
        centering.center([[2.0, 0.0, 0.0]], "text")
