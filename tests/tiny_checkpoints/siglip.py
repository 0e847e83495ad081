"""Tiny SigLIP and SigLIP 2 checkpoints, with the files of google/siglip-* and google/siglip2-*."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from tiny_checkpoints.blip import write_json
from tiny_checkpoints.weights import randomize
from tiny_models import WORDS

IMAGE_SIZE = 32
PATCH = 8
MAX_PATCHES = 24
"""Patches of the tiny NaFlex checkpoint; its table of positions is a square of 16."""
WIDTH = 32
DIMENSION = 40
"""Width of the image tower and of the space; the text tower is narrower, as in siglip2-giant."""
TOKENS = 16

_SHAPE = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def save_tiny_siglip(folder: Path | str, seed: int = 0) -> Path:
    """Write a SigLIP with a SentencePiece vocabulary that has no bos and the ids of T5: pad 0, end 1, unknown 2."""
    folder = Path(folder)
    size = write_sentencepiece_tokenizer(folder)
    _save_model("Siglip", folder, seed, size, {"image_size": IMAGE_SIZE})
    _write_fixed_processor(folder, resample=3)
    return folder


def save_tiny_siglip2(folder: Path | str, seed: int = 0) -> Path:
    """Write a SigLIP 2 of fixed resolution: a SiglipModel with the tokenizer of Gemma."""
    folder = Path(folder)
    size = write_gemma_tokenizer(folder)
    _save_model("Siglip", folder, seed, size, {"image_size": IMAGE_SIZE})
    _write_fixed_processor(folder, resample=2)
    return folder


def save_tiny_naflex(folder: Path | str, seed: int = 0) -> Path:
    """Write a SigLIP 2 NaFlex: a Siglip2Model that reads a picture in its own aspect ratio."""
    folder = Path(folder)
    size = write_gemma_tokenizer(folder)
    _save_model("Siglip2", folder, seed, size, {"num_patches": 16})
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_convert_rgb": None,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "Siglip2ImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "max_num_patches": MAX_PATCHES,
            "patch_size": PATCH,
            "processor_class": "Siglip2Processor",
            "resample": 2,
            "rescale_factor": 0.00392156862745098,
        },
    )
    return folder


def _save_model(kind: str, folder: Path, seed: int, vocabulary: int, vision: dict[str, Any]) -> None:
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        text_config={
            **_SHAPE,
            "hidden_size": WIDTH,
            "projection_size": DIMENSION,
            "vocab_size": vocabulary,
            "max_position_embeddings": TOKENS,
        },
        vision_config={**_SHAPE, "hidden_size": DIMENSION, "patch_size": PATCH, **vision},
    )
    model = getattr(transformers, f"{kind}Model")(config)
    randomize(model, seed)
    model.save_pretrained(folder)


def write_sentencepiece_tokenizer(folder: Path) -> int:
    """Train a small unigram model on sentences of ``WORDS`` and return the size of its vocabulary."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    sentences = [f"{one} {two} {three}" for one in WORDS for two in WORDS for three in ("zebra", "fox jumps", "quick")]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=96,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars="abcdefghijklmnopqrstuvwxyz0123456789é",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    marks = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    write_json(
        folder / "tokenizer_config.json",
        {
            "additional_special_tokens": [],
            "clean_up_tokenization_spaces": True,
            "do_lower_case": True,
            "model_input_names": ["input_ids"],
            "model_max_length": TOKENS,
            "processor_class": "SiglipProcessor",
            "sp_model_kwargs": {},
            "tokenizer_class": "SiglipTokenizer",
            **marks,
        },
    )
    write_json(folder / "special_tokens_map.json", marks)
    return int(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size())


def write_gemma_tokenizer(folder: Path) -> int:
    """Write a BPE with byte fallback and Gemma's marks, and return the size of its vocabulary.

    Capital letters have pieces of their own, so that a text in capitals tells whether it was lowered.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [chr(code) for start in "aA" for code in range(ord(start), ord(start) + 26)]
    merges: dict[tuple[str, str], None] = {}
    for word in [*WORDS, *(word.capitalize() for word in WORDS)]:
        for parts in (list(word), ["\u2581", *word]):
            while len(parts) > 1:
                merges[parts[0], parts[1]] = None
                parts[:2] = ["".join(parts[:2])]
    pieces = [*marks, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *letters, *map("".join, merges)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, list(merges), unk_token="<unk>", fuse_unk=True, byte_fallback=True, dropout=None)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in marks])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 <eos>:0", pair="$A:0 <eos>:0 $B:1 <eos>:1", special_tokens=[("<eos>", vocabulary["<eos>"])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_eos_token": True,
            "additional_special_tokens": [],
            "clean_up_tokenization_spaces": False,
            "do_lower_case": True,
            "model_input_names": ["input_ids"],
            "model_max_length": 1000000000000000019884624838656,
            "padding_side": "right",
            "processor_class": "SiglipProcessor",
            "sp_model_kwargs": {},
            "spaces_between_special_tokens": False,
            "tokenizer_class": "GemmaTokenizer",
            "use_default_system_prompt": False,
            **names,
        },
    )
    write_json(folder / "special_tokens_map.json", names)
    return len(vocabulary)


def _write_fixed_processor(folder: Path, resample: int) -> None:
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_convert_rgb": None,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "SiglipImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "processor_class": "SiglipProcessor",
            "resample": resample,
            "rescale_factor": 0.00392156862745098,
            "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        },
    )
