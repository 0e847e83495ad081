"""BLIP's contrastive pair against a NumPy computation from its published definition."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import EncoderError, TruncationWarning
from commonscale.encoders import load_encoder, load_image
from exactness import TEXTS, check_half_precision, check_picture, check_texts, encoded_texts
from independent.models import Blip
from independent.pictures import settings_of, squashed
from independent.tokens import WordPieces, cut
from odd_pictures import odd_pictures
from other_configs import check_settings_count
from tiny_checkpoints.blip import DIMENSION, TOKENS, save_tiny_blip

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")

PICTURES = odd_pictures()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(folder, device="cpu", batch_size=3)


@pytest.fixture(scope="module")
def model(folder) -> Blip:
    return Blip(folder)


@pytest.fixture(scope="module")
def ids(folder):
    tokens = WordPieces(folder)
    return lambda text: cut(tokens(text), TOKENS)


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# --- exactness


def test_texts(encoder, model, ids):
    check_texts(encoder, model, ids)


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.name for picture in PICTURES])
def test_pictures(encoder, model, folder, picture):
    pixels_of = partial(squashed, settings=settings_of(folder))
    check_picture(encoder, model, picture, pixels_of)
    prepared = encoder._prepare_image(load_image(picture.source))["pixel_values"].numpy()
    assert np.abs(prepared - pixels_of(picture.rgb)).max() < 1e-5


def test_all_pictures_in_batches(encoder, model, folder):
    expected = np.stack([model.image(squashed(picture.rgb, settings_of(folder))) for picture in PICTURES])
    vectors = encoder.encode_images([picture.source for picture in PICTURES])
    assert np.abs(vectors - expected).max() < 1e-5
    assert np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_last_token_that_is_read(encoder, model, ids, over):
    assert encoder.max_tokens == TOKENS
    texts = [" ".join(["dog"] * (TOKENS - 3 + over) + [last]) for last in ("cat", "blue")]
    assert encoder.count_tokens(texts) == [TOKENS + over] * 2
    if over > 0:
        with pytest.warns(TruncationWarning, match="2 of 2 texts"):
            vectors = encoder.encode_texts(texts)
    else:
        vectors = encoder.encode_texts(texts)
    assert np.abs(vectors - np.stack([model.text(ids(text)) for text in texts])).max() < 1e-5
    assert (np.abs(vectors[0] - vectors[1]).max() > 0.01) == (over <= 0)


def test_a_lower_limit_cuts_as_the_authors_did(folder, model):
    """BLIP's own code cuts captions at 35 tokens, the end mark among them."""
    short = load_encoder(folder, device="cpu", max_tokens=6)
    tokens = WordPieces(folder)
    expected = np.stack([model.text(cut(tokens(text), 6)) for text in TEXTS])
    assert np.abs(encoded_texts(short, TEXTS) - expected).max() < 1e-5


def test_padding_changes_nothing(folder, model, ids):
    together = load_encoder(folder, device="cpu", batch_size=len(TEXTS) + 1)
    vectors = encoded_texts(together, [" ".join(["dog"] * (TOKENS - 2)), *TEXTS])[1:]
    assert np.abs(vectors - np.stack([model.text(ids(text)) for text in TEXTS])).max() < 1e-5


def test_cosines_are_the_models_own(encoder, folder):
    """``forward(use_itm_head=False)`` of transformers gives the cosine of one text and one picture."""
    picture = PICTURES[7]
    prepared = encoder._prepare_texts([TEXTS[0]], "text")
    with torch.inference_mode():
        pixels = encoder._prepare_image(load_image(picture.source))["pixel_values"][None]
        cosine = float(encoder._model(**prepared, pixel_values=pixels, use_itm_head=False).itm_score)
    ours = float((encoder.encode_texts([TEXTS[0]]) @ encoder.encode_images([picture.source]).T)[0, 0])
    assert abs(ours - cosine) < 1e-6


def test_half_precision(folder, encoder):
    for dtype, most in (("bfloat16", 0.03), ("float16", 0.003)):
        check_half_precision(encoder, load_encoder(folder, device="cpu", dtype=dtype), PICTURES[:8], most)


