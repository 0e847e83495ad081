"""E5-V (Jiang et al. 2024, arXiv 2407.12580): LLaVA-NeXT on Llama 3, asked to sum up a picture or text in one word.

The vector is the hidden state after the last layer at the last place, where the model would write that word. So
prompts are padded on the left, and the layer that would choose among 128,256 words is dropped. Pictures take their
places by position, not by the id of an ``<image>`` token: the published id lies one past the table of embeddings,
over which transformers trips since the authors' 4.41 (github.com/kongds/E5-V, issue 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.base import Role
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.checkpoint import Checkpoint
from commonscale.encoders.checks import listed_texts
from commonscale.encoders.fingerprint import fingerprint_of
from commonscale.encoders.models.dual import text_limit
from commonscale.encoders.models.e5v_prompt import Prompts
from commonscale.encoders.options import EncodingOptions
from commonscale.encoders.request import LoadRequest
from commonscale.encoders.vectors import features_of

if TYPE_CHECKING:
    from PIL.Image import Image

_AS_PUBLISHED = "float16"
# A picture fills up to 2,928 places of the published model: 576 of the whole and 48 lines of 48 and a line end. So the
# authors embed four at a time, and as many places of texts are no more work or memory.
_PICTURES = 4
_PLACES = _PICTURES * 2928


class E5VEncoder(BatchedEncoder):
    """An E5-V checkpoint, for example ``royokong/e5-v``.

    A ``batch_size`` above 4 is for texts: pictures are embedded four at a time, long texts in parts of a batch.
    """

    most_images: int = _PICTURES

    def __init__(self, checkpoint: Checkpoint, options: EncodingOptions) -> None:
        super().__init__(options)
        self.checkpoint = checkpoint
        self._tokenizer = checkpoint.load_tokenizer()
        self._prompts = Prompts(self._tokenizer, checkpoint.name)  # before 16 GB are read for nothing
        self._max_tokens = self._limit()
        self._image_processor = checkpoint.load_image_processor()
        self._model = checkpoint.load_model("LlavaNextForConditionalGeneration").model

    def __repr__(self) -> str:
        """Show where the model came from and where it runs."""
        place = f"{self.checkpoint.name!r}, device={self.device!r}, dtype={self.checkpoint.dtype!r}"
        return f"{type(self).__name__}({place}, dimension={self.dimension})"

    @property
    def dimension(self) -> int:
        """Length of every vector: the width of the language model."""
        return int(self.checkpoint.config.text_config.hidden_size)

    @property
    def device(self) -> str:
        """Where the model runs, as torch names it."""
        return self.checkpoint.device

    @property
    def max_tokens(self) -> int:
        """Longest text that is read whole, without the prompt: what the model's 8,192 positions leave beside it.

        The authors cut nothing. A longer text loses its end, never the prompt's, where the vector is read.
        """
        return self._max_tokens

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the vectors: weights, compute type, tokenizer, text limit and image settings.

        Computed when first asked for (about two seconds per GB of weights) and kept.
        """
        return fingerprint_of(self._model, self._tokenizer, self._image_processor, self.max_tokens)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each whole text, without the prompt around it.

        Args:
            texts: any number of strings.

        Returns:
            One count per text; a text is read whole if its count is at most ``max_tokens``.
        """
        return self._prompts.count(listed_texts(texts, "count_tokens"))

    def _prepare_texts(self, texts: list[str], role: Role) -> list[list[int]]:
        return [self._prompts.of_text(self._prompts.cut(text, self.max_tokens)) for text in texts]

    def _embed_texts(self, prepared: list[list[int]], role: Role) -> NDArray[Any]:
        with require("torch", "encoders").inference_mode():
            parts = [self._last_states([self._embeddings(ids) for ids in part]) for part in _in_parts(prepared)]
        return np.concatenate(parts)

    def _prepare_image(self, image: Image) -> Any:
        # Said outright, because a picture 1 or 3 pixels high looks like channels-first to a guess.
        found = self._image_processor(images=[image], return_tensors="pt", input_data_format="channels_last")
        return found["pixel_values"][0], found["image_sizes"][0]

    def _embed_images(self, prepared: list[Any]) -> NDArray[Any]:
        torch = require("torch", "encoders")
        tiles, sizes = zip(*prepared, strict=True)
        with torch.inference_mode():
            before, after = (self._embeddings(ids) for ids in self._prompts.around_image())
            # Pictures have unlike numbers of tiles; all tiles go through the image tower in one batch.
            pixels = torch.cat(tiles).to(device=self.device, dtype=self._model.dtype)
            pictures = features_of(self._model.get_image_features(pixel_values=pixels, image_sizes=torch.stack(sizes)))
            return self._last_states([torch.cat([before, picture, after]) for picture in pictures])

    def _embeddings(self, ids: list[int]) -> Any:
        """Look up the language model's embeddings, shape (ids, width)."""
        return self._model.get_input_embeddings()(require("torch", "encoders").tensor(ids, device=self.device))

    def _last_states(self, sequences: list[Any]) -> NDArray[Any]:
        """Run sequences of embeddings, padded on the left, and return the last state of each, shape (n, width)."""
        torch = require("torch", "encoders")
        shape = len(sequences), max(len(sequence) for sequence in sequences)
        states = sequences[0].new_zeros(*shape, self.dimension)
        mask = torch.zeros(shape, dtype=torch.long, device=self.device)
        for row, sequence in enumerate(sequences):
            states[row, -len(sequence) :] = sequence
            mask[row, -len(sequence) :] = 1
        # Every sequence counts its places from 0, as it would alone, whatever it is padded to.
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        output = self._model.language_model(
            inputs_embeds=states, attention_mask=mask, position_ids=places, use_cache=False
        )
        last: NDArray[Any] = output.last_hidden_state[:, -1].float().cpu().numpy()
        return last

    def _limit(self) -> int:
        most = text_limit(self._tokenizer, self.checkpoint.config.text_config, None) - len(self._prompts.of_text(""))
        wanted = self.checkpoint.max_tokens
        if wanted is not None and wanted > most:
            raise InvalidInputError(
                f"max_tokens={wanted} is more than the {most} tokens that the model reads beside its prompt"
            )
        return most if wanted is None else wanted


def _in_parts(prompts: list[list[int]]) -> Iterator[list[list[int]]]:
    """Cut a batch where padding to its longest prompt would take more than ``_PLACES``; one alone may be longer."""
    part: list[list[int]] = []
    for prompt in prompts:
        longest = max(len(prompt), *(len(other) for other in part), 0)
        if part and longest * (len(part) + 1) > _PLACES:
            yield part
            part = []
        part.append(prompt)
    if part:
        yield part


def load(request: LoadRequest) -> E5VEncoder:
    """Load a checkpoint; see :func:`commonscale.load_encoder`.

    The default ``dtype`` is float16, on the CPU too: so the weights were published and used, they take half the
    memory, and one fingerprint stands for all machines. Processors without instructions for float16 multiply
    matrices several times faster in float32, which ``dtype="float32"`` chooses.

    Raises:
        EncoderError: if it is another LLaVA-NeXT than E5-V.
    """
    dtype = _AS_PUBLISHED if request.dtype is None else request.dtype
    return E5VEncoder(replace(request, dtype=dtype).checkpoint(), request.options)
