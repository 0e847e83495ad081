"""CLIP, and a ViT beside a BERT, against NumPy computations from the published definitions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from commonscale.core.errors import TruncationWarning
from commonscale.encoders import BatchedEncoder, load_encoder
from exactness import TEXTS, check_half_precision, check_picture, check_texts, encoded_texts
from independent.models import Clip, ClipVitBert, VitBert
from independent.pictures import cropped, settings_of, squashed
from independent.tokens import ClipTokens, WordPieces, cut
from odd_pictures import odd_pictures
from other_configs import check_settings_count, vectors_of, with_settings
from tiny_checkpoints.clip import save_random_clip, save_random_clip_and_bert, save_random_dual_encoder
from tiny_models import BERT_TOKENS, CLIP_TOKENS

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")

PICTURES = odd_pictures()


class Kind(NamedTuple):
    save: Callable[[Path], Path]
    model: Callable[[Path], Any]
    tokens: Callable[[Path], Callable[[str], list[int]]]
    pixels: Callable[[np.ndarray, dict[str, Any]], np.ndarray]
    limit: int


class Case(NamedTuple):
    folder: Path
    encoder: BatchedEncoder
    model: Any
    ids: Callable[[str], list[int]]
    pixels: Callable[[np.ndarray], np.ndarray]
    limit: int

    def cut_ids(self, text: str) -> list[int]:
        return cut(self.ids(text), self.limit)


KINDS = {
    "CLIP": Kind(save_random_clip, Clip, ClipTokens, cropped, CLIP_TOKENS),
    "ViT and BERT": Kind(save_random_dual_encoder, VitBert, WordPieces, squashed, BERT_TOKENS),
    "CLIP's ViT and BERT": Kind(save_random_clip_and_bert, ClipVitBert, WordPieces, cropped, BERT_TOKENS),
}


def case_of(kind: Kind, folder: Path) -> Case:
    pixels = partial(kind.pixels, settings=settings_of(folder))
    return Case(
        folder,
        load_encoder(folder, device="cpu", batch_size=3),
        kind.model(folder),
        kind.tokens(folder),
        pixels,
        kind.limit,
    )


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def case(request, tmp_path_factory) -> Case:
    return case_of(request.param, request.param.save(tmp_path_factory.mktemp("exact")))


@pytest.fixture
def clip_copy(tmp_path) -> Path:
    return save_random_clip(tmp_path / "clip")


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# --- both


def test_texts(case):
    check_texts(case.encoder, case.model, case.cut_ids)


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.name for picture in PICTURES])
def test_pictures(case, picture):
    check_picture(case.encoder, case.model, picture, case.pixels)


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.name for picture in PICTURES])
def test_pixels(case, picture):
    from commonscale.encoders import load_image

    prepared = case.encoder._prepare_image(load_image(picture.source))["pixel_values"].numpy()
    assert np.abs(prepared - case.pixels(picture.rgb)).max() < 1e-5


def test_all_pictures_in_batches(case):
    expected = np.stack([case.model.image(case.pixels(picture.rgb)) for picture in PICTURES])
    vectors = case.encoder.encode_images([picture.source for picture in PICTURES])
    assert np.abs(vectors - expected).max() < 1e-5


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_last_token_that_is_read(case, over):
    """One below the limit, at it, and one over: cut to the limit with the end mark kept."""
    texts = [" ".join(["dog"] * (case.limit - 3 + over) + [last]) for last in ("cat", "blue")]
    assert [len(case.ids(text)) for text in texts] == [case.limit + over] * 2
    assert case.encoder.count_tokens(texts) == [case.limit + over] * 2
    if over > 0:
        with pytest.warns(TruncationWarning, match="2 of 2 texts"):
            vectors = case.encoder.encode_texts(texts)
    else:
        vectors = case.encoder.encode_texts(texts)
    expected = np.stack([case.model.text(case.cut_ids(text)) for text in texts])
    assert np.abs(vectors - expected).max() < 1e-5
    assert (np.abs(vectors[0] - vectors[1]).max() > 0.01) == (over <= 0)


def test_padding_changes_nothing(case):
    """Beside a text that fills the model, a short one is padded by many tokens."""
    long = " ".join(["dog"] * (case.limit - 2))
    together = load_encoder(case.folder, device="cpu", batch_size=len(TEXTS) + 1)
    vectors = encoded_texts(together, [long, *TEXTS])[1:]
    expected = np.stack([case.model.text(case.cut_ids(text)) for text in TEXTS])
    assert np.abs(vectors - expected).max() < 1e-5


def test_half_precision(case):
    """bfloat16 keeps 8 bits of a number and float16 keeps 11: about 0.4 % and 0.05 % a step."""
    for dtype, most in (("bfloat16", 0.02), ("float16", 0.0025)):
        coarse = load_encoder(case.folder, device="cpu", dtype=dtype)
        check_half_precision(case.encoder, coarse, PICTURES[:8], most)


# --- CLIP's older files


def old_style(settings: dict[str, Any]) -> None:
    """Write sizes as numbers and the class by its old name, as in openai/clip-vit-base-patch32."""
    settings.update(size=32, crop_size=32, feature_extractor_type="CLIPFeatureExtractor")
    for newer in ("image_processor_type", "do_rescale", "rescale_factor", "do_convert_rgb"):
        del settings[newer]


def test_image_settings_of_the_first_checkpoints(clip_copy):
    fingerprint = load_encoder(clip_copy, device="cpu").fingerprint
    edit(clip_copy / "preprocessor_config.json", old_style)
    older = case_of(KINDS["CLIP"], clip_copy)
    for picture in PICTURES:
        check_picture(older.encoder, older.model, picture, older.pixels)
    assert older.encoder.fingerprint == fingerprint


@pytest.mark.parametrize("dictionary", [None, {"hidden_size": 32, "num_hidden_layers": 2}], ids=["none", "given"])
def test_configs_of_the_first_checkpoints(clip_copy, dictionary):
    """They say end token 2, start token 0 and padding 1, none of which the tokenizer has, and much besides.

    clip-vit-large-patch14 repeats parts of its towers' configs; transformers then reads the end token as 49407, CLIP's
    own; the tiny tokenizer has another, so here only the sizes are repeated and the end token stays.
    """

    def older(config: dict[str, Any]) -> None:
        noise = {
            "add_cross_attention": False,
            "architectures": None,
            "chunk_size_feed_forward": 0,
            "dropout": 0.0,
            "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
            "is_encoder_decoder": False,
            "label2id": {"LABEL_0": 0, "LABEL_1": 1},
            "length_penalty": 1.0,
            "pruned_heads": {},
            "tie_word_embeddings": True,
            "tokenizer_class": None,
            "torch_dtype": None,
            "transformers_version": "4.16.0.dev0",
            "use_bfloat16": False,
        }
        config["text_config"].update(noise, bos_token_id=0, eos_token_id=2, pad_token_id=1)
        config["vision_config"].update(noise, bos_token_id=None, eos_token_id=None, pad_token_id=None)
        end = {"eos_token_id": 2, "max_position_embeddings": CLIP_TOKENS, "num_attention_heads": 4}
        sizes = {"intermediate_size": 64, "vocab_size": config["text_config"]["vocab_size"]}
        config["text_config_dict"] = dictionary and {**dictionary, **end, **sizes}
        config["vision_config_dict"] = None
        config["torch_dtype"] = config.pop("dtype")

    edit(clip_copy / "config.json", older)
    made = case_of(KINDS["CLIP"], clip_copy)
    assert made.encoder.checkpoint.config.text_config.eos_token_id == 2
    check_texts(made.encoder, made.model, made.cut_ids)


def test_weights_that_hold_the_numbers_of_positions(clip_copy):
    """Checkpoints before transformers 4.31 saved them; nothing reads them any more."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(clip_copy / "model.safetensors")
    weights["text_model.embeddings.position_ids"] = torch.arange(CLIP_TOKENS)[None]
    weights["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(weights, clip_copy / "model.safetensors", metadata={"format": "pt"})
    made = case_of(KINDS["CLIP"], clip_copy)
    check_texts(made.encoder, made.model, made.cut_ids)


def test_a_checkpoint_in_half_precision_is_computed_in_float32(clip_copy):
    """The vectors are those of the rounded weights in float32, unless another type is asked for."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = {name: tensor.half() for name, tensor in load_file(clip_copy / "model.safetensors").items()}
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    save_file(weights, clip_copy / "model.safetensors", metadata={"format": "pt"})
    edit(clip_copy / "config.json", lambda config: config.update(dtype="float16"))
    made = case_of(KINDS["CLIP"], clip_copy)
    check_texts(made.encoder, made.model, made.cut_ids)
    check_picture(made.encoder, made.model, PICTURES[-1], made.pixels)


def test_folders_may_be_moved(case, tmp_path):
    """Nothing but the folder's files is needed; the encoder that was loaded needs not even those."""
    moved = shutil.copytree(case.folder, tmp_path / "moved")
    encoder = load_encoder(moved, device="cpu")
    shutil.rmtree(moved)
    assert np.abs(encoded_texts(encoder, TEXTS) - encoded_texts(case.encoder, TEXTS)).max() < 1e-6


# --- fingerprints


def load(folder: Path) -> BatchedEncoder:
    return load_encoder(folder, device="cpu")


def test_other_settings_of_the_towers_are_another_model(case, tmp_path):
    check_settings_count(
        case.folder,
        tmp_path,
        load,
        {"text_config.num_attention_heads": 2},
        {"vision_config.num_attention_heads": 8},
        {"text_config.hidden_act": "relu"},
        {"vision_config.hidden_act": "relu"},
        {"text_config.layer_norm_eps": 0.01},
        {"vision_config.layer_norm_eps": 0.01},
    )


def test_where_clip_reads_a_text_is_in_the_fingerprint(tmp_path):
    """At the start mark every text has one vector, but the tokenizer writes that mark, so the model loads."""
    folder = save_random_clip(tmp_path / "clip")
    start = json.loads((folder / "vocab.json").read_text())["<|startoftext|>"]
    check_settings_count(folder, tmp_path, load, {"text_config.eos_token_id": start})


def test_the_old_sign_for_the_end_mark_is_the_same_model(case, tmp_path):
    if "eos_token_id" not in json.loads((case.folder / "config.json").read_text())["text_config"]:
        pytest.skip("only CLIP's own text tower looks for the end mark")
    older = load(with_settings(case.folder, tmp_path / "older", {"text_config.eos_token_id": 2}))
    assert np.abs(vectors_of(older) - vectors_of(case.encoder)).max() < 1e-6
    assert older.fingerprint == case.encoder.fingerprint
