"""OpenCLIP (Ilharco et al. 2021, doi 10.5281/zenodo.5143773; Cherti et al. 2023, arXiv 2212.07143), through open_clip.

========================================================  ====================================================
name                                                      is
========================================================  ====================================================
``hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K``          a hub repository with ``open_clip_config.json``
``open_clip:ViT-B-32/laion2b_s34b_b79k``                  an architecture and a tag of its weights, as
                                                          ``open_clip.list_pretrained()`` gives them, or a file
``local-dir:models/mine``, or the folder alone            a folder with ``open_clip_config.json`` and weights
========================================================  ====================================================

Many hub repositories hold the same weights for transformers as well; those are served by CLIP or SigLIP unless the
name says ``hf-hub:``, or ``family="OpenCLIP"`` is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from commonscale.core.errors import EncoderError
from commonscale.core.extras import require
from commonscale.encoders.base import Role
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.checkpoint import choose_device, choose_dtype, explained
from commonscale.encoders.checks import listed_texts
from commonscale.encoders.fingerprint import PROBES, digest_of_weights, fingerprint_from
from commonscale.encoders.forward_settings import forward_settings
from commonscale.encoders.models.open_clip_source import EXTRA, Source, find
from commonscale.encoders.models.open_clip_tokens import OpenCLIPTokens
from commonscale.encoders.request import LoadRequest

if TYPE_CHECKING:
    from PIL.Image import Image

# Everything in one type, as the other families compute; open_clip's "fp16" leaves parts in float32 and does not
# work with every tower.
_PRECISIONS = {"float32": "fp32", "float16": "pure_fp16", "bfloat16": "pure_bf16"}
# What a tower's config says of training, of files, and of tokens and pixels, which are looked at themselves.
_NOT_ARCHITECTURE = frozenset(
    {"hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode", "hf_model_name", "hf_model_pretrained", "image_size"}
    | {"timm_model_pretrained", "timm_drop", "timm_drop_path", "patch_dropout", "output_tokens"}
)


class OpenCLIPEncoder(BatchedEncoder):
    """A model of open_clip with its own tokenizer and its transform for inference.

    Its text towers always read ``context_length`` positions, so a text takes the same time at any length.
    """

    def __init__(self, source: Source, request: LoadRequest) -> None:
        super().__init__(request.options)
        open_clip = require("open_clip", EXTRA)
        self.source = source
        self.device = choose_device(request.device)
        self.dtype = choose_dtype(request.dtype)
        with explained(source.name, "the weights"):
            model, self._transform = open_clip.create_model_from_pretrained(
                source.model,
                precision=_PRECISIONS[self.dtype],
                device=self.device,
                weights_only=True,
                **source.settings,
            )
        self._model = model.eval().requires_grad_(False)
        self._tokens = OpenCLIPTokens(source, request.max_tokens)

    def __repr__(self) -> str:
        """Show where the model came from and where it runs."""
        place = f"{self.source.name!r}, device={self.device!r}, dtype={self.dtype!r}"
        return f"{type(self).__name__}({place}, dimension={self.dimension})"

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return int(self.source.config["embed_dim"])

    @property
    def max_tokens(self) -> int:
        """Longest text that is read whole, in the tokens that :meth:`count_tokens` counts."""
        return self._tokens.limit

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the vectors: weights, compute type, shape of the towers, tokenizer, text limit, image settings.

        The same whether the weights came from the hub, by a tag or from a folder. Computed when first asked for.
        """
        text_model = getattr(getattr(self._model, "text", None), "config", None)
        inside = [text_model.model_type, forward_settings(text_model)] if text_model is not None else []
        parts = {
            "weights": digest_of_weights(self._model.state_dict()),
            "towers": {**_architecture(self.source.config), "text_model": inside},
            "vocabulary": self._tokens.vocabulary(),
            "probes": self._tokens(list(PROBES)).tolist(),
            "max_tokens": self.max_tokens,
            "pixels": self._model.visual.preprocess_cfg,
        }
        return fingerprint_from("open_clip", parts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each whole text, the marks at its ends included.

        Args:
            texts: any number of strings.

        Returns:
            One count per text; a text is read whole if its count is at most ``max_tokens``.
        """
        return self._tokens.count(listed_texts(texts, "count_tokens"))

    def _prepare_texts(self, texts: list[str], role: Role) -> Any:
        return self._tokens(texts)

    def _embed_texts(self, prepared: Any, role: Role) -> NDArray[Any]:
        with require("torch", "encoders").inference_mode():
            return _as_array(self._model.encode_text(prepared.to(self.device)))

    def _prepare_image(self, image: Image) -> Any:
        return self._transform(image)

    def _embed_images(self, prepared: list[Any]) -> NDArray[Any]:
        torch = require("torch", "encoders")
        pixels = torch.stack(prepared).to(self.device, getattr(torch, self.dtype))
        with torch.inference_mode():
            return _as_array(self._model.encode_image(pixels))


def _as_array(features: Any) -> NDArray[Any]:
    array: NDArray[Any] = features.float().cpu().numpy()
    return array


def _architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what weights alone do not tell, such as the number of heads, where it is not open_clip's default.

    Configs differ in which defaults they spell out, and newer versions add settings.
    """
    open_clip = require("open_clip", EXTRA)
    found: dict[str, Any] = {"quick_gelu": bool(config.get("quick_gelu"))}
    for name, kind in (("vision_cfg", open_clip.CLIPVisionCfg), ("text_cfg", open_clip.CLIPTextCfg)):
        usual = {field.name: field.default for field in fields(kind)}
        found[name] = {
            key: value
            for key, value in config[name].items()
            if key not in _NOT_ARCHITECTURE and value != usual.get(key)
        }
    return found


def load(request: LoadRequest) -> OpenCLIPEncoder:
    """Load a model; see :func:`commonscale.load_encoder`."""
    try:
        require("open_clip", EXTRA)
    except RuntimeError as error:
        raise EncoderError(
            f"open_clip cannot be imported: {error}\nMostly torchvision was built for another torch (for CUDA, say, "
            "where torch is for the CPU): install the two together, from one index of packages."
        ) from error
    return OpenCLIPEncoder(find(request), request)
