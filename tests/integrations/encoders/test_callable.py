"""CallableEncoder on pictures: its function gets upright RGB pictures of whatever was given."""

import errno
import weakref

import numpy as np
import pytest

from commonscale.core.errors import EncoderError, ImageError, InvalidInputError
from commonscale.encoders import CallableEncoder, EncodingOptions

pillow = pytest.importorskip("PIL.Image")


def features(images):
    assert all(image.mode == "RGB" for image in images)
    return [[image.width, image.height, float(np.asarray(image).mean())] for image in images]


@pytest.fixture
def encoder():
    return CallableEncoder(embed_image=features, fingerprint="sizes-1", options=EncodingOptions(batch_size=2))


def unit(rows):
    rows = np.asarray(rows, dtype=float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_pictures_of_every_form(encoder, tmp_path):
    path = tmp_path / "gray.png"
    pillow.new("L", (4, 2), 100).save(path)
    images = [path, str(path), path.read_bytes(), pillow.new("RGBA", (3, 3), (0, 0, 0, 0))]
    expected = unit([[4, 2, 100], [4, 2, 100], [4, 2, 100], [3, 3, 255]])
    np.testing.assert_allclose(encoder.encode_images(images), expected, atol=1e-6)
    assert encoder.dimension == 3


@pytest.mark.parametrize("readers", [0, 1, 3])
def test_bad_pictures_are_left_out_in_order(tmp_path, readers):
    encoder = CallableEncoder(
        embed_image=features, fingerprint="sizes-1", options=EncodingOptions(batch_size=2, readers=readers)
    )
    good = [pillow.new("RGB", (number + 1, 2), "red") for number in range(5)]
    images = [good[0], b"", good[1], tmp_path / "missing", good[2], good[3], b"no picture", good[4]]
    batch = encoder.encode_images_reporting(images)
    assert batch.kept == (0, 2, 4, 5, 7)
    assert [failure.index for failure in batch.failures] == [1, 3, 6]
    np.testing.assert_allclose(batch.vectors, encoder.encode_images(good), atol=1e-7)
    with pytest.raises(ImageError, match="Image 1, <0 bytes>: empty"):
        encoder.encode_images(images)


@pytest.mark.parametrize("readers", [0, 2])
def test_a_picture_that_cannot_be_prepared_is_left_out(readers):
    def prepare(image):
        if image.width == 7:
            raise ZeroDivisionError("seven")
        return image

    encoder = CallableEncoder(embed_image=features, fingerprint="x", options=EncodingOptions(readers=readers))
    encoder._prepare_image = prepare
    images = [pillow.new("RGB", (width, 2), "red") for width in (6, 7, 8)]
    batch = encoder.encode_images_reporting(images)
    assert batch.kept == (0, 2)
    assert batch.failures[0].reason == "cannot be prepared for the model: ZeroDivisionError: seven"
    assert isinstance(batch.failures[0].error.__cause__, ZeroDivisionError)
    with pytest.raises(ImageError, match=r"Image 1, .*ZeroDivisionError: seven"):
        encoder.encode_images(images)


@pytest.mark.parametrize(
    "trouble",
    [
        MemoryError(),
        RuntimeError("not enough memory: you tried to allocate 8 bytes"),
        OSError(errno.EMFILE, "Too many open files"),
        EncoderError("the model is gone"),
    ],
)
def test_what_is_not_of_the_picture_ends_the_run(encoder, trouble):
    def prepare(image):
        raise trouble

    encoder._prepare_image = prepare
    with pytest.raises(type(trouble)) as caught:
        encoder.encode_images_reporting([pillow.new("RGB", (2, 2))])
    assert caught.value is trouble


def test_only_a_few_batches_of_pictures_are_in_memory():
    alive, most = set(), 0

    def embed(images):
        return [[1.0, 2.0] for _ in images]

    encoder = CallableEncoder(embed_image=embed, fingerprint="x", options=EncodingOptions(batch_size=4, readers=2))
    original = encoder._prepare_image

    def prepare(image):
        nonlocal most

        marker = id(image)
        alive.add(marker)
        weakref.finalize(image, alive.discard, marker)
        most = max(most, len(alive))
        return original(image)

    encoder._prepare_image = prepare
    encoder.encode_images([pillow.new("RGB", (2, 2)) for _ in range(200)])
    # One batch in the model, one that is gathered, two that are decoded ahead, one picture a thread.
    assert 4 <= most <= 4 * 4 + 2


def test_no_function_for_pictures():
    encoder = CallableEncoder(embed_text=lambda texts: [[1.0] for _ in texts], fingerprint="texts")
    with pytest.raises(InvalidInputError, match="embeds no images: give it embed_image="):
        encoder.encode_images([pillow.new("RGB", (2, 2))])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", ["tensor", "list", "single"])
def test_tensors_of_a_model_with_gradients(dtype, shape):
    torch = pytest.importorskip("torch")
    weights = torch.nn.Parameter(torch.tensor([[1.0, 2.0, 2.0]], dtype=getattr(torch, dtype)))

    def embed(given):
        rows = weights * torch.tensor([[1.0]] * (1 if shape == "single" else len(given)), dtype=weights.dtype)
        assert rows.requires_grad
        return {"tensor": rows, "list": list(rows), "single": rows[0]}[shape]

    encoder = CallableEncoder(embed_text=embed, fingerprint="torch", single=shape == "single")
    np.testing.assert_allclose(encoder.encode_texts(["a", "b"]), [[1 / 3, 2 / 3, 2 / 3]] * 2, atol=1e-6)
