"""OpenCLIP: tiny checkpoints of open_clip's real classes, saved its way, against plain NumPy."""

from __future__ import annotations

import importlib.util
import json
import shutil
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("open_clip") is None:
    pytest.skip("open_clip wants torchvision: `make test-open-clip` runs this elsewhere", allow_module_level=True)

import torch
from PIL import Image

import hub_cache
from commonscale.core.errors import EncoderError, InvalidInputError, TruncationWarning
from commonscale.encoders import load_encoder
from independent.open_clip import OpenClip
from independent.tokens import ClipTokens, WordPieces, cut
from tiny_checkpoints import open_clip as tiny
from torchvision_shim import make_torchvision_importable

IS_SHIMMED = make_torchvision_importable()
tiny.register_tower()

SAVERS = {"clip": tiny.save_tiny_open_clip, "siglip": tiny.save_tiny_siglip}
TEXTS = ["a photo of a dog", "Cat, on grass!", "", "Grüße, two!", "the red dog", "two"]
LONG = " ".join(["dog", "cat"] * 9)
SIZES = [(32, 32), (57, 40), (20, 1), (33, 99), (64, 3), (640, 31)]


@pytest.fixture(scope="session", params=SAVERS, ids=SAVERS)
def folder(request, tmp_path_factory) -> Path:
    return SAVERS[request.param](tmp_path_factory.mktemp("open_clip") / request.param)


@pytest.fixture(scope="session")
def encoder(folder):
    return load_encoder(f"local-dir:{folder}", device="cpu", batch_size=4)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    return tiny.save_tiny_open_clip(tmp_path_factory.mktemp("open_clip") / "clip")


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory) -> Path:
    return tiny.save_tiny_siglip(tmp_path_factory.mktemp("open_clip") / "siglip")


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory) -> Path:
    return tiny.write_clip_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture
def copy(clip_folder, tmp_path) -> Path:
    """A copy of the tiny CLIP that a test may damage."""
    return Path(shutil.copytree(clip_folder, tmp_path / "copy"))


def tokens_of(folder: Path, vocabulary: Path, texts: list[str], limit: int = tiny.TOKENS) -> list[list[int]]:
    """Tokenize by the published rules: CLIP's BPE, or BERT's pieces of canonical text; zeros fill up."""
    if "siglip" in folder.name:
        pieces = WordPieces(folder)
        bare = [" ".join("".join(sign for sign in text if sign not in string.punctuation).split()) for text in texts]
        ids = [pieces(text) for text in bare]
    else:
        ids = [ClipTokens(vocabulary)(text) for text in texts]
    return [[*cut(found, limit), *[0] * (tiny.TOKENS - min(len(found), limit))] for found in ids]


