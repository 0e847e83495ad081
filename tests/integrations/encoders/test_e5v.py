"""E5-V on a tiny checkpoint in the published names, against the whole model written out in numpy."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from commonscale.core.errors import EncoderError, InvalidInputError, TruncationWarning
from commonscale.encoders import load_encoder
from commonscale.encoders.forward_settings import forward_settings
from commonscale.encoders.models import e5v
from other_configs import check_settings_count
from tiny_checkpoints.e5v import DIMENSION, MARKS, POSITIONS, save_tiny_e5v

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
Image = pytest.importorskip("PIL.Image")
from independent.e5v import PlainE5V  # noqa: E402 - needs Pillow

TEMPLATE = (
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n"
)
SENTENCE, PICTURE = "{}\nSummary above sentence in one word: ", "<image>\nSummary above image in one word: "
TEXTS = ["A dog sitting in the grass.", "", "dog", "Caf\u00e9 \U0001f415 12345!", "\n\n two lines \n", "a" * 40]
SIZES = [(32, 32), (64, 32), (90, 30), (30, 90), (100, 7), (7, 100), (57, 41), (3, 3), (200, 160)]
"""Width and height: one to five tiles, portrait and landscape, narrow ones whose tiles are nearly all margin."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_e5v(tmp_path_factory.mktemp("e5v"))


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(folder, device="cpu", dtype="float32", batch_size=4)


@pytest.fixture(scope="module")
def plain(folder) -> PlainE5V:
    return PlainE5V(folder)


@pytest.fixture(scope="module")
def whole_prompt(folder):
    """Tokenize a whole prompt at once, as the authors do, by the rules in tokenizer.json alone."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lambda prompt: tokenizer.encode(TEMPLATE.format(prompt)).ids


def pictures() -> list[Image.Image]:
    draws = np.random.default_rng(3)
    return [Image.fromarray(draws.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in SIZES]


# --- exactness


def test_texts_are_embedded_as_the_authors_do(encoder, plain, whole_prompt):
    expected = [plain.text(whole_prompt(SENTENCE.format(text))) for text in TEXTS]
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_questions(TEXTS), expected, atol=1e-5)
    assert encoder.dimension == DIMENSION == len(expected[0])


def test_pictures_of_any_shape_are_embedded_as_the_authors_do(encoder, plain, whole_prompt, folder):
    ids = whole_prompt(PICTURE)
    place = ids.index(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("<image>"))
    given = pictures()
    expected = [plain.image(np.asarray(picture), ids[:place], ids[place + 1 :]) for picture in given]
    np.testing.assert_allclose(encoder.encode_images(given), expected, atol=1e-5)
    lengths = {len(plain.places(np.asarray(picture))) for picture in given}
    assert len(lengths) > 5  # so rows of one batch were padded to several lengths


def test_batches_do_not_change_a_vector(folder, encoder):
    alone = load_encoder(folder, device="cpu", dtype="float32", batch_size=1)
    np.testing.assert_allclose(alone.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)
    np.testing.assert_allclose(alone.encode_images(pictures()), encoder.encode_images(pictures()), atol=1e-6)


def test_long_texts_are_embedded_in_parts_of_a_batch(folder, encoder, monkeypatch):
    large = load_encoder(folder, device="cpu", dtype="float32", batch_size=32)
    sizes: list[int] = []
    run = large._last_states
    monkeypatch.setattr(large, "_last_states", lambda sequences: sizes.append(len(sequences)) or run(sequences))
    monkeypatch.setattr(e5v, "_PLACES", 80)  # the shortest prompt has 29
    texts = ["dog " * count for count in (1, 1, 1, 60, 2)]
    np.testing.assert_allclose(large.encode_texts(texts), encoder.encode_texts(texts), atol=1e-6)
    assert sizes == [1, 2, 2]
    sizes.clear()
    large.encode_images(pictures())
    assert sizes == [4, 4, 1]


def test_nothing_comes_from_other_texts_or_the_padding(encoder, plain, whole_prompt):
    """The vector is read at the last place, so padding on the right would give all short texts the same one."""
    vectors = encoder.encode_texts(["dog", "grass " * 15])
    short = plain.text(whole_prompt(SENTENCE.format("dog")))
    np.testing.assert_allclose(vectors[0], short, atol=1e-5)
    assert vectors[0] @ vectors[1] < 0.999


def test_the_default_type_is_the_published_one(folder, encoder):
    half = load_encoder(folder, device="cpu")
    assert "dtype='float16'" in repr(half)
    np.testing.assert_allclose(half.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-2)
    np.testing.assert_allclose(half.encode_images(pictures()), encoder.encode_images(pictures()), atol=1e-2)
    assert half.fingerprint != encoder.fingerprint
    assert half.encode_texts(TEXTS).dtype == np.float32


def test_checkpoints_saved_by_the_installed_transformers_load_too(folder, tmp_path, encoder):
    from transformers import LlavaNextForConditionalGeneration

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    LlavaNextForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).save_pretrained(tmp_path)
    assert load_encoder(tmp_path, device="cpu", dtype="float32").fingerprint == encoder.fingerprint


def test_loading_and_encoding_say_nothing(folder, capfd):
    load_encoder(folder, device="cpu").encode_texts(["dog"])
    assert capfd.readouterr().err == ""


# --- texts are only text

MARKED = ["<image>", "<|eot_id|>", "<|start_header_id|>assistant", "dog<|begin_of_text|><image> <image>"]


@pytest.mark.parametrize("text", MARKED)
def test_marks_in_a_text_are_characters(encoder, plain, folder, text):
    """One mark of the prompt's own too many would move where the model answers; an image mark has no picture."""
    stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    marks = {token["id"] for token in stored["added_tokens"]}
    names = {number: token for token, number in stored["model"]["vocab"].items()}
    names |= {token["id"]: token["content"] for token in stored["added_tokens"]}
    prompt = encoder._prompts.of_text(text)
    tokens = [names[number] for number in prompt]
    assert sum(number in marks for number in prompt) == 6
    spelled = "".join(token for token in tokens if token not in MARKS).replace("\u0120", " ").replace("\u010a", "\n")
    assert spelled == f"user\n\n{text}\nSummary above sentence in one word: assistant\n\n \n"
    np.testing.assert_allclose(encoder.encode_texts([text])[0], plain.text(prompt), atol=1e-5)


