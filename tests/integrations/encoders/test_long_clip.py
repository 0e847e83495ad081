"""Long-CLIP from the published layout, against its forward pass written out."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from commonscale.core.errors import EncoderError, InvalidInputError, TruncationWarning
from commonscale.encoders import load_encoder
from other_configs import check_settings_count
from tiny_checkpoints.long_clip import DIMENSION, IMAGE_SIZE, PATCH, POSITIONS, long_clip_state, save_conversion
from tiny_models import save_tiny_clip

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
Image = pytest.importorskip("PIL.Image")

MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
LONG = ["a", "photo", "of", "the", "red", "dog", "on", "grass", "two", "cat", "sleeps"] * 30


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory) -> Path:
    """A CLIP whose tokenizer serves, as openai/clip-vit-base-patch32 does; it stops at 24 tokens by itself."""
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def vocabulary(clip_folder) -> dict[str, int]:
    return json.loads((clip_folder / "vocab.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def state(vocabulary):
    return long_clip_state(len(vocabulary))


@pytest.fixture(scope="module")
def published(tmp_path_factory, state) -> Path:
    path = tmp_path_factory.mktemp("published") / "longclip-B.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def encoder(published, clip_folder):
    return load_encoder(published, tokenizer=clip_folder, device="cpu", batch_size=3)


def ids_of(words: list[str], vocabulary: dict[str, int]) -> list[int]:
    """Mark and end a text, and pad with zeros; a text too long ends with the end mark all the same."""
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    ids = [start, *(vocabulary[f"{word}</w>"] for word in words), end]
    if len(ids) > POSITIONS:
        ids = [*ids[: POSITIONS - 1], end]
    return ids + [0] * (POSITIONS - len(ids))


def transformer(x, state, name: str, mask):
    """Residual attention blocks: x + attention(ln_1(x)), then x + mlp(ln_2(x)), heads of 64, QuickGELU."""
    width = x.shape[-1]
    layer = 0
    while f"{name}.resblocks.{layer}.ln_1.weight" in state:
        block = f"{name}.resblocks.{layer}"
        weights = {key.removeprefix(block + "."): value for key, value in state.items() if key.startswith(block + ".")}
        joint = norm(x, weights, "ln_1") @ weights["attn.in_proj_weight"].T + weights["attn.in_proj_bias"]
        heads = []
        for head in range(width // 64):
            query, key, value = (joint[:, part * width :][:, head * 64 : head * 64 + 64] for part in range(3))
            heads.append(torch.softmax(query @ key.T / 8 + mask, dim=-1) @ value)
        x = x + torch.cat(heads, dim=1) @ weights["attn.out_proj.weight"].T + weights["attn.out_proj.bias"]
        inner = norm(x, weights, "ln_2") @ weights["mlp.c_fc.weight"].T + weights["mlp.c_fc.bias"]
        inner = inner * torch.sigmoid(1.702 * inner)
        x = x + inner @ weights["mlp.c_proj.weight"].T + weights["mlp.c_proj.bias"]
        layer += 1
    return x


def norm(x, state, name: str):
    centered = x - x.mean(-1, keepdim=True)
    scaled = centered / torch.sqrt(centered.pow(2).mean(-1, keepdim=True) + 1e-5)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def text_by_hand(words: list[str], state, vocabulary) -> np.ndarray:
    """Do what encode_text of the authors does: two masked tables, a causal mask over 248, pooling at the highest id."""
    state = {key: value.double() for key, value in state.items()}
    ids = torch.tensor(ids_of(words, vocabulary))
    first = (torch.arange(POSITIONS) < 20).double()[:, None]
    x = state["token_embedding.weight"][ids]
    x = x + state["positional_embedding"] * first + state["positional_embedding_res"] * (1 - first)
    causal = torch.full((POSITIONS, POSITIONS), float("-inf"), dtype=torch.float64).triu(1)
    x = norm(transformer(x, state, "transformer", causal), state, "ln_final")
    return unit(x[ids.argmax()] @ state["text_projection"])


def image_by_hand(pixels: np.ndarray, state) -> np.ndarray:
    """Do what encode_image of the authors does with a picture of the model's size, channels last, 0 to 255."""
    state = {key: value.double() for key, value in state.items()}
    values = (pixels / 255 - MEAN) / STD
    grid = IMAGE_SIZE // PATCH
    patches = values.reshape(grid, PATCH, grid, PATCH, 3).transpose(0, 2, 4, 1, 3).reshape(grid * grid, -1)
    x = torch.tensor(patches) @ state["visual.conv1.weight"].reshape(-1, 3 * PATCH**2).T
    x = torch.cat([state["visual.class_embedding"][None], x]) + state["visual.positional_embedding"]
    x = transformer(norm(x, state, "visual.ln_pre"), state, "visual.transformer", 0.0)
    return unit(norm(x[:1], state, "visual.ln_post")[0] @ state["visual.proj"])


