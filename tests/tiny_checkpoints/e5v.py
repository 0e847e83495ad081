"""A tiny E5-V: a LLaVA-NeXT of CLIP and Llama, with the files and names of royokong/e5-v."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_checkpoints.weights import randomize

DIMENSION = 64
TILE = 32
PATCH = 8
POSITIONS = 160
PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]
MARKS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
WORDS = ("user", "assistant", "Summary", "above", "sentence", "image", "word", "dog", "grass")

# Llama 3's: contractions, words with one sign before them, up to three digits, signs with line ends, blank space.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def save_tiny_e5v(folder: Path | str, seed: int = 0, marks: tuple[str, ...] = MARKS) -> Path:
    """Write a checkpoint of 64 dimensions and tiles of 32 pixels in the names of transformers 4.41, as published.

    As in the published one, the id of ``<image>`` is one past the table of embeddings, ``<image>`` is an added token
    but no special one, and there is neither a padding token nor a setting of the processor for image tokens.
    """
    import transformers
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder, marks)
    config = _config(vocabulary)
    own = {key: value for key, value in config.items() if key not in ("model_type", "architectures", "torch_dtype")}
    text = transformers.LlamaConfig(**own.pop("text_config"))
    vision = transformers.CLIPVisionConfig(**own.pop("vision_config"))
    settings = transformers.LlavaNextConfig(vision_config=vision, text_config=text, **own)
    model = transformers.LlavaNextForConditionalGeneration(settings)
    randomize(model, seed)
    weights = {_published(name): tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", config)
    _write_json(folder / "preprocessor_config.json", _image_settings())
    return folder


def _published(name: str) -> str:
    name = name.removeprefix("model.")
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    return name.replace("vision_tower.", "vision_tower.vision_model.", 1) if "vision_model" not in name else name


def _config(vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "model_type": "llava_next",
        "ignore_index": -100,
        "image_grid_pinpoints": PINPOINTS,
        "image_token_index": vocabulary,
        "projector_hidden_act": "gelu",
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "use_image_newline_parameter": True,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "text_config": {
            "model_type": "llama",
            "vocab_size": vocabulary,
            "hidden_size": DIMENSION,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": POSITIONS,
            "rms_norm_eps": 1e-5,
            "rope_theta": 500000.0,
            "bos_token_id": vocabulary - 5,
            "eos_token_id": vocabulary - 1,
        },
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": TILE,
            "patch_size": PATCH,
            "projection_dim": 16,
        },
    }


def _image_settings() -> dict[str, Any]:
    return {
        "image_processor_type": "LlavaNextImageProcessor",
        "processor_class": "LlavaNextProcessor",
        "image_grid_pinpoints": PINPOINTS,
        "size": {"shortest_edge": TILE},
        "crop_size": {"height": TILE, "width": TILE},
        "aspect_ratio_setting": "anyres",
        "do_resize": True,
        "do_center_crop": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }


def _write_tokenizer(folder: Path, marks: tuple[str, ...]) -> int:
    """Write a byte-level BPE with Llama 3's rules and return the number of its tokens without ``<image>``."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors

    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        for spelled in (word, f"\u0120{word}"):  # byte-level BPE's sign for the blank before a word
            parts = list(spelled)
            while len(parts) > 1:
                merges[parts[0], parts[1]] = None
                parts[:2] = ["".join(parts[:2])]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*dict.fromkeys([*alphabet, *("".join(pair) for pair in merges), "\u010a\u010a"])]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges), ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in marks])
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                f"{marks[0]} $A", f"{marks[0]} $A {marks[0]} $B", [(marks[0], tokenizer.token_to_id(marks[0]))]
            ),
        ]
    )
    size = tokenizer.get_vocab_size()
    tokenizer.add_tokens(["<image>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": "LlavaNextProcessor",
            "bos_token": marks[0],
            "eos_token": marks[-1],
            "clean_up_tokenization_spaces": True,
            "model_max_length": 1000000000000000019884624838656,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )
    return size


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
