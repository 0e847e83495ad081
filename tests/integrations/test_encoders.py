"""The encoders on tiny random checkpoints of the real classes, saved to disk and loaded offline."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import commonscale
from commonscale.core.errors import EncoderError, ImageError, InvalidInputError, TruncationWarning
from commonscale.encoders import Encoder, load_encoder
from commonscale.encoders.fingerprint import TOKENIZER_LOCK
from tiny_models import BERT_TOKENS, CLIP_TOKENS, DIMENSION, IMAGE_SIZE, save_tiny_clip, save_tiny_dual_encoder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
Image = pytest.importorskip("PIL.Image")


SAVERS = {"clip": save_tiny_clip, "vision-text-dual-encoder": save_tiny_dual_encoder}
TEXTS = [
    "a photo of the red dog on grass",
    "cat",
    "",
    "two dog runs",
    "the blue cat sleeps on the red photo, two!",
    "Zebra 7",
]


@pytest.fixture(scope="session", params=SAVERS, ids=SAVERS)
def folder(request, tmp_path_factory) -> Path:
    return SAVERS[request.param](tmp_path_factory.mktemp("checkpoint") / request.param)


@pytest.fixture(scope="session")
def encoder(folder):
    return load_encoder(folder, batch_size=3, device="cpu")


def pictures(count: int = 5) -> list[Image.Image]:
    draws = np.random.default_rng(1)
    return [Image.fromarray(draws.integers(0, 256, (30 + 7 * n, 64 - 5 * n, 3), dtype=np.uint8)) for n in range(count)]


def by_hand_text(encoder, text: str) -> np.ndarray:
    """One text, no padding, through the tower and the projection themselves."""
    model = encoder._model
    ids = encoder._tokenizer([text])["input_ids"]
    with torch.no_grad():
        output = model.text_model(input_ids=torch.tensor(ids))
        if encoder.checkpoint.config.model_type == "clip":
            pooled = output.last_hidden_state[0, len(ids[0]) - 1]  # the end mark is the last token
        else:
            pooled = model.text_model.pooler(output.last_hidden_state)[0]
        vector = model.text_projection.weight.numpy() @ pooled.numpy()
    return vector / np.linalg.norm(vector)


def by_hand_image(encoder, image: Image.Image) -> np.ndarray:
    """One picture that needs no resizing: only scaling, normalization, tower and projection."""
    assert image.size == (IMAGE_SIZE, IMAGE_SIZE)
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    values = (np.asarray(image) / 255 - mean) / std
    model = encoder._model
    with torch.no_grad():
        output = model.vision_model(pixel_values=torch.tensor(values.transpose(2, 0, 1)[None], dtype=torch.float32))
        if encoder.checkpoint.config.model_type == "clip":
            pooled = model.vision_model.post_layernorm(output.last_hidden_state[:, 0])[0]
        else:
            pooled = model.vision_model.pooler(output.last_hidden_state)[0]
        vector = model.visual_projection.weight.numpy() @ pooled.numpy()
    return vector / np.linalg.norm(vector)


# --- exactness


def test_texts_agree_with_the_model_taken_apart(encoder):
    expected = np.stack([by_hand_text(encoder, text) for text in TEXTS])
    assert np.abs(encoder.encode_texts(TEXTS) - expected).max() < 1e-5


def test_pictures_agree_with_the_model_taken_apart(encoder):
    images = [image.resize((IMAGE_SIZE, IMAGE_SIZE)) for image in pictures()]
    expected = np.stack([by_hand_image(encoder, image) for image in images])
    assert np.abs(encoder.encode_images(images) - expected).max() < 1e-5


def test_the_tiny_models_tell_their_inputs_apart(encoder):
    """Else the agreements above would prove little."""
    texts, images = encoder.encode_texts(TEXTS), encoder.encode_images(pictures())
    assert (np.abs(texts[:, None] - texts[None]).max(axis=2) + np.eye(len(texts)) > 1e-3).all()
    assert (np.abs(images[:, None] - images[None]).max(axis=2) + np.eye(len(images)) > 1e-3).all()


def test_shape_type_and_norm(encoder):
    assert isinstance(encoder, Encoder)
    assert encoder.dimension == DIMENSION
    for vectors in (encoder.encode_questions(TEXTS), encoder.encode_texts(TEXTS), encoder.encode_images(pictures(6))):
        assert vectors.shape == (6, DIMENSION)
        assert vectors.dtype == np.float32
        assert np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1).max() < 1e-6


def test_questions_and_texts_are_alike_in_these_families(encoder):
    assert (encoder.encode_questions(TEXTS) == encoder.encode_texts(TEXTS)).all()


def test_batches_change_neither_vectors_nor_order(folder, encoder):
    texts = (TEXTS * 3)[1:]
    single = np.concatenate([encoder.encode_texts([text]) for text in texts])
    assert np.abs(encoder.encode_texts(texts) - single).max() < 1e-6
    one_batch = load_encoder(folder, batch_size=100)
    assert np.abs(one_batch.encode_texts(texts) - single).max() < 1e-6
    images = pictures(7)
    alone = np.concatenate([encoder.encode_images([image]) for image in images])
    assert np.abs(encoder.encode_images(images) - alone).max() < 1e-6
    assert np.abs(one_batch.encode_images(images) - alone).max() < 1e-6


@pytest.mark.parametrize("height", [1, 3])
def test_flat_pictures_are_not_taken_for_channels_first(encoder, height):
    image = Image.new("RGB", (64, height), (250, 10, 10))
    tall = Image.new("RGB", (64, 32), (250, 10, 10))
    assert np.abs(encoder.encode_images([image]) - encoder.encode_images([tall])).max() < 1e-5


def test_nothing_gives_no_rows(encoder):
    for vectors in (encoder.encode_questions([]), encoder.encode_texts(()), encoder.encode_images([])):
        assert vectors.shape == (0, DIMENSION)
        assert vectors.dtype == np.float32
    batch = encoder.encode_images_reporting([])
    assert (batch.vectors.shape, batch.kept, batch.failures) == ((0, DIMENSION), (), ())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", torch.bfloat16])
def test_other_types_are_close_and_give_float32(folder, encoder, dtype):
    other = load_encoder(folder, dtype=dtype)
    for coarse, fine in (
        (other.encode_texts(TEXTS), encoder.encode_texts(TEXTS)),
        (other.encode_images(pictures()), encoder.encode_images(pictures())),
    ):
        assert coarse.dtype == np.float32
        assert np.abs(np.linalg.norm(coarse, axis=1) - 1).max() < 1e-6
        assert ((coarse * fine).sum(axis=1) > 0.998).all()


def test_threads_share_one_encoder(encoder):
    expected = encoder.encode_texts(TEXTS)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: encoder.encode_texts(TEXTS), range(30)))
    assert all(np.abs(result - expected).max() < 1e-6 for result in results)


class Guarded:
    """A tokenizer that says whenever it is called without the lock: its truncation is state that all calls share."""

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer
        self.calls = 0
        self.bare = 0

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        self.bare += not TOKENIZER_LOCK.locked()
        return self.tokenizer(*args, **kwargs)

    def __getattr__(self, name: str) -> object:
        return getattr(self.tokenizer, name)


def test_every_use_of_the_tokenizer_holds_the_lock(folder, encoder):
    """The fingerprint is made when first asked for, which may be in the middle of another thread's batch."""
    fresh = load_encoder(folder, device="cpu")
    fresh._tokenizer = tokenizer = Guarded(fresh._tokenizer)
    getattr(fresh, "_check_end_token", lambda: None)()
    fresh.encode_texts(TEXTS)
    before = tokenizer.calls
    assert fresh.fingerprint == encoder.fingerprint
    assert tokenizer.calls > before > 1
    assert tokenizer.bare == 0


