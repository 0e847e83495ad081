"""A CLIP checkpoint as users of both frameworks run it: one item at a time, vectors of any norm."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class NaiveClip:
    """The model with its processor; it keeps what it was given."""

    def __init__(self, folder: Path | str) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        self.folder = str(folder)
        # Said outright: transformers 5 computes in the type that a checkpoint was saved in.
        self.model = CLIPModel.from_pretrained(self.folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.processor = AutoImageProcessor.from_pretrained(self.folder)
        self.given: list[Any] = []

    def text(self, text: str) -> list[float]:
        import torch

        with torch.inference_mode():
            tokens = self.tokenizer(text, truncation=True, return_tensors="pt")
            return _list(self.model.get_text_features(**tokens))

    def image(self, source: Any) -> list[float]:
        """Embed a picture, from whatever PIL's open takes."""
        import torch
        from PIL import Image

        self.given.append(source)
        with Image.open(source) as image, torch.inference_mode():
            return _list(self.model.get_image_features(**self.processor(image.convert("RGB"), return_tensors="pt")))


def _list(output: Any) -> list[float]:
    found: list[float] = getattr(output, "pooler_output", output)[0].tolist()
    return found
