"""SigLIP, SigLIP 2 and SigLIP 2 NaFlex against NumPy computations from their published definitions."""

from __future__ import annotations

import copy as copies
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from commonscale.core.errors import EncoderError, MissingExtraError, TruncationWarning
from commonscale.encoders import BatchedEncoder, load_encoder, load_image
from exactness import TEXTS, check_half_precision, check_picture, check_texts, encoded_texts
from independent.models import Naflex, Siglip
from independent.pictures import grid, in_patches, settings_of, squashed
from independent.tokens import GemmaTokens, SiglipTokens
from odd_pictures import OddPicture, odd_pictures
from other_configs import check_settings_count
from tiny_checkpoints.siglip import (
    DIMENSION,
    MAX_PATCHES,
    PATCH,
    TOKENS,
    save_tiny_naflex,
    save_tiny_siglip,
    save_tiny_siglip2,
)

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("sentencepiece")

PICTURES = odd_pictures()


class Kind(NamedTuple):
    save: Callable[[Path], Path]
    model: Callable[[Path], Any]
    tokens: Callable[[Path, int], Callable[[str], list[int]]]
    pixels: Callable[[np.ndarray, dict[str, Any]], np.ndarray]


KINDS = {
    "SigLIP": Kind(save_tiny_siglip, Siglip, SiglipTokens, squashed),
    "SigLIP 2": Kind(save_tiny_siglip2, Siglip, GemmaTokens, squashed),
    "NaFlex": Kind(save_tiny_naflex, Naflex, GemmaTokens, in_patches),
}


class Case(NamedTuple):
    folder: Path
    encoder: BatchedEncoder
    model: Any
    ids: Callable[[str], list[int]]
    pixels: Callable[[np.ndarray], np.ndarray]


def case_of(kind: Kind, folder: Path) -> Case:
    pixels = partial(kind.pixels, settings=settings_of(folder))
    encoder = load_encoder(folder, device="cpu", batch_size=3)
    return Case(folder, encoder, kind.model(folder), kind.tokens(folder, TOKENS), pixels)


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def case(request, tmp_path_factory) -> Case:
    return case_of(request.param, request.param.save(tmp_path_factory.mktemp("siglip")))


@pytest.fixture(scope="module")
def naflex(tmp_path_factory) -> Case:
    return case_of(KINDS["NaFlex"], save_tiny_naflex(tmp_path_factory.mktemp("naflex")))


@pytest.fixture
def copy(case, tmp_path) -> Path:
    return Path(shutil.copytree(case.folder, tmp_path / "copy"))


def edit(path: Path, *drop: str, **changes: Any) -> None:
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in drop}))


# --- texts


def test_texts(case):
    check_texts(case.encoder, case.model, case.ids)


def test_shape_type_and_norm(case):
    assert case.encoder.dimension == DIMENSION
    vectors = case.encoder.encode_questions(["a dog", "two cats"])
    assert (vectors.shape, vectors.dtype) == ((2, DIMENSION), np.float32)
    assert np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1).max() < 1e-6


def test_case_is_not_read(case):
    """Trained on lower case; transformers leaves that out for SigLIP 2 (all versions) and NaFlex (before 5)."""
    vectors = case.encoder.encode_texts(["The RED Dog", "the red dog"])
    assert (vectors[0] == vectors[1]).all()


def test_siglip_2_lowers_a_to_z_only(naflex):
    """As TensorFlow's lower does, with which it was trained; transformers 5 lowers every script."""
    ids = naflex.encoder._prepare_texts(["É", "é"], "text")["input_ids"].tolist()
    assert ids == [naflex.ids("É"), naflex.ids("é")]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_last_token_that_is_read(case, over):
    assert case.encoder.max_tokens == TOKENS
    # One letter a token in all three vocabularies: none has pieces of x and q.
    start = case.encoder.count_tokens(["x"])[0] - 1
    texts = ["x" * (TOKENS - 2 - start + over) + last for last in ("xx", "xq")]
    assert case.encoder.count_tokens(texts) == [TOKENS + over] * 2
    if over > 0:
        with pytest.warns(TruncationWarning, match="2 of 2 texts"):
            vectors = case.encoder.encode_texts(texts)
    else:
        vectors = case.encoder.encode_texts(texts)
    assert np.abs(vectors - np.stack([case.model.text(case.ids(text)) for text in texts])).max() < 1e-5
    assert (np.abs(vectors[0] - vectors[1]).max() > 0.001) == (over <= 0)


def test_texts_are_padded_on_the_right_to_the_last_place(case):
    ids = case.encoder._prepare_texts(["cat", "a photo of two cats"], "text")["input_ids"]
    assert ids.shape == (2, TOKENS)
    padding = case.encoder._tokenizer.pad_token_id
    assert ids[0, 0] != padding
    assert (ids[:, -1] == padding).all()
    assert ids.tolist() == [case.ids("cat"), case.ids("a photo of two cats")]


