"""Vectors by the original implementations, without any code of this library.

Every function takes a checkpoint, texts and RGB pictures, and gives unit rows of both. A text or a picture at a time,
so that no padding and no batch can play a part, except where a model was trained with padding.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weights.checkpoints import weights_of

LONGCLIP = "COMMONSCALE_LONGCLIP"
"""Environment variable: a clone of github.com/beichenzbc/Long-CLIP, which is no package."""

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def dual(
    class_name: str, *, lower: bool = False, whole: bool = False
) -> Callable[[str, Sequence[str], Sequence[Any]], Pair]:
    """Compute by a model of transformers whose forward gives ``text_embeds`` and ``image_embeds``.

    Args:
        class_name: the model's class.
        lower: put texts into lower case first, where a model was taught so and its tokenizer leaves it to the caller.
        whole: pad texts to all of the model's positions and give it no mask of them.
    """

    def embed(name: str, texts: Sequence[str], pictures: Sequence[Any]) -> Pair:
        import torch
        import transformers

        model = getattr(transformers, class_name).from_pretrained(name, dtype=torch.float32).eval()
        processor = transformers.AutoProcessor.from_pretrained(name)
        padding: dict[str, Any] = {}
        if whole:
            padding = {"padding": "max_length", "max_length": model.config.text_config.max_position_embeddings}

        def forward(text: str, picture: Any) -> Any:
            tokens = processor.tokenizer(
                [text.lower() if lower else text], truncation=True, return_tensors="pt", **padding
            )
            if whole:
                tokens.pop("attention_mask", None)
            with torch.inference_mode():
                return model(**tokens, **processor.image_processor(images=[picture], return_tensors="pt"))

        return (
            _unit([forward(text, pictures[0]).text_embeds[0] for text in texts]),
            _unit([forward(texts[0], picture).image_embeds[0] for picture in pictures]),
        )

    return embed


def blip(name: str, texts: Sequence[str], pictures: Sequence[Any]) -> Pair:
    """Compute by the parts whose product BlipForImageTextRetrieval gives with ``use_itm_head=False``."""
    import torch
    from transformers import BlipForImageTextRetrieval, BlipProcessor

    model = BlipForImageTextRetrieval.from_pretrained(name, dtype=torch.float32).eval()
    processor = BlipProcessor.from_pretrained(name)
    rows = [], []
    with torch.inference_mode():
        for text in texts:
            tokens = processor.tokenizer(text, truncation=True, return_tensors="pt")
            hidden = model.text_encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)[0]
            rows[0].append(model.text_proj(hidden[:, 0])[0])
        for picture in pictures:
            pixels = processor.image_processor(picture, return_tensors="pt").pixel_values
            rows[1].append(model.vision_proj(model.vision_model(pixel_values=pixels)[0][:, 0])[0])
        made = _unit(rows[0]), _unit(rows[1])
        inputs = processor(images=pictures[0], text=texts[0], truncation=True, return_tensors="pt")
        cosine = float(model(**inputs, use_itm_head=False)[0])
    assert abs(cosine - float(made[0][0] @ made[1][0])) < 1e-4, "the parts do not give what the whole model gives"
    return made


def e5v(name: str, texts: Sequence[str], pictures: Sequence[Any]) -> Pair:
    """Compute as the README of kongds/E5-V does.

    That is for transformers 4.41. For later ones the table of embeddings is enlarged by the row of ``<image>``, whose
    id lies one past the published table, as its authors advise (kongds/E5-V, issue 7); and the processor is told what
    it learned to ask for since: the size of a patch, and that the image tower's first state is left out.
    """
    import torch
    import transformers
    from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

    device = "cuda" if torch.cuda.is_available() else "cpu"
    chat = (
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n"
    )
    dtype = {"torch_dtype" if transformers.__version__.startswith("4.") else "dtype": torch.float16}
    model = LlavaNextForConditionalGeneration.from_pretrained(name, **dtype).to(device).eval()
    processor = LlavaNextProcessor.from_pretrained(name)
    processor.patch_size = model.config.vision_config.patch_size
    processor.num_additional_image_tokens = 1
    processor.vision_feature_select_strategy = model.config.vision_feature_select_strategy
    rows = model.config.image_token_index + 1
    if model.get_input_embeddings().num_embeddings < rows and not transformers.__version__.startswith("4.41."):
        model.resize_token_embeddings(rows, mean_resizing=False)

    def last(**given: Any) -> Any:
        inputs = processor(return_tensors="pt", **given).to(device, torch.float16)
        with torch.inference_mode():
            return model(**inputs, output_hidden_states=True, return_dict=True).hidden_states[-1][0, -1]

    of_text = chat.format("<sent>\nSummary above sentence in one word: ")
    of_image = chat.format("<image>\nSummary above image in one word: ")
    return (
        _unit([last(text=of_text.replace("<sent>", text)) for text in texts]),
        _unit([last(text=of_image, images=picture) for picture in pictures]),
    )


def sentence_transformer(name: str, texts: Sequence[str], pictures: Sequence[Any]) -> Pair:
    """Compute by ``SentenceTransformer.encode``."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(name, device="cpu")
    return (
        _unit([model.encode(text, convert_to_tensor=True) for text in texts]),
        _unit([model.encode(picture, convert_to_tensor=True) for picture in pictures]),
    )


