"""A tiny BLIP for retrieval, with the files of Salesforce/blip-itm-base-coco."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_checkpoints.weights import randomize
from tiny_models import WORDS

IMAGE_SIZE = 32
DIMENSION = 12
TOKENS = 20
TEXT_WIDTH = 32
VISION_WIDTH = 48


def save_tiny_blip(folder: Path | str, seed: int = 0, architecture: str = "BlipForImageTextRetrieval") -> Path:
    """Write a BLIP of 12 dimensions, 32-pixel pictures and 20 tokens; both towers and the space differ in width.

    Args:
        folder: made if it is not there.
        seed: equal seeds give equal weights.
        architecture: another class of BLIP, for checkpoints that cannot serve.

    Returns:
        The folder.
    """
    import transformers

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    size = write_bert_tokenizer(folder)
    shape = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.BlipConfig(
        text_config={
            **shape,
            "hidden_size": TEXT_WIDTH,
            "encoder_hidden_size": VISION_WIDTH,
            # The published vocabulary has room for [DEC] and [ENC], which its vocab.txt does not name.
            "vocab_size": size + 2,
            "max_position_embeddings": TOKENS,
            "bos_token_id": size,
            "sep_token_id": 3,
            "is_decoder": True,
        },
        vision_config={**shape, "hidden_size": VISION_WIDTH, "image_size": IMAGE_SIZE, "patch_size": 8},
        image_text_hidden_size=DIMENSION,
        projection_dim=DIMENSION + 4,
    )
    model = getattr(transformers, architecture)(config)
    randomize(model, seed)
    model.save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "BlipImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "processor_class": "BlipProcessor",
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            "size_divisor": 32,
        },
    )
    return folder


def write_bert_tokenizer(folder: Path) -> int:
    """Write a WordPiece vocabulary of letters and ``WORDS`` as bert-base-uncased has it; return its size."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list("0123456789.,!?'")
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = list(dict.fromkeys([*marks, *letters, *(f"##{letter}" for letter in letters), *WORDS, "##s", "##ing"]))
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "cls_token": "[CLS]",
            "do_basic_tokenize": True,
            "do_lower_case": True,
            "mask_token": "[MASK]",
            "model_max_length": TOKENS,
            "never_split": None,
            "pad_token": "[PAD]",
            "processor_class": "BlipProcessor",
            "sep_token": "[SEP]",
            "special_tokens_map_file": None,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
            "tokenizer_class": "BertTokenizer",
            "unk_token": "[UNK]",
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )
    return len(tokens)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one of a checkpoint's JSON files."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