def test_progress_bar(folder, capfd):
    load_encoder(folder, progress=True).encode_texts(TEXTS)
    assert "6/6" in capfd.readouterr().err
    load_encoder(folder).encode_texts(TEXTS)
    assert capfd.readouterr().err == ""


# --- lengths


def test_long_texts_are_cut_with_one_warning_that_counts_them(encoder):
    limit = {"clip": CLIP_TOKENS, "vision-text-dual-encoder": BERT_TOKENS}[encoder.checkpoint.config.model_type]
    assert encoder.max_tokens == limit
    exact = " ".join(["dog"] * (limit - 2))
    texts = ["cat", exact + " red grass", exact, exact + " blue"]
    assert encoder.count_tokens(texts) == [3, limit + 2, limit, limit + 1]
    for method in (encoder.encode_texts, encoder.encode_questions):
        with pytest.warns(TruncationWarning) as caught:
            vectors = method(texts)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert f"2 of 4 texts are longer than the {limit} tokens" in str(caught[0].message)
        assert f"the longest has {limit + 2}" in str(caught[0].message)
        assert np.abs(vectors[1:] - vectors[2]).max() < 1e-6
        assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


def test_the_warning_points_at_the_users_line_also_through_an_adapter(encoder):
    inside = Path(commonscale.__file__).with_name("adapter.py")
    adapter = compile("encoder.encode_texts(texts)", str(inside), "exec")
    with pytest.warns(TruncationWarning) as caught:
        exec(adapter, {"encoder": encoder, "texts": ["dog " * 200]})
    assert caught[0].filename == __file__


