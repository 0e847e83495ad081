"""The demo's small vision-language model at work: it reads one picture or passage and answers in a word."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonscale.core.extras import require
from commonscale.demo.facts import UNKNOWN
from commonscale.encoders.checkpoint import quiet_loading

if TYPE_CHECKING:
    from PIL import Image

ANSWERER_FOLDER = Path(__file__).parent / "answerer"
"""The small LLaVA that ``train_answerer`` made; transformers' own classes open it like any other checkpoint."""

ASK, ANSWER = "<question>", "<answer>"
LONGEST_PASSAGE = 90
LONGEST_QUESTION = 60
"""In tokens; together they fit into the model's positions. What is longer is cut off."""

AT_ONCE = 64
"""How many questions are read together; more take memory and no less time."""


@dataclass(frozen=True)
class Reading:
    """What one item says to a question.

    Attributes:
        answer: a word, or `UNKNOWN` if the item shows something else.
        confidence: the model's probability of that word, from 0 to 1.
    """

    answer: str
    confidence: float

    @property
    def known(self) -> bool:
        """Whether the item answers the question."""
        return self.answer != UNKNOWN


class Reader:
    """Reads pictures and passages with a LLaVA of the drawn world. Safe to use from several threads."""

    def __init__(self, folder: str | os.PathLike[str] = ANSWERER_FOLDER) -> None:
        """Load a checkpoint.

        Args:
            folder: what ``train_answerer`` made.

        Raises:
            MissingExtraError: if transformers or torch is not installed.
        """
        require("torch", "encoders")
        transformers = require("transformers", "encoders")
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self._pixels = transformers.AutoImageProcessor.from_pretrained(folder)
        with quiet_loading():
            self._model = transformers.LlavaForConditionalGeneration.from_pretrained(folder, dtype="float32").eval()
        self._places = [self._model.config.image_token_index] * self._model.config.image_seq_length

    def read(self, item: str | Image.Image, questions: Sequence[str]) -> list[Reading]:
        """Answer questions from one item, which is read once for all of them.

        Args:
            item: a passage, or a picture.
            questions: any number, in any words; one that is not about the drawn world is answered `UNKNOWN`, as is one
                about something else than the item shows.

        Returns:
            One reading for each question, in their order. What the others are makes no difference.
        """
        import torch

        if not questions:
            return []
        with torch.inference_mode():
            seen = self._seen(item)
            return [
                reading
                for start in range(0, len(questions), AT_ONCE)
                for reading in self._answers(seen, questions[start : start + AT_ONCE])
            ]

    def _seen(self, item: str | Image.Image) -> Any:
        """Run the model over an item, and keep what its questions attend to."""
        import torch

        start, pictures = [self._tokenizer.bos_token_id], {}
        if isinstance(item, str):
            tokens = start + self._tokens([item])[0][:LONGEST_PASSAGE]
        else:
            tokens, pictures = start + self._places, self._pixels(images=[item], return_tensors="pt")
        return self._model(input_ids=torch.tensor([tokens]), use_cache=True, **pictures).past_key_values

    def _answers(self, seen: Any, questions: Sequence[str]) -> Iterator[Reading]:
        import copy

        import torch

        asked = [
            self._tokenizer.convert_tokens_to_ids([ASK])
            + tokens[:LONGEST_QUESTION]
            + self._tokenizer.convert_tokens_to_ids([ANSWER])
            for tokens in self._tokens(questions)
        ]
        longest = max(map(len, asked))
        ids = torch.tensor([[*tokens, *[self._tokenizer.pad_token_id] * (longest - len(tokens))] for tokens in asked])
        memory = copy.deepcopy(seen)
        memory.batch_repeat_interleave(len(asked))
        # Padding stands behind each question, where nothing that counts can see it.
        logits = self._model(input_ids=ids, past_key_values=memory).logits
        last = logits[torch.arange(len(asked)), torch.tensor([len(tokens) - 1 for tokens in asked])]
        chances, words = last.softmax(dim=-1).max(dim=-1)
        for word, chance in zip(words.tolist(), chances.tolist(), strict=True):
            yield Reading(self._tokenizer.decode([word]).strip(), chance)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Cut texts into words; nothing in them can become one of the model's own signs."""
        plain = [text.replace("<", " ").replace(">", " ") for text in texts]
        ids: list[list[int]] = self._tokenizer(plain, add_special_tokens=False)["input_ids"]
        return ids


@cache
def load_reader() -> Reader:
    """Load the demo's own answerer, once for the whole process."""
    return Reader()