def test_a_lower_limit_cuts_but_pads_as_before(case):
    """The vector is read at the last place of training, whatever a text is cut to."""
    short = load_encoder(case.folder, device="cpu", max_tokens=5)
    padding, end = case.encoder._tokenizer.pad_token_id, case.encoder._tokenizer.eos_token_id
    text = "a photo of two cats on the grass"
    expected = case.model.text([*case.ids(text)[:4], end, *[padding] * (TOKENS - 5)])
    with pytest.warns(TruncationWarning):
        vector = short.encode_texts([text])[0]
    assert np.abs(vector - expected).max() < 1e-5
    assert short.fingerprint != case.encoder.fingerprint


def test_neither_mask_nor_left_padding_of_the_tokenizer_counts(case, copy):
    """Whoever saves a tokenizer anew may lose these settings; the model was trained in one way only."""
    edit(copy / "tokenizer_config.json", "model_input_names", padding_side="left")
    other = load_encoder(copy, device="cpu")
    assert other._tokenizer.padding_side == "left"
    assert "attention_mask" in other._tokenizer(["a dog"])
    assert np.abs(encoded_texts(other, TEXTS) - encoded_texts(case.encoder, TEXTS)).max() < 1e-6
    assert other.fingerprint == case.encoder.fingerprint


def test_a_tokenizer_that_says_it_keeps_case(tmp_path):
    """For checkpoints that were trained further on text as it is."""
    folder = save_tiny_siglip2(tmp_path)
    edit(folder / "tokenizer_config.json", do_lower_case=False)
    encoder = load_encoder(folder, device="cpu")
    vectors = encoder.encode_texts(["The RED Dog", "the red dog"])
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01
    ids = encoder._tokenizer(["The RED Dog"])["input_ids"][0]
    padding = [encoder._tokenizer.pad_token_id] * (TOKENS - len(ids))
    assert np.abs(vectors[0] - Siglip(folder).text([*ids, *padding])).max() < 1e-5


def test_a_shorter_tokenizer_decides(tmp_path):
    """siglip-so400m-patch14-224 has 16 places, and both its files say so."""
    folder = save_tiny_siglip(tmp_path)
    edit(folder / "tokenizer_config.json", model_max_length=9)
    encoder = load_encoder(folder, device="cpu")
    assert encoder.max_tokens == 9
    assert encoder._prepare_texts(["cat"], "text")["input_ids"].shape == (1, 9)


# --- pictures


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.name for picture in PICTURES])
def test_pictures(case, picture):
    check_picture(case.encoder, case.model, picture, case.pixels)


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.name for picture in PICTURES])
def test_pixels(case, picture):
    prepared = case.encoder._prepare_image(load_image(picture.source))
    expected = case.pixels(picture.rgb)
    if "spatial_shapes" in prepared:
        high, wide = prepared["spatial_shapes"].tolist()
        assert (high * PATCH, wide * PATCH) == expected.shape[1:]
        assert prepared["pixel_attention_mask"].sum() == high * wide <= MAX_PATCHES
        rows = prepared["pixel_values"][: high * wide].numpy().reshape(high, wide, PATCH, PATCH, 3)
        pixels = rows.transpose(4, 0, 2, 1, 3).reshape(expected.shape)
    else:
        pixels = prepared["pixel_values"].numpy()
    assert np.abs(pixels - expected).max() < 1e-5


def test_all_pictures_in_batches(case):
    """For NaFlex, pictures of unlike grids share a batch, each with its own mask."""
    expected = np.stack([case.model.image(case.pixels(picture.rgb)) for picture in PICTURES])
    vectors = case.encoder.encode_images([picture.source for picture in PICTURES])
    assert np.abs(vectors - expected).max() < 1e-5


def test_half_precision(case):
    for dtype, most in (("bfloat16", 0.02), ("float16", 0.0025)):
        check_half_precision(case.encoder, load_encoder(case.folder, device="cpu", dtype=dtype), PICTURES[:8], most)


def test_every_grid_of_naflex(naflex):
    """Strips from 1 : 24 to 24 : 1 meet every grid, those of a single row or column among them."""
    from PIL import Image

    draws = np.random.default_rng(0)
    sides = [(round(60 * ratio**0.5), round(60 / ratio**0.5)) for ratio in np.geomspace(1 / 30, 30, 41)]
    seen = set()
    for high, wide in sides:
        rgb = draws.integers(0, 256, (high, wide, 3), dtype=np.uint8)
        seen.add(grid(high, wide, PATCH, MAX_PATCHES))
        check_picture(naflex.encoder, naflex.model, OddPicture("", Image.fromarray(rgb), rgb), naflex.pixels)
    assert {(24, 1), (1, 24), (12, 2), (2, 12), (6, 4), (4, 6)} <= seen