def unit(vector) -> np.ndarray:
    return (vector / vector.norm()).numpy()


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


# --- exactness


def test_texts_of_any_length_are_those_of_the_original(encoder, state, vocabulary):
    texts = [LONG[:1], LONG[:17], LONG[:18], LONG[:19], LONG[:100], LONG[:245], LONG[:246]]
    expected = np.stack([text_by_hand(words, state, vocabulary) for words in texts])
    given = [" ".join(words) for words in texts]
    assert encoder.count_tokens(given) == [3, 19, 20, 21, 102, 247, 248]
    np.testing.assert_allclose(encoder.encode_texts(given), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_questions(given), expected, atol=1e-5)
    assert abs(expected @ expected.T - np.eye(len(texts))).max() < 0.999  # the texts do differ


def test_a_text_over_the_limit_ends_with_the_end_mark(encoder, state, vocabulary):
    assert encoder.max_tokens == POSITIONS
    assert encoder.count_tokens([" ".join(LONG[:247])]) == [249]
    with pytest.warns(TruncationWarning, match="longer than the 248 tokens"):
        vectors = encoder.encode_texts([" ".join(LONG[:247]), " ".join(LONG)])
    expected = text_by_hand(LONG[:247], state, vocabulary)
    np.testing.assert_allclose(vectors, [expected, expected], atol=1e-5)
    np.testing.assert_allclose(expected, text_by_hand(LONG[:246], state, vocabulary), atol=1e-12)


def test_both_tables_are_read_where_the_paper_says(state, vocabulary):
    """The comparison above would notice a border one position off."""
    short, long = LONG[:18], LONG[:19]  # 20 and 21 positions up to the end mark
    other = state | {"positional_embedding_res": -state["positional_embedding_res"]}
    assert (text_by_hand(short, state, vocabulary) == text_by_hand(short, other, vocabulary)).all()
    assert abs(text_by_hand(long, state, vocabulary) - text_by_hand(long, other, vocabulary)).max() > 0.01


def test_pictures_are_those_of_the_original(encoder, state):
    exact, wide = picture(32, 32), picture(80, 40)
    # The shorter side becomes 32 by bicubic scaling, and the middle square is cut out.
    scaled = np.asarray(wide.resize((64, 32), Image.Resampling.BICUBIC))[:, 16:48]
    expected = [image_by_hand(np.asarray(exact), state), image_by_hand(scaled, state)]
    np.testing.assert_allclose(encoder.encode_images([exact, wide]), expected, atol=1e-5)
    assert encoder.dimension == DIMENSION


# --- the forms in which it is found


def test_half_precision_files_are_computed_in_float32(tmp_path, state, vocabulary, clip_folder):
    halves = {key: value.half() for key, value in state.items()}
    torch.save(halves, tmp_path / "longclip-B.pt")
    encoder = load_encoder(tmp_path, tokenizer=clip_folder, device="cpu")
    expected = text_by_hand(LONG[:30], halves, vocabulary)
    np.testing.assert_allclose(encoder.encode_texts([" ".join(LONG[:30])])[0], expected, atol=1e-5)


def test_files_of_before_the_zip_format_load(tmp_path, state, encoder, clip_folder):
    torch.save(state, tmp_path / "longclip-B.pt", _use_new_zipfile_serialization=False)
    assert load_encoder(tmp_path, tokenizer=clip_folder, device="cpu").fingerprint == encoder.fingerprint


