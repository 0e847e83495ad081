"""The answerer's tokenizer and processor, in the files that LLaVA checkpoints have: one token for each word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from commonscale.demo.train_tokenizer import write_image_settings, write_json

PAD, UNKNOWN_WORD, START, END, PICTURE, ASK, ANSWER = (
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    "<image>",
    "<question>",
    "<answer>",
)
SPECIAL = (PAD, UNKNOWN_WORD, START, END, PICTURE, ASK, ANSWER)
TOKENS = 160
"""The longest prompt; an item with more words is cut off before the question."""


def words_of(texts: Iterable[str]) -> list[str]:
    """List every word and sign of some texts in lower case, in order of the alphabet."""
    return sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})


def build_tokenizer(words: Iterable[str]) -> Any:
    """Make a tokenizer of whole words; a word that it does not have becomes ``<unk>``.

    Args:
        words: the words, in lower case.

    Returns:
        A ``PreTrainedTokenizerFast`` that puts ``<s>`` before every text.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN_WORD))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", pair=f"{START} $A $B", special_tokens=[(START, vocabulary[START])]
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN_WORD,
        bos_token=START,
        eos_token=END,
        additional_special_tokens=[PICTURE, ASK, ANSWER],
        model_max_length=TOKENS,
        padding_side="left",
    )


def write_processor(tokenizer: Any, folder: Path, patch: int) -> None:
    """Write the files that ``AutoProcessor`` makes a ``LlavaProcessor`` of.

    Args:
        tokenizer: the tokenizer.
        folder: the checkpoint's folder.
        patch: side of a patch of the picture in pixels; the prompt has a place for each patch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_image_settings(folder)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": TOKENS,
            "padding_side": "left",
            "pad_token": PAD,
            "unk_token": UNKNOWN_WORD,
            "bos_token": START,
            "eos_token": END,
            "additional_special_tokens": [PICTURE, ASK, ANSWER],
        },
    )
    write_json(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "image_token": PICTURE,
            "num_additional_image_tokens": 1,
            "patch_size": patch,
            "vision_feature_select_strategy": "default",
        },
    )
