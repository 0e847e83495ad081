"""Sentence Transformers (Reimers & Gurevych 2019, arXiv 1908.10084): any model of the library, multimodal or not.

``load_encoder("clip-ViT-B-32")`` and every folder or hub repository with a ``modules.json``. Questions get the model's
prompt for queries and passages its prompt for documents, as ``encode_query`` and ``encode_document`` do. A model that
reads texts only embeds texts; pictures are an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from commonscale.core.errors import EncoderError, InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.base import Role
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.checkpoint import choose_device, choose_dtype, explained
from commonscale.encoders.checks import listed_texts
from commonscale.encoders.fingerprint import PROBES, TOKENIZER_LOCK, digest_of_weights, fingerprint_from, pixel_settings
from commonscale.encoders.forward_settings import forward_settings
from commonscale.encoders.models.dual import text_limit
from commonscale.encoders.models.loading_report import missing_weights
from commonscale.encoders.request import LoadRequest

if TYPE_CHECKING:
    from PIL.Image import Image

EXTRA = "sentence-transformers"
_TASKS: dict[Role, str] = {"question": "query", "text": "document"}
# The names under which a model may keep a task's prompt, the first that is there wins: encode_query, encode_document.
_PROMPTS: dict[Role, tuple[str, ...]] = {"question": ("query",), "text": ("document", "passage", "corpus")}
# Learned scales of scores, as in encoders/checkpoint.py.
_TEMPERATURES = frozenset({"logit_scale", "logit_bias"})
_PIXELS = frozenset({"pixel_values", "modality"})


class SentenceTransformersEncoder(BatchedEncoder):
    """A SentenceTransformer, with batches, norms and pictures done here."""

    def __init__(self, model: Any, name: str, request: LoadRequest) -> None:
        super().__init__(request.options)
        self.name = name
        self._model = model.eval().requires_grad_(False)
        self._max_tokens = self._limit(request.max_tokens)
        self._is_multimodal = not {"text", "message"}.issuperset(model.modalities)
        self._prompts = {
            role: next((model.prompts[key] for key in keys if key in model.prompts), None)
            for role, keys in _PROMPTS.items()
        }

    def __repr__(self) -> str:
        """Show where the model came from and where it runs."""
        return f"{type(self).__name__}({self.name!r}, device={str(self._model.device)!r}, dimension={self.dimension})"

    @cached_property
    def dimension(self) -> int:
        """Length of every vector; a model whose modules do not tell it embeds a word once."""
        told = self._model.get_embedding_dimension()
        return int(told or self._embed_texts(self._prepare_texts(["a"], "text"), "text").shape[1])

    @property
    def max_tokens(self) -> int | None:
        """Longest text that is read whole, its prompt included; None for a model that says nothing about it."""
        return self._max_tokens

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the vectors: the weights of all modules, prompts, tokenizer, text limit and image settings."""
        state = self._model.state_dict()
        parts = {
            "modules": [_settings(module) for module in self._model],
            "weights": digest_of_weights({name: state[name] for name in state if _is_used(self._model, name)}),
            "prompts": self._prompts,
            "tokens": [self._probed(role) for role in _TASKS],
            "vocabulary": getattr(getattr(self._model[0], "tokenizer", None), "get_vocab", dict)(),
            "max_tokens": self.max_tokens,
            "dimensions": self._model.truncate_dim,
            "pixels": self._pixels(),
        }
        return fingerprint_from(EXTRA, parts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each whole text, with the prompt for passages and the marks at its ends.

        Args:
            texts: any number of strings.

        Returns:
            One count per text, in characters for a model whose tokenizer is not one of transformers.
        """
        listed = listed_texts(texts, "count_tokens")
        return [len(ids) for ids in self._tokens(listed, self._prompts["text"] or "")] if listed else []

    def _probed(self, role: Role) -> Any:
        """Return the token ids of the probe texts, prompts included, as the model gets them."""
        ids = self._prepare_texts(list(PROBES), role).get("input_ids")
        return None if ids is None else ids.tolist()

    def _tokens(self, texts: list[str], prompt: str) -> list[Any]:
        tokenizer = self._tokenizer
        if tokenizer is None:
            return [prompt + text for text in texts]
        with TOKENIZER_LOCK:
            ids = tokenizer([prompt + text for text in texts], padding=False, truncation=False, verbose=False)
        return [list(found) for found in ids["input_ids"]]

    @property
    def _tokenizer(self) -> Any:
        tokenizer = getattr(self._model[0], "tokenizer", None)
        return tokenizer if hasattr(tokenizer, "model_max_length") and callable(tokenizer) else None

    def _limit(self, wanted: int | None) -> int | None:
        inner = self._model.transformers_model
        if self._tokenizer is None or inner is None:
            self.unit = "characters"
            if wanted is not None:
                raise InvalidInputError(f"{self.name!r} has no tokenizer that cuts texts: max_tokens cannot be set")
            return None
        limit = text_limit(self._tokenizer, inner.config.get_text_config(), wanted)
        self._model.max_seq_length = limit
        return limit

    def _prepare_texts(self, texts: list[str], role: Role) -> Any:
        # A bare string that looks like the path or the address of a picture would be opened, and embedded as one.
        items = [{"text": text} for text in texts] if self._is_multimodal else texts
        with TOKENIZER_LOCK:
            return self._model.preprocess(items, prompt=self._prompts[role], task=_TASKS[role])

    def _embed_texts(self, prepared: Any, role: Role) -> NDArray[Any]:
        return self._features(prepared, role)

    def _prepare_image(self, image: Image) -> Any:
        # No lock: for pixels alone no text is tokenized.
        if not self._model.supports("image"):
            raise InvalidInputError(
                f"{self.name!r} embeds texts only; take another encoder for pictures, with statistics of its own"
            )
        return self._prepared_images([image]) if self._reads_pixels_only else image

    @cached_property
    def _reads_pixels_only(self) -> bool:
        """Whether pictures can be prepared one by one and joined: all that the model gets of them is pixels."""
        blank = require("PIL.Image", "encoders").new("RGB", (32, 32))
        with TOKENIZER_LOCK:
            return _PIXELS.issuperset(self._prepared_images([blank]))

    def _prepared_images(self, images: list[Image]) -> Any:
        # Said outright, because a picture 1 or 3 pixels high looks like channels-first to a guess; the torchvision
        # implementation makes it channels-first before it looks.
        settings = {"image": {"input_data_format": "channels_last"}} if self._scales_with_pillow else {}
        return self._model.preprocess(
            images, prompt=self._prompts["text"], task=_TASKS["text"], processing_kwargs=settings
        )

    @property
    def _image_processor(self) -> Any:
        """The one of the first module that has one, at any depth."""
        processors = (getattr(module, "processor", None) for module in self._model.modules())
        found = (getattr(processor, "image_processor", None) for processor in processors)
        return next((processor for processor in found if processor is not None), None)

    @property
    def _scales_with_pillow(self) -> bool:
        name = type(self._image_processor).__name__
        if require("transformers", EXTRA).__version__.startswith("4."):
            return not name.endswith("Fast")
        return name.endswith("Pil")

    def _embed_images(self, prepared: list[Any]) -> NDArray[Any]:
        if not self._reads_pixels_only:
            with TOKENIZER_LOCK:
                together = self._prepared_images(prepared)
            return self._features(together, "text")
        joined = require("torch", "encoders").cat([picture["pixel_values"] for picture in prepared])
        return self._features({**prepared[0], "pixel_values": joined}, "text")

    def _features(self, features: Any, role: Role) -> NDArray[Any]:
        torch = require("torch", "encoders")
        moved = require("sentence_transformers.util", EXTRA).batch_to_device(dict(features), self._model.device)
        with torch.inference_mode():
            found = self._model(moved, task=_TASKS[role])["sentence_embedding"]
        array: NDArray[Any] = found[:, : self._model.truncate_dim].float().cpu().numpy()
        return array

    def _pixels(self) -> dict[str, Any]:
        """Return the image settings, and which implementation scales: that of torchvision rounds differently."""
        if self._image_processor is None:
            return {}
        return {**pixel_settings(self._image_processor.to_dict()), "with_pillow": self._scales_with_pillow}


def _settings(module: Any) -> Any:
    """Return what a module does beside its weights, such as how it pools."""
    routes = getattr(module, "sub_modules", {})
    if not routes and hasattr(module, "processor"):
        # Two layouts hold one and the same model of transformers; of the module around it nothing else counts.
        configs = (getattr(part, "config", None) for part in module.modules())
        return next((forward_settings(config) for config in configs if hasattr(config, "to_dict")), {})
    own = module.get_config_dict() if hasattr(module, "get_config_dict") else {}
    inside = {route: [_settings(part) for part in parts] for route, parts in routes.items()}
    return [type(module).__name__, inside, {key: str(value) for key, value in own.items() if value is not None}]


def _is_used(model: Any, weight: str) -> bool:
    """Say whether a weight decides vectors.

    BERT's classes have a pooler that most checkpoints of this library lack: it is random, and nothing reads it where
    the hidden states are pooled by the next module.
    """
    if re.search(r"(^|\.)pooler\.", weight) is None:
        return weight not in _TEMPERATURES
    told = json.dumps(getattr(model[0], "modality_config", {}))
    return "last_hidden_state" not in told or "pooler_output" in told


def load(request: LoadRequest) -> SentenceTransformersEncoder:
    """Load a model; see :func:`commonscale.load_encoder`."""
    library = require("sentence_transformers", EXTRA)
    device, dtype = choose_device(request.device), getattr(require("torch", "encoders"), choose_dtype(request.dtype))
    with explained(request.name, "the modules"), missing_weights() as missing:
        model = library.SentenceTransformer(
            request.name, device=device, trust_remote_code=False, model_kwargs={"dtype": dtype}, **request.hub
        )
    random = [weight for weight in missing if _is_used(model, weight)]
    if random:
        raise EncoderError(
            f"{request.name!r} lacks {len(random)} weights that its model needs (the first is {random[0]!r}), so its "
            "vectors would be random. Save the model again, from where it is whole."
        )
    return SentenceTransformersEncoder(model.to(dtype), request.name, request)