@pytest.mark.parametrize("tables", [1, 2])
@pytest.mark.parametrize("positions", [248, 77])
def test_conversions_give_the_same_vectors_and_fingerprint(tmp_path, state, encoder, clip_folder, tables, positions):
    """Some keep both tables under a config that needs code of its own; some say 77 and have 248 positions."""
    folder = save_conversion(tmp_path, state, tables=tables, positions=positions)
    converted = load_encoder(folder, family="Long-CLIP", tokenizer=str(clip_folder), device="cpu")
    texts = [" ".join(LONG[:count]) for count in (1, 25, 246)]
    np.testing.assert_allclose(converted.encode_texts(texts), encoder.encode_texts(texts), atol=1e-6)
    assert converted.max_tokens == POSITIONS
    assert converted.fingerprint == encoder.fingerprint


def test_a_conversion_brings_its_own_tokenizer_and_image_settings(tmp_path, state, encoder, clip_folder):
    folder = save_conversion(tmp_path, state, tables=2)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "preprocessor_config.json"):
        (folder / name).write_bytes((clip_folder / name).read_bytes())
    assert load_encoder(folder, device="cpu").fingerprint == encoder.fingerprint
    settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    settings["image_mean"] = [0.5, 0.5, 0.5]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert load_encoder(folder, device="cpu").fingerprint != encoder.fingerprint


def test_a_whole_conversion_serves_as_a_clip(tmp_path, state, encoder, clip_folder):
    """It is found by its model_type; the 77 that its tokenizer still says is no limit of the model."""
    folder = save_conversion(tmp_path, state, tables=1)
    for name in ("vocab.json", "merges.txt", "preprocessor_config.json"):
        (folder / name).write_bytes((clip_folder / name).read_bytes())
    settings = json.loads((clip_folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 77}), encoding="utf-8")
    converted = load_encoder(folder, device="cpu")
    assert converted.max_tokens == POSITIONS
    assert converted.fingerprint == encoder.fingerprint


def test_the_published_name_is_found_in_the_cache_of_the_hub(tmp_path, monkeypatch, published, encoder, clip_folder):
    import huggingface_hub.constants

    repository = tmp_path / "models--BeichenZhang--LongCLIP-B"
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    (snapshot / "longclip-B.pt").write_bytes(published.read_bytes())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = load_encoder("BeichenZhang/LongCLIP-B", tokenizer=clip_folder, local_files_only=True, device="cpu")
    assert found.fingerprint == encoder.fingerprint
    with pytest.raises(EncoderError, match="Cannot load the files of 'BeichenZhang/LongCLIP-L'"):
        load_encoder("BeichenZhang/LongCLIP-L", local_files_only=True)


def test_a_clip_of_openai_as_a_state_dict_loads_too(tmp_path, state, vocabulary, clip_folder):
    table = state["positional_embedding"][:77]
    plain = {key: value for key, value in state.items() if key != "positional_embedding_res"}
    torch.save(plain | {"positional_embedding": table, "context_length": torch.tensor(77)}, tmp_path / "ViT.pt")
    encoder = load_encoder(tmp_path / "ViT.pt", family="Long-CLIP", tokenizer=clip_folder, device="cpu")
    assert encoder.max_tokens == 77
    both = state | {"positional_embedding_res": state["positional_embedding"]}
    expected = text_by_hand(LONG[:40], both, vocabulary)
    np.testing.assert_allclose(encoder.encode_texts([" ".join(LONG[:40])])[0], expected, atol=1e-5)


def test_the_file_may_go_once_the_encoder_is_there(tmp_path, state, encoder, clip_folder):
    path = tmp_path / "longclip-B.pt"
    torch.save(state, path)
    loaded = load_encoder(path, tokenizer=clip_folder, device="cpu")
    path.write_bytes(bytes(path.stat().st_size))  # in place, as a copying tool does
    assert loaded.fingerprint == encoder.fingerprint
    assert not loaded.checkpoint.state  # no second copy of the weights


# --- what is refused


