"""The code that checks published checkpoints, run on tiny ones: it must accept what is right and refuse what is not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from commonscale.core.errors import MissingExtraError
from commonscale.encoders import ImageOptions
from tiny_checkpoints.blip import save_tiny_blip
from tiny_checkpoints.e5v import save_tiny_e5v
from tiny_checkpoints.sentence_transformers import save_tiny_st_clip_as_published
from tiny_checkpoints.siglip import save_tiny_naflex, save_tiny_siglip, save_tiny_siglip2
from tiny_models import save_tiny_clip, save_tiny_dual_encoder
from weights import pictures as weights_pictures
from weights.checkpoints import require_cached, scale_and_bias, weights_of
from weights.comparing import documented, ours, recorded
from weights.documented import CASES, Case
from weights.originals import ORIGINALS
from weights.pictures import PUBLISHED, circles, digest, drawn, published, seen_by_openai_clip
from weights.record import TEXTS, file_of, record
from weights.scoring import numbers

LABELS = ("a photo of a dog", "the red cat sleeps", "two")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


def clip_outputs(folder: Path, images: list[Any]) -> Any:
    """The whole model's own logits: what a README would print."""
    import torch
    from transformers import CLIPModel, CLIPProcessor

    inputs = CLIPProcessor.from_pretrained(folder)(text=list(LABELS), images=images, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return CLIPModel.from_pretrained(folder)(**inputs).logits_per_image


@pytest.mark.parametrize("form", ["logits", "softmax"])
def test_the_model_s_own_numbers_are_accepted_and_others_refused(clip: Path, form: Any) -> None:
    images = list(drawn().values())
    logits = clip_outputs(clip, images)
    expected = (logits if form == "logits" else logits.softmax(dim=1)).tolist()
    case = Case("tiny", "the model's forward", LABELS, tuple(map(tuple, expected)), form, atol=1e-4)
    documented(case, str(clip), require_cached(str(clip)), images)
    expected[0][0] += 1e-3
    with pytest.raises(AssertionError, match="the model's forward"):
        documented(dataclasses.replace(case, numbers=expected), str(clip), require_cached(str(clip)), images)


def test_the_other_pictures_are_refused(clip: Path) -> None:
    images = list(drawn().values())
    expected = tuple(map(tuple, clip_outputs(clip, images).tolist()))
    case = Case("tiny", "the model's forward", LABELS, expected, "logits", atol=1e-4)
    with pytest.raises(AssertionError, match="the model's forward"):
        documented(case, str(clip), require_cached(str(clip)), images[::-1])


def test_sigmoid_logits_are_those_of_siglip(tmp_path: Path) -> None:
    import torch
    from transformers import SiglipConfig, SiglipModel

    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = SiglipConfig(
        text_config={**tower, "vocab_size": 50, "max_position_embeddings": 8, "projection_size": 32},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
    )
    torch.manual_seed(0)
    model = SiglipModel(config).eval()
    with torch.no_grad():
        model.logit_scale.fill_(2.0)
        model.logit_bias.fill_(-3.0)
    model.save_pretrained(tmp_path)
    ids, pixels = torch.arange(16).reshape(2, 8), torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        output = model(input_ids=ids, pixel_values=pixels)
    cosines = (output.image_embeds @ output.text_embeds.T).double().numpy()
    scale, bias = scale_and_bias(tmp_path / "model.safetensors")
    np.testing.assert_allclose(numbers(cosines, "logits", scale, bias), output.logits_per_image.numpy(), atol=1e-5)
    probabilities = output.logits_per_image.sigmoid().numpy()
    np.testing.assert_allclose(numbers(cosines, "sigmoid", scale, bias), probabilities, atol=1e-6)


def test_scales_are_read_from_the_part_that_has_them(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, tmp_path / "model-1.safetensors")
    save_file({"logit_scale": torch.tensor(2.0), "logit_bias": torch.tensor([-3.0])}, tmp_path / "model-2.safetensors")
    parts = {"other": "model-1.safetensors", **dict.fromkeys(("logit_scale", "logit_bias"), "model-2.safetensors")}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": parts}), encoding="utf-8")
    assert require_cached(str(tmp_path)) == index
    assert scale_and_bias(index) == (pytest.approx(np.exp(2.0)), -3.0)


def test_a_missing_package_skips(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weights import comparing

    def without(*_: Any, **__: Any) -> Any:
        raise MissingExtraError("open_clip", "open-clip")

    monkeypatch.setattr(comparing, "load_encoder", without)
    with pytest.raises(pytest.skip.Exception, match=r"commonscale\[open-clip\]"):
        ours(str(clip), ORIGINALS["openai/clip-vit-base-patch32"])


def test_scales_are_read_from_pickled_weights_too_and_may_be_absent(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "pytorch_model.bin"
    torch.save({"logit_scale": torch.tensor(2.0)}, path)
    assert scale_and_bias(path) == (pytest.approx(np.exp(2.0)), 0.0)
    torch.save({"other": torch.zeros(1)}, path)
    assert scale_and_bias(path, if_absent=1.0) == (pytest.approx(np.e), 0.0)
    with pytest.raises(AssertionError, match="has no logit_scale"):
        scale_and_bias(path)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("openai/clip-vit-base-patch32", save_tiny_clip),
        ("clip-italian/clip-italian", save_tiny_dual_encoder),
        ("google/siglip-base-patch16-224", save_tiny_siglip),
        ("google/siglip2-base-patch16-224", save_tiny_siglip2),
        ("google/siglip2-base-patch16-naflex", save_tiny_naflex),
        ("Salesforce/blip-itm-base-coco", save_tiny_blip),
        ("royokong/e5-v", save_tiny_e5v),
        ("sentence-transformers/clip-ViT-B-32", save_tiny_st_clip_as_published),
    ],
)
def test_recorded_vectors_are_ours_and_others_are_refused(name: str, save: Any, tmp_path: Path) -> None:
    if name.startswith("sentence-transformers/"):
        pytest.importorskip("sentence_transformers")
    folder, original = save(tmp_path / "checkpoint"), ORIGINALS[name]
    # E5-V's makers cut nothing, and the tiny one has no places for the long text.
    texts = TEXTS[:-1] if "e5-v" in name else TEXTS
    path = record(name, original, tmp_path, checkpoint=str(folder), texts=texts)
    assert path == file_of(name, tmp_path)
    encoder = ours(str(folder), original)
    recorded(path, original, encoder)
    made = json.loads(path.read_text(encoding="utf-8"))
    assert (made["name"], made["api"]) == (name, original.api)
    assert all(made["versions"].values())
    for key, step in (("text_vectors", 2 * original.text_atol), ("image_vectors", 2 * original.image_atol)):
        wrong = json.loads(json.dumps(made))
        wrong[key][1][0] += step
        path.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(AssertionError, match=key.split("_")[0]):
            recorded(path, original, encoder)
    wrong = {**made, "pictures": {**made["pictures"], "wide": "0"}}
    path.write_text(json.dumps(wrong), encoding="utf-8")
    with pytest.raises(AssertionError, match="other pictures"):
        recorded(path, original, encoder)


# No package of Long-CLIP can be installed, and its code may not be copied here.
FAKE_LONG_CLIP = """
import torch

class FakeModel:
    def eval(self):
        return self
    def encode_text(self, tokens):
        return tokens.float() * 3
    def encode_image(self, pixels):
        return pixels.float() * 5

def load(path, device):
    assert path.endswith("longclip-B.pt") and device == "cpu"
    return FakeModel(), lambda picture: torch.tensor([float(side) for side in picture.size])

def tokenize(texts, truncate=False):
    assert truncate
    return torch.tensor([[len(text), 1] for text in texts])
"""


def test_the_recorder_of_long_clip_runs_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "BeichenZhang/LongCLIP-B"
    monkeypatch.delenv("COMMONSCALE_LONGCLIP", raising=False)
    with pytest.raises(AssertionError, match="set COMMONSCALE_LONGCLIP to a clone"):
        record(name, ORIGINALS[name], tmp_path)
    clone, checkpoint = tmp_path / "clone", tmp_path / "checkpoint"
    (clone / "model").mkdir(parents=True)
    (clone / "model" / "__init__.py").touch()
    (clone / "model" / "longclip.py").write_text(FAKE_LONG_CLIP, encoding="utf-8")
    checkpoint.mkdir()
    (checkpoint / "longclip-B.pt").touch()
    monkeypatch.setenv("COMMONSCALE_LONGCLIP", str(clone))
    before = list(sys.path)
    try:
        path = record(name, ORIGINALS[name], tmp_path, checkpoint=str(checkpoint), texts=["abc", "four"])
    finally:
        for module in ("model", "model.longclip"):
            sys.modules.pop(module, None)
    assert sys.path == before
    made = json.loads(path.read_text(encoding="utf-8"))
    assert made["text_vectors"][0] == pytest.approx([3 / 10**0.5, 1 / 10**0.5], abs=1e-6)
    assert made["image_vectors"][2] == pytest.approx([0.5**0.5, 0.5**0.5], abs=1e-6)


def test_the_command_lists_what_it_can_record() -> None:
    command = [sys.executable, str(Path(__file__).with_name("record.py")), "nobody/nothing"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2
    assert "royokong/e5-v" in ended.stderr


def test_what_is_not_in_the_cache_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="nobody/nothing is not in the local Hugging Face cache"):
        require_cached("nobody/nothing")
    assert weights_of(str(tmp_path)) is None
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(pytest.skip.Exception, match="is not in the local"):
        require_cached(str(tmp_path), "hf-hub:")


def test_cached_weights_are_found(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    snapshot = tmp_path / "models--somebody--clip" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes((clip / "model.safetensors").read_bytes())
    refs = tmp_path / "models--somebody--clip" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0", encoding="utf-8")
    look = partial(huggingface_hub.try_to_load_from_cache, cache_dir=tmp_path)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look)
    assert require_cached("somebody/clip") == snapshot / "model.safetensors"


@pytest.fixture
def site() -> Iterator[tuple[str, list[str]]]:
    """A site on loopback that serves one picture; the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = self.path == "/a.png"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(b"picture" if found else b"")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_pictures_come_from_the_folder_the_cache_or_the_network(
    site: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = site
    right = hashlib.sha256(b"picture").hexdigest()
    table = {
        "a.png": weights_pictures.Published(f"{url}/a.png", right),
        "b.png": weights_pictures.Published(f"{url}/b"),
    }
    monkeypatch.setattr(weights_pictures, "PUBLISHED", table)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(weights_pictures.FOLDER, raising=False)
    options = ImageOptions(allow_private_addresses=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(pytest.skip.Exception, match="HF_HUB_OFFLINE is set"):
        published("a.png", options)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    first = published("a.png", options)
    assert first == published("a.png", options) == tmp_path / "cache" / "commonscale" / "pictures" / "a.png"
    assert asked == ["/a.png"]
    with pytest.raises(pytest.skip.Exception, match=f"{url}/b cannot be had.*404"):
        published("b.png", options)
    monkeypatch.setenv(weights_pictures.FOLDER, str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"has no a\.png; get it from"):
        published("a.png")
    (tmp_path / "a.png").write_bytes(b"another")
    with pytest.raises(AssertionError, match="is another picture"):
        published("a.png")


def test_drawn_pictures_are_the_same_everywhere() -> None:
    assert digest(drawn()["tall"]) == "85373b5c87303d2bee2df4078ed0b9a59f0e5dd14d897757529204f131f55a4f"
    assert {name: picture.size for name, picture in circles().items()} == {
        "small": (224, 224),
        "large": (1024, 1024),
        "wide": (1024, 224),
    }
    disk = circles()["small"]
    assert [disk.getpixel(at) for at in ((0, 0), (112, 112), (112, 16))] == [(255, 0, 0), (0, 0, 255), (0, 128, 0)]


def test_transparency_is_dropped_as_openai_clip_drops_it(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGBA", (900, 300), (0, 0, 0, 0))
    picture.paste((10, 200, 30, 255), (400, 100, 500, 200))
    picture.save(tmp_path / "a.png")
    seen = seen_by_openai_clip(tmp_path / "a.png")
    assert (seen.mode, seen.size) == ("RGB", (224, 224))
    assert seen.getpixel((112, 112)) == (10, 200, 30)
    assert seen.getpixel((5, 5)) == (0, 0, 0)


def test_the_table_is_whole() -> None:
    for case in CASES:
        rows = len(case.draw()) if case.draw is not None else 1
        assert (case.picture in PUBLISHED) != (case.draw is not None), case.id
        assert np.shape(case.numbers) == (rows, len(case.texts)), case.id
        assert 0 < case.atol < 0.1, case.id
        assert case.source, case.id
        assert case.checkpoint in ORIGINALS or "naflex" in case.checkpoint, case.id