def test_the_space_is_that_of_the_retrieval_heads(encoder):
    config = encoder.checkpoint.config
    assert encoder.dimension == DIMENSION == config.image_text_hidden_size != config.projection_dim


# --- files as published, and others


def test_a_tokenizer_that_tells_of_sentence_pairs(copy, encoder):
    """bert-base-uncased's own settings make token types, for which BLIP's text tower has no table."""
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    other = load_encoder(copy, device="cpu")
    assert "token_type_ids" in other._tokenizer(["a dog"])
    assert np.abs(encoded_texts(other, TEXTS) - encoded_texts(encoder, TEXTS)).max() < 1e-6


def test_config_as_published(copy, encoder):
    """The published config.json was written by transformers 4.26, with much that no model reads."""
    noise = {
        "_name_or_path": "",
        "add_cross_attention": False,
        "architectures": None,
        "chunk_size_feed_forward": 0,
        "diversity_penalty": 0.0,
        "exponential_decay_length_penalty": None,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
        "is_encoder_decoder": False,
        "label2id": {"LABEL_0": 0, "LABEL_1": 1},
        "length_penalty": 1.0,
        "max_length": 20,
        "pruned_heads": {},
        "return_dict": True,
        "tf_legacy_loss": False,
        "tie_word_embeddings": True,
        "torch_dtype": None,
        "transformers_version": "4.26.0.dev0",
        "use_bfloat16": False,
    }
    config = json.loads((copy / "config.json").read_text())
    del config["dtype"]
    for tower in ("text_config", "vision_config"):
        config[tower].update(noise, projection_dim=24)
    config["vision_config"].update(
        bos_token_id=None, dropout=0.0, is_decoder=False, pad_token_id=None, sep_token_id=None
    )
    config.update(_commit_hash=None, torch_dtype="float32", transformers_version=None)
    (copy / "config.json").write_text(json.dumps(config))
    other = load_encoder(copy, device="cpu")
    assert other.fingerprint == encoder.fingerprint
    assert np.abs(encoded_texts(other, TEXTS) - encoded_texts(encoder, TEXTS)).max() < 1e-6


def test_pickled_weights(copy, encoder):
    """The first form in which the checkpoints were published; read as weights only."""
    from safetensors.torch import load_file

    weights = load_file(copy / "model.safetensors")
    weights["text_encoder.embeddings.position_ids"] = torch.arange(TOKENS)[None]
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    assert load_encoder(copy, device="cpu").fingerprint == encoder.fingerprint


@pytest.mark.parametrize("architecture", ["BlipForConditionalGeneration", "BlipForQuestionAnswering", "BlipModel"])
def test_other_models_of_blip_are_refused(tmp_path, architecture):
    save_tiny_blip(tmp_path, architecture=architecture)
    with pytest.raises(EncoderError, match=rf"holds a {architecture}.*BlipForImageTextRetrieval is needed.*blip-itm"):
        load_encoder(tmp_path)


def test_a_config_that_does_not_say_which_model_is_refused_for_its_weights(tmp_path):
    save_tiny_blip(tmp_path, architecture="BlipModel")
    edit(tmp_path / "config.json", architectures=None)
    with pytest.raises(EncoderError, match=r"lacks \d+ weights that BlipForImageTextRetrieval needs"):
        load_encoder(tmp_path)


def test_lacking_projections_are_not_filled_with_random_numbers(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["vision_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"lacks 1 weights .*'vision_proj\.weight'"):
        load_encoder(copy)


def test_other_settings_of_the_towers_are_another_model(folder, tmp_path):
    check_settings_count(
        folder,
        tmp_path,
        partial(load_encoder, device="cpu"),
        {"text_config.hidden_act": "relu"},
        {"vision_config.hidden_act": "relu"},
        {"text_config.num_attention_heads": 2},
        {"vision_config.num_attention_heads": 2},
        {"text_config.layer_norm_eps": 0.01},
        {"vision_config.layer_norm_eps": 0.01},
    )