def pictures() -> list[Image.Image]:
    draws = np.random.default_rng(1)
    return [Image.fromarray(draws.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in SIZES]


def edit_config(folder: Path, **model: object) -> None:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"] |= model
    path.write_text(json.dumps(config))


# --- exactness


def test_texts_agree_with_the_definition(folder, encoder, vocabulary):
    ids = tokens_of(folder, vocabulary, TEXTS)
    expected = np.stack([OpenClip(folder).text(row) for row in ids])
    assert np.abs(encoder.encode_texts(TEXTS) - expected).max() < 1e-5
    assert (encoder.encode_questions(TEXTS) == encoder.encode_texts(TEXTS)).all()


def test_pictures_of_any_size_agree_with_the_definition(folder, encoder):
    plain = OpenClip(folder)
    expected = np.stack([plain.image(np.asarray(picture)) for picture in pictures()])
    assert np.abs(encoder.encode_images(pictures()) - expected).max() < 1e-5


def test_pictures_of_any_mode_agree_with_the_definition(folder, encoder):
    colors = pictures()[1]
    gray = colors.convert("L")
    cut_out = colors.convert("RGBA")
    cut_out.putalpha(gray)
    given = [gray, cut_out, colors.convert("CMYK"), colors.convert("P")]
    alpha = np.asarray(gray, dtype=np.float64)[..., None] / 255
    on_white = np.rint(np.asarray(colors) * alpha + 255 * (1 - alpha)).astype(np.uint8)
    plain = OpenClip(folder)
    expected = [
        plain.image(np.stack([np.asarray(gray)] * 3, axis=-1)),
        plain.image(on_white),
        plain.image(np.asarray(given[2].convert("RGB"))),
        plain.image(np.asarray(given[3].convert("RGB"))),
    ]
    got = encoder.encode_images(given)
    assert np.abs(got[[0, 2, 3]] - np.stack(expected)[[0, 2, 3]]).max() < 1e-5
    assert np.abs(got[1] - expected[1]).max() < 0.02  # Pillow rounds while it lays one color on another


def test_the_tiny_models_tell_their_inputs_apart(encoder):
    """Else the agreements above would prove little."""
    for vectors in (encoder.encode_texts(TEXTS), encoder.encode_images(pictures())):
        assert (np.abs(vectors[:, None] - vectors[None]).max(axis=2) + np.eye(len(vectors)) > 1e-3).all()


def test_quick_gelu(clip_folder, copy, vocabulary):
    edit_config(copy, quick_gelu=True)
    ids = tokens_of(clip_folder, vocabulary, ["a dog"])[0]
    quick, plain = OpenClip(copy), OpenClip(clip_folder)
    assert np.abs(quick.text(ids) - plain.text(ids)).max() > 1e-3
    encoder = load_encoder(copy, device="cpu")
    assert np.abs(encoder.encode_texts(["a dog"]) - quick.text(ids)).max() < 1e-5
    picture = pictures()[1]
    assert np.abs(encoder.encode_images([picture]) - quick.image(np.asarray(picture))).max() < 1e-5


def test_batches_change_neither_vectors_nor_order(encoder):
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    assert np.abs(encoder.encode_texts(TEXTS) - alone).max() < 1e-6
    alone = np.concatenate([encoder.encode_images([picture]) for picture in pictures()])
    assert np.abs(encoder.encode_images(pictures()) - alone).max() < 1e-6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_types_are_close_and_give_float32(folder, encoder, dtype):
    other = load_encoder(f"local-dir:{folder}", device="cpu", dtype=dtype)
    assert other.fingerprint != encoder.fingerprint
    for coarse, fine in (
        (other.encode_texts(TEXTS), encoder.encode_texts(TEXTS)),
        (other.encode_images(pictures()), encoder.encode_images(pictures())),
    ):
        assert coarse.dtype == np.float32
        assert ((coarse * fine).sum(axis=1) > 0.99).all()


def test_the_model_is_ready_for_inference(encoder):
    assert not encoder._model.training
    assert not any(weights.requires_grad for weights in encoder._model.parameters())


# --- lengths


def test_long_texts_are_cut_and_keep_their_end(folder, encoder, vocabulary):
    assert encoder.max_tokens == tiny.TOKENS
    assert encoder.count_tokens([LONG, "", "a dog"]) == [20, 2, 4]
    assert encoder.count_tokens(np.array(["", "a dog"])) == [2, 4]
    for wrong in ("a dog", b"a dog", None):
        with pytest.raises(InvalidInputError, match="list of strings"):
            encoder.count_tokens(wrong)
    expected = OpenClip(folder).text(tokens_of(folder, vocabulary, [LONG])[0])
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than the 12 tokens"):
        vectors = encoder.encode_texts(["cat", LONG])
    assert np.abs(vectors[1] - expected).max() < 1e-5


def test_own_limit(folder, encoder, vocabulary):
    short = load_encoder(f"local-dir:{folder}", device="cpu", max_tokens=4)
    assert short.max_tokens == 4
    expected = OpenClip(folder).text(tokens_of(folder, vocabulary, ["a dog runs"], limit=4)[0])
    with pytest.warns(TruncationWarning, match="1 of 1"):
        vectors = short.encode_texts(["a dog runs"])
    assert np.abs(vectors[0] - expected).max() < 1e-5
    assert np.abs(vectors - encoder.encode_texts(["a dog"])).max() < 1e-6
    assert short.fingerprint != encoder.fingerprint
    with pytest.raises(InvalidInputError, match="more than the 12 tokens"):
        load_encoder(f"local-dir:{folder}", max_tokens=13)


def test_padding_at_the_left_stays_there(siglip_folder, tmp_path):
    """The text is read off at the last position, where such a model has the end of the text."""
    copy = Path(shutil.copytree(siglip_folder, tmp_path / "left"))
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding_side": "left"}))
    ids = WordPieces(copy)("a dog")
    expected = OpenClip(copy).text([0] * (tiny.TOKENS - len(ids)) + ids)
    for limit in (None, 5):
        vectors = load_encoder(copy, max_tokens=limit).encode_texts(["a dog"])
        assert np.abs(vectors[0] - expected).max() < 1e-5


def test_texts_in_the_mode_clips(siglip_folder, tmp_path):
    """Marks at both ends, padding, and a class token at the last position (open_clip's tokenizer_mode)."""
    copy = Path(shutil.copytree(siglip_folder, tmp_path / "clips"))
    text = json.loads((copy / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    marks = {"bos_token": "[MASK]", "eos_token": "[SEP]"}
    edit_config(
        copy, text_cfg={**text, "tokenizer_mode": "clips", "tokenizer_kwargs": {**text["tokenizer_kwargs"], **marks}}
    )
    encoder = load_encoder(copy, device="cpu")
    pieces = WordPieces(copy)
    inner = [pieces.ids["[MASK]"], *pieces("a dog")[1:-1], pieces.ids["[SEP]"]]
    ids = [*inner, *[0] * (tiny.TOKENS - 1 - len(inner)), pieces.ids["[CLS]"]]
    assert np.abs(encoder.encode_texts(["a dog"])[0] - OpenClip(copy).text(ids)).max() < 1e-5
    assert encoder.count_tokens(["a dog", ""]) == [5, 3]
    with pytest.raises(InvalidInputError, match="max_tokens cannot be set"):
        load_encoder(copy, max_tokens=8)


def test_words_are_not_dropped_at_random(clip_folder, copy):
    text = json.loads((copy / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    edit_config(copy, text_cfg={**text, "tokenizer_kwargs": {"reduction_mask": "shuffle"}})
    with pytest.warns(TruncationWarning):
        shuffled, plain = (load_encoder(name).encode_texts([LONG]) for name in (copy, clip_folder))
    assert np.abs(shuffled - plain).max() < 1e-6


# --- names


def test_a_folder_by_each_of_its_names(clip_folder, monkeypatch):
    expected = load_encoder(clip_folder).fingerprint
    assert expected.startswith("open_clip-")
    assert load_encoder(str(clip_folder), family="OpenCLIP").fingerprint == expected
    monkeypatch.chdir(clip_folder.parent)
    assert load_encoder("local-dir:clip").fingerprint == expected


def test_a_config_that_transformers_does_not_know(clip_folder, copy):
    (copy / "config.json").write_text(json.dumps({"architecture": "vit_tiny"}))  # as timm's repositories have it
    assert load_encoder(copy).fingerprint == load_encoder(clip_folder).fingerprint


def test_the_family_can_be_forced(copy):
    (copy / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(EncoderError, match="weights"):
        load_encoder(copy)  # as a CLIPModel of transformers, which this is not
    assert type(load_encoder(copy, family="OpenCLIP")).__name__ == "OpenCLIPEncoder"


def test_hub_names_and_tags(siglip_folder, tmp_path, monkeypatch):
    """A tag's weights are computed with the activation that they were trained with, also where the architecture says
    another: open_clip only warns."""
    import open_clip

    quick = tiny.save_tiny_open_clip(tmp_path / "quick", quick_gelu=True)
    cache = tmp_path / "cache"
    hub_cache.store("someone/tiny", quick, cache)
    hub_cache.store("someone/tiny-siglip", siglip_folder, cache)
    hub_cache.use(cache, monkeypatch)
    config = json.loads((quick / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "tiny.json").write_text(json.dumps({**config, "quick_gelu": False}))
    open_clip.add_model_config(tmp_path / "tiny.json")
    tag = {"hf_hub": "someone/tiny/", "quick_gelu": True, "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"mine": tag})

    names = {
        "hub": ("hf-hub:someone/tiny", {}),
        "bare": ("someone/tiny", {"revision": "main"}),
        "tag": ("open_clip:tiny/mine", {}),
        "file": (f"open_clip:tiny/{quick / 'open_clip_model.safetensors'}", {}),
        "siglip": ("hf-hub:someone/tiny-siglip", {}),
    }
    found = {
        key: load_encoder(name, device="cpu", local_files_only=True, **more) for key, (name, more) in names.items()
    }
    assert found["hub"].fingerprint == found["bare"].fingerprint == load_encoder(quick).fingerprint
    assert found["siglip"].fingerprint == load_encoder(siglip_folder).fingerprint
    assert len({encoder.fingerprint for encoder in found.values()}) == 4
    texts = {key: encoder.encode_texts(["a dog"]) for key, encoder in found.items() if key != "siglip"}
    assert np.abs(texts["tag"] - texts["hub"]).max() < 1e-6
    assert np.abs(texts["file"] - texts["hub"]).max() > 1e-3  # a bare file says nothing of its activation
    wide = pictures()[1]
    squashed = wide.resize((32, 32), Image.Resampling.BICUBIC)
    assert np.abs(found["tag"].encode_images([wide]) - found["hub"].encode_images([squashed])).max() < 1e-6


def test_a_text_tower_of_transformers_is_taken_from_the_cache(tmp_path, monkeypatch):
    folder = tiny.save_tiny_bert(tmp_path / "bert")
    with pytest.raises(EncoderError, match="Cannot load the config of its text tower"):
        load_encoder(folder, device="cpu", local_files_only=True)
    hub_cache.store("someone/tiny-bert", folder / "bert", tmp_path / "cache")
    hub_cache.store("someone/tiny-clip", folder, tmp_path / "cache")
    hub_cache.use(tmp_path / "cache", monkeypatch)
    pieces = WordPieces(folder)
    expected = np.stack([OpenClip(folder).text(pieces(text)) for text in TEXTS])
    for name in (folder, "hf-hub:someone/tiny-clip"):
        encoder = load_encoder(name, device="cpu", local_files_only=True)
        assert np.abs(encoder.encode_texts(TEXTS) - expected).max() < 1e-5
        half = load_encoder(name, device="cpu", local_files_only=True, dtype="bfloat16")
        assert ((half.encode_texts(TEXTS) * expected).sum(axis=1) > 0.99).all()


def test_pickled_weights_are_read_without_running_code(clip_folder, copy):
    from safetensors.torch import load_file

    weights = load_file(copy / "open_clip_model.safetensors")
    (copy / "open_clip_model.safetensors").unlink()
    torch.save(weights, copy / "open_clip_pytorch_model.bin")
    assert load_encoder(copy).fingerprint == load_encoder(clip_folder).fingerprint
    torch.save({**weights, "payload": Trap(copy / "ran")}, copy / "open_clip_pytorch_model.bin")
    with pytest.raises(EncoderError, match="could run code and is refused"):
        load_encoder(copy)
    assert not (copy / "ran").exists()


class Trap:
    """Pickles into a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_a_tokenizer_may_not_bring_code(siglip_folder, tmp_path):
    copy = Path(shutil.copytree(siglip_folder, tmp_path / "code"))
    text = json.loads((copy / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    edit_config(copy, text_cfg={**text, "tokenizer_kwargs": {"trust_remote_code": True}})
    path = copy / "tokenizer_config.json"
    own = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    (copy / "own.py").write_text(f"open({str(copy / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(EncoderError, match="custom code"):
        load_encoder(copy)
    assert not (copy / "ran").exists()


# --- what can go wrong


def test_no_weights_are_never_random_vectors(copy):
    (copy / "open_clip_model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"holds no weights .* would be random"):
        load_encoder(copy)
    for name in ("open_clip:ViT-B-32", "open_clip:ViT-B-32/", "open_clip:ViT-B-32/no-such-tag"):
        with pytest.raises(InvalidInputError, match="laion2b_s34b_b79k"):
            load_encoder(name)


def test_a_missing_weight(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "open_clip_model.safetensors")
    del weights["text_projection"]
    save_file(weights, copy / "open_clip_model.safetensors")
    with pytest.raises(EncoderError, match="text_projection"):
        load_encoder(copy)


@pytest.mark.skipif(not IS_SHIMMED, reason="torchvision can be imported here")
def test_a_torchvision_that_cannot_be_imported(clip_folder):
    script = f"from commonscale.encoders import load_encoder; load_encoder({str(clip_folder)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "EncoderError: open_clip cannot be imported: operator torchvision::nms does not exist" in done.stderr
    assert "install the two together" in done.stderr


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model_cfg": {"embed_dim": 16}}'])
def test_damaged_configs(copy, content):
    (copy / "open_clip_config.json").write_text(content)
    with pytest.raises(EncoderError, match=r"open_clip_config\.json"):
        load_encoder(copy)


def test_names_of_nothing(tmp_path):
    with pytest.raises(InvalidInputError, match="knows no architecture 'ViT-Z-1'"):
        load_encoder("open_clip:ViT-Z-1/openai")
    with pytest.raises(EncoderError, match=r"open_clip_config\.json of 'local-dir:"):
        load_encoder(f"local-dir:{tmp_path}")
    with pytest.raises(EncoderError, match="Cannot load the model of 'hf-hub:nobody/no-such-model'"):
        load_encoder("hf-hub:nobody/no-such-model", local_files_only=True)
    with pytest.raises(EncoderError, match="Cannot load the weights of 'open_clip:ViT-B-32/laion2b_s34b_b79k'"):
        load_encoder("open_clip:ViT-B-32/laion2b_s34b_b79k", local_files_only=True)


@pytest.mark.parametrize("name", ["open_clip:ViT-B-32/laion2b_s34b_b79k", "local-dir:somewhere"])
def test_only_repositories_have_revisions(name):
    with pytest.raises(InvalidInputError, match=f"revision cannot be set for '{name}': only 'hf-hub:' names have"):
        load_encoder(name, revision="main", local_files_only=True)


def test_folders_that_cannot_be():
    for folder in ("~no-such-user/x", "a" * 5000):
        with pytest.raises(EncoderError, match=r"open_clip_config\.json of 'local-dir:.*: there is no such folder"):
            load_encoder(f"local-dir:{folder}")
        with pytest.raises(InvalidInputError, match="needs weights"):
            load_encoder(f"open_clip:ViT-B-32/{folder}")


# --- fingerprints


def test_fingerprint_changes_with_what_decides_a_vector(folder, encoder, tmp_path):
    def changed(number: int, **model: object) -> str:
        copy = Path(shutil.copytree(folder, tmp_path / f"{number}-siglip"))
        edit_config(copy, **model)
        return load_encoder(copy, device="cpu").fingerprint

    config = encoder.source.config
    prints = [
        encoder.fingerprint,
        changed(0, quick_gelu=not config.get("quick_gelu")),
        changed(1, text_cfg={**config["text_cfg"], "heads": 4}),
        changed(2, text_cfg={**config["text_cfg"], "pool_type": "first"}),
        changed(3, text_cfg={**config["text_cfg"], "tokenizer_kwargs": {"clean": "whitespace"}}),
    ]
    assert len(set(prints)) == len(prints)
    # What only says where things come from, and what open_clip would do anyway, changes nothing.
    spelled_out = {**config["text_cfg"], "mlp_ratio": 4.0, "output_tokens": False}
    assert changed(4, text_cfg=spelled_out, vision_cfg={**config["vision_cfg"], "patch_dropout": 0.5}) == prints[0]


def test_fingerprint_changes_with_weights_and_pixels(clip_folder, copy):
    first = load_encoder(clip_folder)
    path = copy / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    path.write_text(json.dumps(config))
    other_pixels = load_encoder(copy)
    with torch.no_grad():
        first._model.visual.proj[0, 0] += 1e-6
    assert len({load_encoder(clip_folder).fingerprint, first.fingerprint, other_pixels.fingerprint}) == 3


def test_settings_of_a_text_tower_of_transformers_are_in_the_fingerprint(tmp_path):
    prints, vectors = [], []
    for act in ("gelu", "relu"):
        folder = tiny.save_tiny_bert(tmp_path / act)
        tower = folder / "bert" / "config.json"
        tower.write_text(json.dumps({**json.loads(tower.read_text()), "hidden_act": act}))
        path = folder / "open_clip_config.json"
        config = json.loads(path.read_text())
        config["model_cfg"]["text_cfg"]["hf_model_name"] = str(tower.parent)
        path.write_text(json.dumps(config))
        encoder = load_encoder(folder, device="cpu", local_files_only=True)
        prints.append(encoder.fingerprint)
        vectors.append(encoder.encode_texts(TEXTS))
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-6
    assert prints[0] != prints[1]
