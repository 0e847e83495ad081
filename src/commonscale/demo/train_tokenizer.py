"""The demo encoder's tokenizer and image settings, in the files that CLIP checkpoints have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
TOKENS = 48
"""Positions of the text tower; the longest sentence of the world has fewer."""

PICTURE_SIZE = 64
VOCABULARY_SIZE = 1400
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP splits text into words before its byte-pair encoding."""


def write_tokenizer(texts: Iterable[str], folder: Path) -> dict[str, int]:
    """Learn a byte-pair encoding as CLIP's (byte level, lower case, ``</w>`` at the end of a word) and write it.

    Args:
        texts: sentences to learn it from.
        folder: where ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json`` go.

    Returns:
        The vocabulary.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    split = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learner.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        min_frequency=5,
        show_progress=False,
        special_tokens=[],
    )
    learner.train_from_iterator(texts, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    pieces = [*alphabet, *(f"{sign}</w>" for sign in alphabet), *("".join(pair) for pair in merges), START, END]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": TOKENS,
            "do_lower_case": True,
            "bos_token": START,
            "eos_token": END,
            "unk_token": END,
            "pad_token": END,
        },
    )
    return vocabulary


def write_image_settings(folder: Path) -> None:
    """Write ``preprocessor_config.json``: resize, crop to a square, scale the pixels to [-1, 1]."""
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": PICTURE_SIZE},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": PICTURE_SIZE, "width": PICTURE_SIZE},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write one of a checkpoint's settings files."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