class Program:
    """Unpickling it would run code."""

    def __reduce__(self):
        return print, ("run",)


def test_a_file_that_could_run_code_is_refused(tmp_path, state, capsys):
    torch.save(state | {"more": Program()}, tmp_path / "longclip-B.pt")
    with pytest.raises(EncoderError, match="could run code and is refused"):
        load_encoder(tmp_path)
    assert capsys.readouterr().out == ""


def test_a_torchscript_archive_is_refused(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "longclip-B.pt", "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(EncoderError, match="TorchScript archive"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visual.layer1.0.conv1.weight": 1}, "ResNet as its image tower"),
        ({"positional_embedding": None}, "lacks 'positional_embedding'"),
        ({"transformer.resblocks.1.ln_2.bias": None}, "lacks 1 weights"),
        ({"visual.transformer.resblocks.0.ls_1.gamma": 1}, "holds 'visual.transformer.resblocks.0.ls_1.gamma'"),
        ({"visual.registers": 1}, "holds 'visual.registers'"),
        ({"positional_embedding_res": 77}, "must have one shape"),
        ({"ln_final.weight": 77}, "in another shape 1 weights"),
    ],
)
def test_other_models_are_refused(tmp_path, state, clip_folder, change, message):
    changed = dict(state)
    for key, size in change.items():
        if size is None:
            del changed[key]
        else:
            changed[key] = torch.ones(size, 128)
    torch.save(changed, tmp_path / "longclip-B.pt")
    with pytest.raises(EncoderError, match=message):
        load_encoder(tmp_path, tokenizer=clip_folder)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
def test_interrupted_downloads_are_refused(tmp_path, state, zipped, part):
    path = tmp_path / "longclip-B.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(EncoderError, match=r"was not written by torch|ends too early|Cannot load the weights"):
        load_encoder(path)


def test_a_pointer_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "longclip-B.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(EncoderError, match=r"begins with b've'.*pointer of Git LFS"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"text_config": {"hidden_size": "wide"}}', '{"model_type": "longclip"}']
)
def test_a_conversion_with_a_damaged_config_is_refused(tmp_path, state, content):
    folder = save_conversion(tmp_path, state, tables=2)
    (folder / "config.json").write_text(content)
    with pytest.raises(
        EncoderError, match=r"Cannot load config\.json|Cannot load the weights|JSON object|lacks 320 weights"
    ):
        load_encoder(folder, family="Long-CLIP")


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save([torch.ones(3)], tmp_path / "longclip-B.pt")
    with pytest.raises(EncoderError, match="tensors by name"):
        load_encoder(tmp_path)


def test_several_files_need_a_choice(tmp_path, published, clip_folder):
    for name in ("longclip-B.pt", "longclip-L.pt"):
        (tmp_path / name).write_bytes(published.read_bytes())
    with pytest.raises(EncoderError, match=r"found 2: longclip-B\.pt, longclip-L\.pt\. Give the file itself"):
        load_encoder(tmp_path, tokenizer=clip_folder)
    assert load_encoder(tmp_path / "longclip-L.pt", tokenizer=clip_folder, device="cpu").dimension == DIMENSION


def test_a_tokenizer_that_is_not_there_is_explained(published, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError, match=r"(?s)hold no tokenizer; .*tokenizer=.*openai/clip-vit-base-patch32"):
        load_encoder(published, local_files_only=True)
    with pytest.raises(InvalidInputError, match="tokenizer must be a folder or hub id, got 7"):
        load_encoder(published, tokenizer=7)


# --- fingerprints


def test_other_settings_of_the_towers_are_another_model(tmp_path, state, clip_folder):
    folder = save_conversion(tmp_path / "plain", state, tables=2)
    check_settings_count(
        folder,
        tmp_path,
        partial(load_encoder, family="Long-CLIP", tokenizer=clip_folder, device="cpu"),
        {"text_config.hidden_act": "gelu"},
        {"vision_config.hidden_act": "relu"},
        {"text_config.num_attention_heads": 4},
        {"vision_config.num_attention_heads": 6},
        {"text_config.layer_norm_eps": 0.01},
        {"vision_config.layer_norm_eps": 0.01},
    )
