"""Tiny random checkpoints of real model classes, in the layout that the hub's own checkpoints have.

Each function writes a folder that ``load_encoder`` opens like ``openai/clip-vit-base-patch32``: config and
safetensors from ``save_pretrained``, tokenizer and image processor as their plain files. The weights are
random but seeded, so the vectors mean nothing, and two calls with one seed give the same checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path

IMAGE_SIZE = 32
DIMENSION = 16
CLIP_TOKENS = 24
"""Positions of the tiny CLIP's text tower, start and end marks included."""
BERT_TOKENS = 20
"""Limit of the tiny BERT's tokenizer; the model itself has 64 positions."""

WORDS = ("a", "photo", "of", "the", "red", "blue", "dog", "cat", "two", "on", "grass", "runs", "sleeps")


def save_tiny_clip(folder: Path | str, seed: int = 0) -> Path:
    """Write a CLIPModel (16 dimensions, 32-pixel pictures, 24 tokens) and return its folder."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_clip_tokenizer(folder)
    _write_image_processor(folder, "CLIPImageProcessor", {"shortest_edge": IMAGE_SIZE})
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": CLIP_TOKENS,
            "bos_token_id": start,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={**tower, "image_size": IMAGE_SIZE, "patch_size": 8},
        projection_dim=DIMENSION,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPModel(config)
    model.save_pretrained(folder)
    return folder


def save_tiny_dual_encoder(folder: Path | str, seed: int = 0) -> Path:
    """Write a VisionTextDualEncoderModel of a ViT and a BERT (16 dimensions, 32-pixel pictures, 20 tokens)."""
    import torch
    from transformers import BertConfig, VisionTextDualEncoderConfig, VisionTextDualEncoderModel, ViTConfig

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    size = _write_bert_tokenizer(folder)
    _write_image_processor(folder, "ViTImageProcessor", {"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        ViTConfig(**tower, image_size=IMAGE_SIZE, patch_size=8),
        BertConfig(**tower, vocab_size=size, max_position_embeddings=64),
        projection_dim=DIMENSION,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VisionTextDualEncoderModel(config=config)
    model.save_pretrained(folder)
    return folder


def _write_clip_tokenizer(folder: Path) -> dict[str, int]:
    """Write a byte-level BPE whose merges build the words of ``WORDS``; any other text falls into bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            parts[:2] = ["".join(parts[:2])]
    alphabet = sorted(ByteLevel.alphabet())
    pieces = alphabet + [f"{sign}</w>" for sign in alphabet] + ["".join(pair) for pair in merges]
    tokens = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    _write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": CLIP_TOKENS,
            "pad_token": "<|endoftext|>",
            "do_lower_case": True,
            **marks,
        },
    )
    return vocabulary


def _write_bert_tokenizer(folder: Path) -> int:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list("0123456789.,!?'")
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = list(dict.fromkeys([*marks, *letters, *(f"##{letter}" for letter in letters), *WORDS]))
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": BERT_TOKENS, "do_lower_case": True}
    _write_json(folder / "tokenizer_config.json", settings)
    return len(tokens)


def _write_image_processor(folder: Path, kind: str, size: dict[str, int]) -> None:
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": kind,
            "do_resize": True,
            "size": size,
            "resample": 3,
            "do_center_crop": kind == "CLIPImageProcessor",
            "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "do_convert_rgb": True,
        },
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