def test_positions_of_other_grids_are_those_of_transformers(naflex):
    embeddings = naflex.encoder._model.vision_model.embeddings
    shapes = torch.tensor([[4, 6], [1, 24], [3, 3], [2, 12]])
    table = embeddings.position_embedding.weight.reshape(4, 4, -1)
    theirs = type(embeddings).resize_positional_embeddings(table, shapes, max_length=MAX_PATCHES)
    assert (embeddings.resize_positional_embeddings(table, shapes, max_length=MAX_PATCHES) == theirs).all()


def test_the_encoder_can_be_copied_and_sent(naflex):
    tall = PICTURES[5]
    expected = naflex.encoder.encode_images([tall.source])
    for other in (copies.deepcopy(naflex.encoder), pickle.loads(pickle.dumps(naflex.encoder))):
        assert np.abs(other.encode_images([tall.source]) - expected).max() < 1e-6


# --- files as published, and others


def test_config_as_published(case, copy):
    """The published config.json leaves out what is at its default, the 64 places and the end token among it."""
    config = json.loads((copy / "config.json").read_text())
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.37.0.dev0"
    for tower, dropped in (
        ("text_config", ("bos_token_id", "eos_token_id", "pad_token_id", "attention_dropout", "layer_norm_eps")),
        ("vision_config", ("attention_dropout", "layer_norm_eps", "num_channels", "hidden_act")),
    ):
        config[tower] = {key: value for key, value in config[tower].items() if key not in dropped}
    (copy / "config.json").write_text(json.dumps(config))
    other = load_encoder(copy, device="cpu")
    assert other.fingerprint == case.encoder.fingerprint
    assert np.abs(encoded_texts(other, TEXTS) - encoded_texts(case.encoder, TEXTS)).max() < 1e-6
    given = [picture.source for picture in PICTURES[:6]]
    assert np.abs(other.encode_images(given) - case.encoder.encode_images(given)).max() < 1e-6


def test_other_settings_of_the_towers_are_another_model(case, tmp_path):
    check_settings_count(
        case.folder,
        tmp_path,
        partial(load_encoder, device="cpu"),
        {"text_config.hidden_act": "relu"},
        {"vision_config.hidden_act": "relu"},
        {"text_config.num_attention_heads": 2},
        {"vision_config.num_attention_heads": 2},
        {"text_config.layer_norm_eps": 0.01},
        {"vision_config.layer_norm_eps": 0.01},
    )


def test_saved_again_by_the_processor_of_transformers(case, tmp_path):
    """As after training further: version 5 writes other files than the published ones, and another tokenizer class."""
    from transformers import AutoProcessor

    case.encoder._model.save_pretrained(tmp_path)
    AutoProcessor.from_pretrained(case.folder).save_pretrained(tmp_path)
    again = load_encoder(tmp_path, device="cpu")
    assert again.fingerprint == case.encoder.fingerprint
    assert np.abs(encoded_texts(again, TEXTS) - encoded_texts(case.encoder, TEXTS)).max() < 1e-6


@pytest.mark.parametrize(("module", "package"), [("sentencepiece", "sentencepiece"), ("google.protobuf", "protobuf")])
def test_missing_packages_name_the_extra(tmp_path, monkeypatch, module, package):
    folder = save_tiny_siglip(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"{package!r}") as caught:
        load_encoder(folder)
    assert str(caught.value).splitlines()[-1] == "pip install 'commonscale[encoders]'"


def test_siglip_2_needs_no_sentencepiece(tmp_path, monkeypatch):
    folder = save_tiny_siglip2(tmp_path)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert load_encoder(folder, device="cpu").encode_texts(["a dog"]).shape == (1, DIMENSION)


def with_marks(folder: Path, single: str) -> None:
    """Set Gemma's marks as its own tokenizers have them, in both files."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    ids = content["model"]["vocab"]
    names = [part for part in single.split() if part.startswith("<")]
    steps = [
        {"SpecialToken": {"id": part, "type_id": 0}} if part in names else {"Sequence": {"id": "A", "type_id": 0}}
        for part in single.split()
    ]
    content["post_processor"].update(
        single=steps, special_tokens={name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in names}
    )
    path.write_text(json.dumps(content))
    edit(folder / "tokenizer_config.json", add_bos_token="<bos>" in names, add_eos_token="<eos>" in names)


@pytest.mark.parametrize("marks", ["<bos> A", "<bos> A <eos>", "A"])
@pytest.mark.parametrize("save", [save_tiny_siglip2, save_tiny_naflex], ids=["SigLIP 2", "NaFlex"])
def test_a_tokenizer_set_up_for_gemma_is_refused(tmp_path, save, marks):
    folder = save(tmp_path)
    with_marks(folder, marks)
    with pytest.raises(EncoderError, match="without a start mark and with '<eos>' at the end"):
        load_encoder(folder)
