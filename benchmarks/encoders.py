"""How fast texts and pictures are embedded, against the loop of one item at a time and the model's bare forward.

The model has the size of CLIP ViT-B/32 (151 million parameters) and random weights: speed does not depend on them.

python benchmarks/encoders.py
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from timing import Comparison, Outcome, Scenario, measure, report
from transformers import AutoImageProcessor, AutoTokenizer, CLIPConfig, CLIPModel

from commonscale import load_encoder
from commonscale.demo import ENCODER_FOLDER, build_world
from commonscale.encoders import BatchedEncoder
from commonscale.encoders.vectors import features_of

OURS = "load_encoder"
PADDED = "one at a time, padded to 77 tokens (as LlamaIndex's ClipEmbedding)"
ALONE = "one at a time"
FORWARD = "bare forward of prepared tensors"


def main() -> None:
    """Run both scenarios and report the ratios."""
    parser = argparse.ArgumentParser(description="encoding speed, as ratios")
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write settings and outcomes here")
    arguments = parser.parse_args()
    settings = {name: value for name, value in vars(arguments).items() if name != "json"}
    settings |= {"threads": torch.get_num_threads(), "torch": torch.__version__}

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_checkpoint(Path(folder) / "clip")
        encoder = load_encoder(
            checkpoint, device=arguments.device, dtype=arguments.dtype, batch_size=arguments.batch_size
        )
        peer = Peer(checkpoint, arguments.device, getattr(torch, arguments.dtype))
        outcomes = _texts(encoder, peer, arguments)
        outcomes += _images(encoder, peer, make_photos(Path(folder), arguments.images), arguments)
    report(settings, outcomes, Console(width=200), arguments.json)


def make_checkpoint(folder: Path) -> Path:
    """Write a CLIP of the size of ViT-B/32 with the demo's tokenizer."""
    folder.mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(ENCODER_FOLDER / name, folder / name)
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    text = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    CLIPModel(CLIPConfig(text_config=text)).save_pretrained(folder)
    tokenizer = json.loads((ENCODER_FOLDER / "tokenizer_config.json").read_text("utf-8"))
    _write(folder / "tokenizer_config.json", {**tokenizer, "model_max_length": 77})
    pixels = json.loads((ENCODER_FOLDER / "preprocessor_config.json").read_text("utf-8"))
    size = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
    _write(folder / "preprocessor_config.json", {**pixels, **size})
    return folder


def make_photos(folder: Path, count: int) -> list[Path]:
    """Write JPEG files of 640 x 480 pixels that look as smooth and as noisy as photographs, roughly."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480))
        grain = rng.normal(0, 8, (480, 640, 3))
        path = folder / f"{number}.jpg"
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(path, quality=90)
        paths.append(path)
    return paths


class Peer:
    """The plain use of transformers that ours is compared with."""

    def __init__(self, checkpoint: Path, device: str, dtype: torch.dtype) -> None:
        model: Any = CLIPModel.from_pretrained(checkpoint, dtype=dtype)
        self.model = model.eval().to(device)
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        processors: Any = AutoImageProcessor
        self.processor = processors.from_pretrained(checkpoint, backend="pil")
        self.device, self.dtype = device, dtype

    def text(self, texts: list[str], padding: Any) -> Any:
        """Tokenize texts and embed them in one forward."""
        return self.embed_tokens(self.tokens(texts, padding))

    def tokens(self, texts: list[str], padding: Any) -> Any:
        """Tokenize texts."""
        tokens = self.tokenizer(texts, padding=padding, truncation=True, max_length=77, return_tensors="pt")
        return tokens.to(self.device)

    def embed_tokens(self, tokens: Any) -> Any:
        """Embed prepared tokens."""
        with torch.inference_mode():
            return features_of(self.model.get_text_features(**tokens)).float().cpu().numpy()

    def pixels(self, paths: list[Path]) -> Any:
        """Read and prepare pictures."""
        pictures = [Image.open(path).convert("RGB") for path in paths]
        return self.processor(images=pictures, return_tensors="pt")["pixel_values"].to(self.device, self.dtype)

    def embed_pixels(self, pixels: Any) -> Any:
        """Embed prepared pictures."""
        with torch.inference_mode():
            return features_of(self.model.get_image_features(pixel_values=pixels)).float().cpu().numpy()


def _texts(encoder: BatchedEncoder, peer: Peer, arguments: argparse.Namespace) -> list[Outcome]:
    texts = list(build_world().passages.values())[: arguments.texts]
    longest_first = sorted(texts, key=lambda text: -encoder.count_tokens([text])[0])
    prepared = [peer.tokens(batch, True) for batch in _batches(longest_first, arguments.batch_size)]
    contenders: dict[str, Callable[[int], object]] = {
        OURS: lambda _: encoder.encode_texts(texts),
        FORWARD: lambda _: [peer.embed_tokens(tokens) for tokens in prepared],
        ALONE: lambda _: [peer.text([text], False) for text in texts],
        PADDED: lambda _: [peer.text([text], "max_length") for text in texts],
    }
    lengths = encoder.count_tokens(texts)
    name = f"{len(texts)} texts of {min(lengths)} to {max(lengths)} tokens"
    comparisons = [Comparison(OURS, FORWARD, 1.1), Comparison(OURS, ALONE, 1 / 3), Comparison(OURS, PADDED, 1 / 3)]
    return measure(Scenario(name, contenders, comparisons, arguments.repetitions))


def _images(encoder: BatchedEncoder, peer: Peer, paths: list[Path], arguments: argparse.Namespace) -> list[Outcome]:
    prepared = [peer.pixels(batch) for batch in _batches(paths, arguments.batch_size)]
    contenders: dict[str, Callable[[int], object]] = {
        OURS: lambda _: encoder.encode_images(paths),
        FORWARD: lambda _: [peer.embed_pixels(pixels) for pixels in prepared],
        ALONE: lambda _: [peer.embed_pixels(peer.pixels([path])) for path in paths],
    }
    comparisons = [Comparison(OURS, FORWARD, 1.1), Comparison(OURS, ALONE, 1.0)]
    return measure(Scenario(f"{len(paths)} JPEG files of 640 x 480", contenders, comparisons, arguments.repetitions))


def _batches(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


if __name__ == "__main__":
    main()
