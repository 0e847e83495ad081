"""Sentence Transformers: tiny models saved by the library, and in the layout of published ones, against plain NumPy."""

from __future__ import annotations

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import hub_cache
from commonscale.core.errors import EncoderError, InvalidInputError, TruncationWarning
from commonscale.encoders import load_encoder
from commonscale.encoders.fingerprint import TOKENIZER_LOCK
from independent.models import Clip
from independent.pictures import cropped, settings_of
from independent.tokens import ClipTokens, WordPieces, cut
from independent.transformer import Weights, bert, linear, unit
from other_configs import check_settings_count
from tiny_checkpoints import sentence_transformers as tiny
from tiny_models import CLIP_TOKENS, save_tiny_clip

torch = pytest.importorskip("torch")
library = pytest.importorskip("sentence_transformers")
Image = pytest.importorskip("PIL.Image")

LAYOUTS = {"today": tiny.save_tiny_st_clip, "published": tiny.save_tiny_st_clip_as_published}
TEXTS = ["a photo of the red dog on grass", "Cat!", "", "two dog runs", "the blue cat sleeps, two!"]
SIZES = [(32, 32), (57, 40), (20, 1), (33, 99), (64, 3), (640, 31)]


@pytest.fixture(scope="session")
def clip_source(tmp_path_factory) -> Path:
    """The CLIP that both layouts hold."""
    return save_tiny_clip(tmp_path_factory.mktemp("source") / "clip")


@pytest.fixture(scope="session", params=LAYOUTS, ids=LAYOUTS)
def clip_folder(request, tmp_path_factory) -> Path:
    return LAYOUTS[request.param](tmp_path_factory.mktemp("st") / request.param)


@pytest.fixture(scope="session")
def clip(clip_folder):
    return load_encoder(clip_folder, device="cpu", batch_size=4)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory) -> Path:
    return tiny.save_tiny_st_text(tmp_path_factory.mktemp("st") / "text")


@pytest.fixture(scope="session")
def text_encoder(text_folder):
    return load_encoder(text_folder, device="cpu", batch_size=2)


@pytest.fixture
def copy(text_folder, tmp_path) -> Path:
    """A copy of the text model that a test may damage."""
    return Path(shutil.copytree(text_folder, tmp_path / "copy"))


def pictures() -> list[Image.Image]:
    draws = np.random.default_rng(1)
    return [Image.fromarray(draws.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in SIZES]


def clip_texts(source: Path, texts: list[str]) -> np.ndarray:
    plain, tokens = Clip(source), ClipTokens(source)
    return np.stack([plain.text(cut(tokens(text), CLIP_TOKENS)) for text in texts])


def bert_texts(folder: Path, prompt: str, texts: list[str], limit: int = tiny.TEXT_TOKENS) -> np.ndarray:
    """BERT, the mean of its last hidden states, a dense layer with tanh."""
    from safetensors.numpy import load_file

    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), encoding="utf-8")
    pieces = WordPieces(folder)
    tower, dense = (
        Weights(load_file(folder / "model.safetensors")),
        Weights(load_file(folder / "2_Dense/model.safetensors")),
    )
    rows = []
    for text in texts:
        hidden = bert(cut(pieces(prompt + text), limit), tower, 4, 1e-12)
        rows.append(unit(np.tanh(linear(hidden.mean(axis=0), dense.at("linear")))))
    return np.stack(rows)


# --- exactness


def test_clip_texts_agree_with_the_definition(clip, clip_source):
    expected = clip_texts(clip_source, TEXTS)
    assert clip.dimension == expected.shape[1]
    assert np.abs(clip.encode_texts(TEXTS) - expected).max() < 1e-5
    assert np.abs(clip.encode_questions(TEXTS) - expected).max() < 1e-5