def open_clip(name: str, texts: Sequence[str], pictures: Sequence[Any]) -> Pair:
    """Compute by open_clip, from the hub or from a folder."""
    import open_clip
    import torch

    place = f"local-dir:{name}" if os.path.isdir(name) else f"hf-hub:{name}"  # noqa: PTH112 - a name, mostly
    model, preprocess = open_clip.create_model_from_pretrained(place)
    model.eval()
    tokenizer = open_clip.get_tokenizer(place)
    with torch.inference_mode():
        return (
            _unit([model.encode_text(tokenizer([text]))[0] for text in texts]),
            _unit([model.encode_image(preprocess(picture)[None])[0] for picture in pictures]),
        )


def longclip(name: str, texts: Sequence[str], pictures: Sequence[Any]) -> Pair:
    """Compute by the code of beichenzbc/Long-CLIP, from a clone that an environment variable names."""
    import torch

    clone, weights = os.environ.get(LONGCLIP), weights_of(name)
    assert clone, f"set {LONGCLIP} to a clone of https://github.com/beichenzbc/Long-CLIP"
    assert weights, f"{name} is not in the local Hugging Face cache; get it with: hf download {name}"
    sys.path.insert(0, clone)
    try:
        from model import longclip as original
    finally:
        sys.path.remove(clone)
    model, preprocess = original.load(str(weights), device="cpu")
    model.eval()
    with torch.inference_mode():
        return (
            _unit([model.encode_text(original.tokenize([text], truncate=True))[0] for text in texts]),
            _unit([model.encode_image(preprocess(picture)[None])[0] for picture in pictures]),
        )


def _unit(rows: Sequence[Any]) -> NDArray[np.float32]:
    stacked = np.stack([row.float().cpu().numpy() for row in rows]).astype(np.float64)
    return (stacked / np.linalg.norm(stacked, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Original:
    """How a checkpoint's vectors are recorded, and how closely ours must agree.

    Attributes:
        api: what messages call the original implementation.
        embed: computes by it.
        packages: distributions whose versions are written down.
        text_atol: largest accepted difference of a component of a text's unit vector.
        image_atol: the same of a picture's. Larger, because libraries resize pictures by other code.
        dtype: the type in which ours computes.
        prefix: what ``load_encoder`` needs before the hub id.
    """

    api: str
    embed: Callable[[str, Sequence[str], Sequence[Any]], Pair]
    packages: tuple[str, ...] = ("torch", "transformers", "pillow")
    text_atol: float = 1e-4
    image_atol: float = 1e-3
    dtype: str | None = None
    prefix: str = ""


_CLIP = Original("transformers.CLIPModel", dual("CLIPModel"))
_SIGLIP = Original("transformers.SiglipModel, texts padded", dual("SiglipModel", whole=True))
# In lower case and padded: transformers, docs/source/en/model_doc/siglip2.md, Notes. Without a mask: the same
# repository, src/transformers/models/siglip2/convert_siglip2_to_hf.py, get_siglip2_tokenizer.
_SIGLIP_2 = Original("transformers.SiglipModel, texts in lower case", dual("SiglipModel", lower=True, whole=True))
_NAFLEX = Original("transformers.Siglip2Model, texts in lower case", dual("Siglip2Model", lower=True, whole=True))
_BLIP = Original("transformers.BlipForImageTextRetrieval, text_proj and vision_proj", blip)
# Computes with weights rounded to 16 bits on every device.
_LONGCLIP = Original(
    "beichenzbc/Long-CLIP, model.longclip",
    longclip,
    ("torch", "pillow", "torchvision"),
    text_atol=1e-3,
)
_OPEN_CLIP = Original(
    "open_clip", open_clip, ("torch", "open_clip_torch", "torchvision", "timm", "pillow"), prefix="hf-hub:"
)
_SENTENCE_TRANSFORMER = Original(
    "sentence_transformers.SentenceTransformer", sentence_transformer, ("torch", "sentence-transformers", "pillow")
)

ORIGINALS = {
    "openai/clip-vit-base-patch32": _CLIP,
    "openai/clip-vit-large-patch14": _CLIP,
    "BeichenZhang/LongCLIP-B": _LONGCLIP,
    "BeichenZhang/LongCLIP-L": _LONGCLIP,
    "Salesforce/blip-itm-base-coco": _BLIP,
    "Salesforce/blip-itm-large-coco": _BLIP,
    "royokong/e5-v": Original(
        "transformers.LlavaNextForConditionalGeneration, as the README of kongds/E5-V has it",
        e5v,
        text_atol=5e-3,
        image_atol=5e-3,
        dtype="float16",
    ),
    "google/siglip-base-patch16-224": _SIGLIP,
    "google/siglip-so400m-patch14-384": _SIGLIP,
    "google/siglip2-base-patch16-224": _SIGLIP_2,
    "google/siglip2-base-patch16-naflex": _NAFLEX,
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": _OPEN_CLIP,
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": _OPEN_CLIP,
    "sentence-transformers/clip-ViT-B-32": _SENTENCE_TRANSFORMER,
    "clip-italian/clip-italian": Original(
        "transformers.VisionTextDualEncoderModel", dual("VisionTextDualEncoderModel")
    ),
}
"""Every checkpoint that can be recorded, by its hub id."""