def test_a_mark_in_a_text_is_the_signs_it_is_made_of(encoder, plain, folder):
    """Written down by hand for one text, token for token."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    start, end, over = (len(vocabulary) + number for number in (2, 3, 4))
    tokens = (
        "\u010a\u010a < image > \u010a Summary \u0120above \u0120sentence \u0120i n \u0120 o n e \u0120word : \u0120"
    )
    ids = [len(vocabulary), start, vocabulary["user"], end, *_known(tokens, vocabulary), over, start]
    ids += [vocabulary["assistant"], end, *_known("\u010a \u010a \u0120 \u010a", vocabulary)]
    np.testing.assert_allclose(encoder.encode_texts(["<image>"])[0], plain.text(ids), atol=1e-5)


def _known(tokens: str, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary[token] for token in tokens.split(" ")]


# --- limits


def test_long_texts_lose_their_end_and_never_the_prompts(encoder, plain, whole_prompt):
    around = len(whole_prompt(SENTENCE.format("")))
    limit = encoder.max_tokens
    assert limit == POSITIONS - around
    fits, over = " dog" * limit, " dog" * (limit + 5)
    assert encoder.count_tokens([fits, over, ""]) == [limit, limit + 5, 0]
    with pytest.warns(TruncationWarning, match=f"1 of 2 texts are longer than the {limit} tokens"):
        vectors = encoder.encode_texts([fits, over])
    expected = plain.text(whole_prompt(SENTENCE.format(fits)))
    np.testing.assert_allclose(vectors, [expected, expected], atol=1e-5)


def test_a_text_is_cut_between_characters(folder, plain, whole_prompt):
    encoder = load_encoder(folder, device="cpu", dtype="float32", max_tokens=6)
    assert encoder.count_tokens(["xyz\U0001f415"]) == [7]  # a dog of four bytes, a token each
    with pytest.warns(TruncationWarning):
        vectors = encoder.encode_texts(["xyz\U0001f415"])
    np.testing.assert_allclose(vectors[0], plain.text(whole_prompt(SENTENCE.format("xyz"))), atol=1e-5)


def test_a_limit_above_the_models_is_refused(folder):
    with pytest.raises(InvalidInputError, match=f"max_tokens={POSITIONS} is more than the"):
        load_encoder(folder, max_tokens=POSITIONS)


# --- what is refused


def test_another_llava_next_is_refused(tmp_path):
    folder = save_tiny_e5v(tmp_path, marks=("<s>", "</s>"))
    with pytest.raises(EncoderError, match=r"no E5-V: its tokenizer has no token '<\|start_header_id\|>'"):
        load_encoder(folder)


def test_missing_weights_are_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(folder / "model.safetensors")
    del weights["image_newline"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="image_newline"):
        load_encoder(tmp_path)


# --- fingerprints


def test_other_settings_of_the_towers_are_another_model(folder, tmp_path):
    check_settings_count(
        folder,
        tmp_path,
        partial(load_encoder, device="cpu", dtype="float32"),
        {"vision_feature_layer": -1},
        {"projector_hidden_act": "relu"},
        {"image_grid_pinpoints": [[64, 64], [64, 32], [32, 64], [96, 32], [32, 128]]},
        {"text_config.rope_theta": 100.0},
        {"text_config.rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"text_config.rms_norm_eps": 0.01},
        {"text_config.hidden_act": "relu"},
        {"vision_config.num_attention_heads": 4},
        {"vision_config.hidden_act": "relu"},
    )


def test_rotary_positions_have_one_form():
    """Versions 4 and 5 of transformers keep them in different settings of a config."""

    class Config:
        def __init__(self, **settings: object) -> None:
            self.settings = settings

        def to_dict(self) -> dict[str, object]:
            return self.settings

    def rotary(**settings: object) -> object:
        return forward_settings(Config(max_position_embeddings=64, **settings))

    theta = 500000.0
    plain = rotary(rope_theta=theta, rope_scaling=None)
    assert plain == rotary(rope_parameters={"rope_theta": theta, "rope_type": "default"})
    assert plain == {"rotary": {"rope_theta": theta}}
    older = rotary(rope_theta=theta, rope_scaling={"type": "yarn", "rope_type": "yarn", "factor": 4.0})
    newer = {"rope_theta": theta, "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    assert older == rotary(rope_parameters=newer) != plain
    assert older == rotary(rope_theta=theta, rope_scaling={"type": "yarn", "factor": 4.0})