def test_count_tokens(encoder):
    assert encoder.count_tokens([]) == []
    assert encoder.count_tokens(["", "a dog"]) == [2, 4]
    assert encoder.count_tokens(np.array(["", "a dog"])) == [2, 4]
    for wrong in ("a dog", b"a dog", None):
        with pytest.raises(InvalidInputError, match="list of strings"):
            encoder.count_tokens(wrong)


def test_own_limit(folder, encoder):
    short = load_encoder(folder, max_tokens=4)
    assert short.max_tokens == 4
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        vectors = short.encode_texts(["a dog runs on grass"])
    assert np.abs(vectors - encoder.encode_texts(["a dog"])).max() < 1e-6
    assert short.fingerprint != encoder.fingerprint
    with pytest.raises(InvalidInputError, match="more than the"):
        load_encoder(folder, max_tokens=500)


# --- bad input


def test_strings_in_place_of_lists(encoder):
    for method in (encoder.encode_questions, encoder.encode_texts):
        with pytest.raises(InvalidInputError, match="list of strings, got one: 'a dog'"):
            method("a dog")


@pytest.mark.parametrize("bad", [None, 3.5, b"dog", float("nan")])
def test_members_that_are_no_strings(encoder, bad):
    with pytest.raises(InvalidInputError, match="item 1 is of type"):
        encoder.encode_texts(["a dog", bad])


def test_one_picture_in_place_of_a_list(encoder, tmp_path):
    for single in ("dog.png", tmp_path / "dog.png", b"123", pictures(1)[0]):
        for method in (encoder.encode_images, encoder.encode_images_reporting):
            with pytest.raises(InvalidInputError, match="list of pictures, got one"):
                method(single)


def test_a_bad_picture_raises_with_its_place_and_reason(encoder, tmp_path):
    images = [*pictures(4), tmp_path / "missing.jpg", b""]
    with pytest.raises(ImageError, match=r"Image 4, .*missing\.jpg.*: no such file"):
        encoder.encode_images(images)