def test_clip_pictures_agree_with_the_definition(clip, clip_source):
    plain, settings = Clip(clip_source), settings_of(clip_source)
    expected = np.stack([plain.image(cropped(np.asarray(picture), settings)) for picture in pictures()])
    assert np.abs(clip.encode_images(pictures()) - expected).max() < 1e-5
    gray = pictures()[1].convert("L")
    expected = plain.image(cropped(np.asarray(gray.convert("RGB")), settings))
    assert np.abs(clip.encode_images([gray])[0] - expected).max() < 1e-5


def test_questions_and_passages_get_their_prompts(text_encoder, text_folder):
    questions, passages = text_encoder.encode_questions(TEXTS), text_encoder.encode_texts(TEXTS)
    assert np.abs(questions - bert_texts(text_folder, "two dog ", TEXTS)).max() < 1e-5
    assert np.abs(passages - bert_texts(text_folder, "the ", TEXTS)).max() < 1e-5
    assert np.abs(questions - passages).max() > 1e-3


def test_agreement_with_the_library_itself(clip_folder, clip, text_folder, text_encoder):
    for folder, encoder in ((clip_folder, clip), (text_folder, text_encoder)):
        model = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        for own, theirs in (
            (encoder.encode_questions, model.encode_query),
            (encoder.encode_texts, model.encode_document),
        ):
            expected = theirs(TEXTS, normalize_embeddings=True, show_progress_bar=False)
            assert np.abs(own(TEXTS) - expected).max() < 1e-6
    model = library.SentenceTransformer(str(clip_folder), device="cpu", local_files_only=True)
    expected = model.encode(pictures(), normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(clip.encode_images(pictures()) - expected).max() < 1e-6


def test_batches_change_neither_vectors_nor_order(clip):
    alone = np.concatenate([clip.encode_texts([text]) for text in TEXTS])
    assert np.abs(clip.encode_texts(TEXTS) - alone).max() < 1e-6
    alone = np.concatenate([clip.encode_images([picture]) for picture in pictures()])
    assert np.abs(clip.encode_images(pictures()) - alone).max() < 1e-6


def test_texts_that_look_like_pictures_are_texts(clip, clip_source, tmp_path, monkeypatch):
    """The library opens a string that names a picture, or fetches it, and embeds what it finds."""
    monkeypatch.chdir(tmp_path)
    pictures()[0].save("dog.png")
    names = ["dog.png", "http://a/x.jpg", "data:image/x,a", "x.mp3"]
    assert np.abs(clip.encode_texts(names) - clip_texts(clip_source, names)).max() < 1e-5
    assert np.abs(clip.encode_questions(names) - clip_texts(clip_source, names)).max() < 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_types_are_close_and_give_float32(clip_folder, clip, text_folder, text_encoder, dtype):
    for folder, encoder in ((clip_folder, clip), (text_folder, text_encoder)):
        other = load_encoder(folder, device="cpu", dtype=dtype)
        assert {weights.dtype for weights in other._model.parameters()} == {getattr(torch, dtype)}
        coarse, fine = other.encode_texts(TEXTS), encoder.encode_texts(TEXTS)
        assert coarse.dtype == np.float32
        assert ((coarse * fine).sum(axis=1) > 0.99).all()
        assert other.fingerprint != encoder.fingerprint
    assert (
        (load_encoder(clip_folder, dtype=dtype).encode_images(pictures()) * clip.encode_images(pictures())).sum(1)
        > 0.99
    ).all()


def test_saved_dimensions_are_cut(copy, text_encoder, text_folder):
    """A model can be saved with fewer dimensions than it computes (truncate_dim, for Matryoshka embeddings)."""
    path = copy / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncate_dim": 5}))
    short = load_encoder(copy, device="cpu")
    assert short.dimension == 5
    whole = bert_texts(text_folder, "the ", TEXTS)[:, :5]
    assert np.abs(short.encode_texts(TEXTS) - whole / np.linalg.norm(whole, axis=1, keepdims=True)).max() < 1e-5
    assert short.fingerprint != text_encoder.fingerprint


# --- modalities


def test_a_text_model_refuses_pictures(text_encoder):
    assert text_encoder.encode_images([]).shape == (0, 16)
    for method in (text_encoder.encode_images, text_encoder.encode_images_reporting):
        with pytest.raises(InvalidInputError, match="embeds texts only; take another encoder for pictures"):
            method(pictures()[:2])


class Together:
    """A model whose pictures cannot be prepared one by one: they come with tokens, as in models with chat templates.

    It stands for those of the library; a fake, because their smallest checkpoint needs torchvision.
    """

    def __init__(self, model) -> None:
        self.model = model
        self.sizes: list[int] = []

    def preprocess(self, items, **kwargs):
        features = self.model.preprocess(items, **kwargs)
        if features["modality"] != "image":
            return features
        assert TOKENIZER_LOCK.locked()
        self.sizes.append(len(items))
        return {**features, "input_ids": torch.zeros(len(items), 3, dtype=torch.long)}

    def __call__(self, features, **kwargs):
        features.pop("input_ids", None)
        return self.model(features, **kwargs)

    def __getitem__(self, place):
        return self.model[place]

    def __getattr__(self, name):
        return getattr(self.model, name)


def test_pictures_that_come_with_more_than_pixels_are_prepared_together(clip_folder, clip):
    encoder = load_encoder(clip_folder, device="cpu", batch_size=4)
    encoder._model = together = Together(encoder._model)
    assert np.abs(encoder.encode_images(pictures()) - clip.encode_images(pictures())).max() < 1e-6
    assert together.sizes == [1, 4, 2]  # what a picture is made into, then the batches


def test_threads_share_one_encoder(clip):
    texts, images = clip.encode_texts(TEXTS), clip.encode_images(pictures())
    with ThreadPoolExecutor(4) as pool:
        both = list(pool.map(lambda _: (clip.encode_texts(TEXTS), clip.encode_images(pictures())), range(8)))
    assert all(np.abs(got - texts).max() < 1e-6 and np.abs(seen - images).max() < 1e-6 for got, seen in both)


# --- lengths


def test_long_texts_are_cut_with_one_warning(clip, clip_source, text_encoder, text_folder):
    long = " ".join(["dog", "cat"] * 20)
    assert (clip.max_tokens, text_encoder.max_tokens) == (CLIP_TOKENS, tiny.TEXT_TOKENS)
    assert clip.count_tokens([long, "", "a dog"]) == [42, 2, 4]
    assert text_encoder.count_tokens([long, "", "a dog"]) == [43, 3, 5]  # with "the ", the prompt for passages
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than the 24 tokens"):
        vectors = clip.encode_texts(["cat", long])
    assert np.abs(vectors - clip_texts(clip_source, ["cat", long])).max() < 1e-5
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than the 20 tokens"):
        vectors = text_encoder.encode_texts(["cat", long])
    assert np.abs(vectors - bert_texts(text_folder, "the ", ["cat", long])).max() < 1e-5


def test_own_limit(text_folder, text_encoder):
    short = load_encoder(text_folder, device="cpu", max_tokens=5)
    with pytest.warns(TruncationWarning, match="1 of 1 texts are longer than the 5 tokens"):
        vectors = short.encode_texts(["cat runs on grass"])
    assert np.abs(vectors - bert_texts(text_folder, "the ", ["cat runs on grass"], limit=5)).max() < 1e-5
    assert short.fingerprint != text_encoder.fingerprint
    with pytest.raises(InvalidInputError, match="more than the 20 tokens"):
        load_encoder(text_folder, max_tokens=21)


def word_vectors(dimension: int):
    """A table of word vectors: no tokenizer of transformers, no limit."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "dog": 1, "cat": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(3).normal(size=(3, dimension)).astype(np.float32)
    return StaticEmbedding(tokenizer, embedding_weights=table), table


def test_a_model_with_a_tokenizer_of_its_own(tmp_path):
    module, table = word_vectors(8)
    library.SentenceTransformer(modules=[module], device="cpu").save_pretrained(str(tmp_path / "static"))
    encoder = load_encoder(tmp_path / "static", device="cpu")
    expected = np.stack([unit(table[[1, 2, 2]].mean(axis=0)), unit(table[1])])
    assert np.abs(encoder.encode_texts(["dog cat cat", "dog"]) - expected).max() < 1e-5
    assert (encoder.max_tokens, encoder.unit, encoder.count_tokens(["dog", ""])) == (None, "characters", [3, 0])
    assert encoder.fingerprint == load_encoder(tmp_path / "static").fingerprint
    with pytest.raises(InvalidInputError, match="max_tokens cannot be set"):
        load_encoder(tmp_path / "static", max_tokens=5)


# --- models of several ways


def test_questions_and_passages_by_different_modules(text_folder, tmp_path):
    from sentence_transformers.base.modules import Router, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    words, table = word_vectors(32)
    router = Router.for_query_document([words], [Transformer(str(text_folder)), Pooling(32, "mean")])
    library.SentenceTransformer(modules=[router], device="cpu").save_pretrained(str(tmp_path / "router"))
    encoder = load_encoder(tmp_path / "router", device="cpu")
    assert np.abs(encoder.encode_questions(["dog cat"])[0] - unit(table[[1, 2]].mean(axis=0))).max() < 1e-5
    model = library.SentenceTransformer(str(tmp_path / "router"), device="cpu")
    passages = model.encode_document(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(encoder.encode_texts(TEXTS) - passages).max() < 1e-6
    assert np.abs(encoder.encode_texts(["dog cat"]) - encoder.encode_questions(["dog cat"])).max() > 1e-3


def test_texts_and_pictures_by_different_modules(text_folder, clip_folder, clip, tmp_path):
    from sentence_transformers.base.modules import Dense, Router, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    texts = [Transformer(str(text_folder)), Pooling(32, "mean"), Dense(32, clip.dimension)]
    images = library.SentenceTransformer(str(clip_folder), device="cpu")[0]
    ways = {(None, "text"): "text", (None, "image"): "image"}
    router = Router({"text": texts, "image": [images]}, route_mappings=ways)
    library.SentenceTransformer(modules=[router], device="cpu").save_pretrained(str(tmp_path / "router"))
    encoder = load_encoder(tmp_path / "router", device="cpu")
    assert np.abs(encoder.encode_images(pictures()) - clip.encode_images(pictures())).max() < 1e-6
    model = library.SentenceTransformer(str(tmp_path / "router"), device="cpu")
    expected = model.encode_document(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(encoder.encode_texts(TEXTS) - expected).max() < 1e-6
    assert encoder.fingerprint == load_encoder(tmp_path / "router").fingerprint != clip.fingerprint


# --- names


@pytest.mark.parametrize("name", ["clip-ViT-B-32", "sentence-transformers/clip-ViT-B-32"])
def test_the_published_names(name, tmp_path, monkeypatch):
    folder = tiny.save_tiny_st_clip_as_published(tmp_path / "published")
    with pytest.raises(EncoderError, match=f"Cannot load the modules of '{name}'"):
        load_encoder(name, local_files_only=True)
    hub_cache.store("sentence-transformers/clip-ViT-B-32", folder, tmp_path / "cache")
    hub_cache.use(tmp_path / "cache", monkeypatch)
    assert load_encoder(name, local_files_only=True).fingerprint == load_encoder(folder).fingerprint


def test_the_family_by_its_name(clip_source):
    """A folder without modules.json is a CLIP; asked for by name, the library makes a model of it."""
    encoder = load_encoder(clip_source, family="SentenceTransformers", device="cpu")
    plain = load_encoder(clip_source, device="cpu")
    assert type(encoder).__name__ == "SentenceTransformersEncoder"
    assert np.abs(encoder.encode_texts(TEXTS) - plain.encode_texts(TEXTS)).max() < 1e-6
    assert np.abs(encoder.encode_images(pictures()) - plain.encode_images(pictures())).max() < 1e-6


# --- what can go wrong


def test_code_of_a_model_is_never_run(copy):
    path = copy / "modules.json"
    modules = json.loads(path.read_text())
    modules[0]["type"] = "own.Own"
    path.write_text(json.dumps(modules))
    (copy / "own.py").write_text(f"open({str(copy / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(EncoderError, match="trust_remote_code"):
        load_encoder(copy)
    assert not (copy / "ran").exists()


def remove(path: Path, key: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    del weights[key]
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_missing_weights_are_never_random(copy, level, caplog):
    remove(copy / "model.safetensors", "encoder.layer.1.output.dense.weight")
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(level)
    try:
        with pytest.raises(EncoderError, match=r"lacks 1 weights .*encoder\.layer\.1\.output\.dense\.weight.*random"):
            load_encoder(copy)
    finally:
        logger.setLevel(before)


def test_a_pooler_that_nothing_reads_may_be_missing(copy, text_encoder):
    for key in ("pooler.dense.weight", "pooler.dense.bias"):
        remove(copy / "model.safetensors", key)
    encoder = load_encoder(copy, device="cpu")
    assert encoder.fingerprint == load_encoder(copy).fingerprint == text_encoder.fingerprint
    assert np.abs(encoder.encode_texts(TEXTS) - text_encoder.encode_texts(TEXTS)).max() < 1e-6


def test_a_module_without_its_weights(copy):
    (copy / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="Cannot load the modules"):
        load_encoder(copy)


# --- fingerprints


def test_both_layouts_are_one_model(clip, tmp_path):
    prints = {load_encoder(save(tmp_path / name)).fingerprint for name, save in LAYOUTS.items()}
    assert prints == {clip.fingerprint}
    assert clip.fingerprint.startswith("sentence-transformers-")


def test_fingerprint_changes_with_what_decides_a_vector(text_encoder, copy, clip, clip_folder):
    prints = {text_encoder.fingerprint}
    changes = {
        "1_Pooling/config.json": {"pooling_mode": "cls"},
        "config_sentence_transformers.json": {"prompts": {"query": "two dog ", "document": ""}},
        "2_Dense/config.json": {"activation_function": "torch.nn.modules.linear.Identity"},
    }
    for file, change in changes.items():
        path = copy / file
        before = path.read_text()
        path.write_text(json.dumps({**json.loads(before), **change}))
        prints.add(load_encoder(copy, device="cpu").fingerprint)
        path.write_text(before)
    changed = load_encoder(copy, device="cpu")
    with torch.no_grad():
        changed._model[2].linear.bias[0] += 1e-6
    prints.add(changed.fingerprint)
    assert len(prints) == 5
    other = load_encoder(clip_folder, device="cpu")
    other._model[0].processor.image_processor.image_mean = [0.5, 0.5, 0.5]
    assert other.fingerprint != clip.fingerprint


def test_other_settings_of_the_towers_are_another_model(clip_folder, text_folder, tmp_path):
    inside = "config.json" if (clip_folder / "config.json").is_file() else "0_CLIPModel/config.json"
    load = partial(load_encoder, device="cpu")
    check_settings_count(
        clip_folder,
        tmp_path / "clip",
        load,
        {"text_config.num_attention_heads": 2},
        {"vision_config.hidden_act": "relu"},
        {"vision_config.layer_norm_eps": 0.01},
        file=inside,
    )
    changes = {"num_attention_heads": 2}, {"hidden_act": "relu"}, {"layer_norm_eps": 0.01}
    check_settings_count(text_folder, tmp_path / "text", load, *changes, pictures=False)