def test_bad_pictures_are_reported_and_the_others_stay_aligned(encoder, tmp_path):
    good = pictures(5)
    images = [b"", good[0], good[1], tmp_path / "missing.jpg", "not/there.png", b"text", good[2], good[3], good[4], b""]
    batch = encoder.encode_images_reporting(images)
    assert batch.kept == (1, 2, 6, 7, 8)
    assert np.abs(batch.vectors - encoder.encode_images(good)).max() < 1e-6
    assert [failure.index for failure in batch.failures] == [0, 3, 4, 5, 9]
    assert [failure.reason.partition(" (")[0] for failure in batch.failures] == [
        "empty",
        "no such file",
        "no such file",
        "not a picture in a format that is read",
        "empty",
    ]
    assert "missing.jpg" in batch.failures[1].description
    assert all(isinstance(failure.error, ImageError) for failure in batch.failures)
    assert batch.pick("abcdefghij") == list("bcghi")
    with pytest.raises(InvalidInputError, match="10 items, 5"):
        batch.pick("abcde")


def test_a_batch_of_bad_pictures_only(encoder):
    batch = encoder.encode_images_reporting([b""] * 7)
    assert batch.vectors.shape == (0, DIMENSION)
    assert len(batch.failures) == 7


def test_files_and_open_images_give_the_same_vectors(encoder, tmp_path):
    image = pictures(1)[0]
    path = tmp_path / "a.png"
    image.save(path)
    vectors = encoder.encode_images([image, path, str(path), path.read_bytes()])
    assert np.abs(vectors - vectors[0]).max() < 1e-6


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_vectors_without_direction_are_an_error(folder, value):
    broken = load_encoder(folder)
    with torch.no_grad():
        broken._model.text_projection.weight.fill_(value)
        broken._model.visual_projection.weight.fill_(value)
    with pytest.raises(EncoderError, match=r"Text 0, 'a photo .*norm zero, or with NaN.*try float32"):
        broken.encode_texts(TEXTS)
    with pytest.raises(EncoderError, match=r"no image a vector that can be used: those of 2 .*try float32"):
        broken.encode_images_reporting(pictures(2))


# --- fingerprints


def test_fingerprint_is_stable_over_processes(folder, encoder):
    script = f"from commonscale.encoders import load_encoder; print(load_encoder({str(folder)!r}).fingerprint)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == encoder.fingerprint
    assert encoder.fingerprint.startswith(encoder.checkpoint.config.model_type + "-")
    assert load_encoder(folder, batch_size=7, progress=True).fingerprint == encoder.fingerprint


def test_fingerprint_survives_use_and_saving_again(folder, encoder, tmp_path):
    used = load_encoder(folder)
    used.encode_texts(TEXTS)
    assert used.fingerprint == encoder.fingerprint
    used._model.save_pretrained(tmp_path)
    used._tokenizer.save_pretrained(tmp_path)
    used._image_processor.save_pretrained(tmp_path)
    assert load_encoder(tmp_path).fingerprint == encoder.fingerprint


def change_last_weight(encoder) -> None:
    with torch.no_grad():
        list(encoder._model.parameters())[-1].view(-1)[-1] += 1e-6


def change_image_mean(encoder) -> None:
    encoder._image_processor.image_mean = [0.5, 0.5, 0.5]


def add_word(encoder) -> None:
    encoder._tokenizer.add_tokens(["elephant"])


@pytest.mark.parametrize("change", [change_last_weight, change_image_mean, add_word])
def test_fingerprint_changes_with_what_decides_a_vector(folder, encoder, change):
    changed = load_encoder(folder)
    change(changed)
    assert changed.fingerprint != encoder.fingerprint


def test_fingerprint_changes_with_the_type_and_with_the_seed(folder, encoder, tmp_path):
    others = [load_encoder(folder, dtype=dtype).fingerprint for dtype in ("float16", "bfloat16")]
    saver = SAVERS[encoder.checkpoint.config.model_type]
    others.append(load_encoder(saver(tmp_path, seed=1)).fingerprint)
    assert len({encoder.fingerprint, *others}) == 4
