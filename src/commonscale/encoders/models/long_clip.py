"""Long-CLIP (Zhang et al. 2024, arXiv 2403.15378): CLIP that reads 248 tokens, from its published ``.pt`` files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from commonscale.core.errors import EncoderError, InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.checkpoint import Checkpoint, choose_device, choose_dtype, explained
from commonscale.encoders.models.clip import CLIPEncoder
from commonscale.encoders.models.long_clip_weights import State, check_whole, from_openai, from_transformers
from commonscale.encoders.request import LoadRequest, on_disk

TOKENIZER = "openai/clip-vit-base-patch32"
"""Where the tokenizer comes from: the ``.pt`` files hold none, and every CLIP of OpenAI has the same."""

_PT = ("longclip*.pt", "LongCLIP*.pt")
_SETTINGS = ("config.json", "preprocessor_config.json")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
_STARTS = (b"PK", b"\x80\x02")  # a zip archive; the pickles that torch wrote before 1.6
# What is fetched from the hub: repositories hold other formats beside, of gigabytes each.
_WANTED = (*_PT, *_SETTINGS, *_TOKENIZER_FILES, "model*.safetensors", "merges.txt", "*token*.json")


@dataclass(frozen=True)
class LongClipCheckpoint(Checkpoint):
    """A Long-CLIP whose weights have been converted into those of a CLIPModel.

    Attributes:
        files: the folder that may hold a tokenizer and image settings; None for a single file.
        tokenizer: the folder or hub id of the tokenizer if it is not in ``files``.
        state: weights by the names of CLIPModel.
    """

    files: Path | None = None
    tokenizer: str = TOKENIZER
    state: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def load_model(self, class_name: str, state: Mapping[str, Any] | None = None) -> Any:
        """Build the model from the converted weights; see :meth:`Checkpoint.load_model`."""
        torch = require("torch", "encoders")
        model_class = getattr(require("transformers", "encoders"), class_name)
        with explained(self.name, "config.json"), torch.device("meta"):
            expected = model_class(self.config).state_dict()
        check_whole(self.state, expected, self.name)
        # Copied, so that nothing goes on reading the file: a model outlives it.
        dtype = getattr(torch, self.dtype)
        return super().load_model(class_name, {key: value.to(dtype, copy=True) for key, value in self.state.items()})

    def load_tokenizer(self) -> Any:
        """Load CLIP's tokenizer, and let it give as many tokens as the model has positions."""
        auto = require("transformers", "encoders").AutoTokenizer
        # The config beside the weights may need code of its own; that of another repository is read as it is, for
        # with a config at hand transformers makes an empty tokenizer where there are no files.
        known = {"config": self.config} if self.tokenizer == str(self.files) else {}
        try:
            with explained(self.tokenizer, "the tokenizer"):
                tokenizer = auto.from_pretrained(self.tokenizer, trust_remote_code=False, **known, **self.hub)
        except EncoderError as error:
            raise EncoderError(
                f"{error}\nThe files of {self.name!r} hold no tokenizer; load_encoder(..., tokenizer=...) takes the "
                f"folder or hub id of any CLIP of OpenAI, such as {TOKENIZER!r}."
            ) from error
        # Saved with the limit of the CLIP it was made for: 77.
        tokenizer.model_max_length = self.config.text_config.max_position_embeddings
        return tokenizer

    def load_image_processor(self) -> Any:
        """Load the image settings beside the weights, or make those of CLIP at the model's size of pictures."""
        if self.files is not None and (self.files / "preprocessor_config.json").is_file():
            return Checkpoint(str(self.files), self.config, hub=self.hub).load_image_processor()
        transformers = require("transformers", "encoders")
        # The implementation by Pillow: CLIPImageProcessor itself before transformers 5.
        kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
        size = self.config.vision_config.image_size
        return kind(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


def load(request: LoadRequest) -> CLIPEncoder:
    """Load a Long-CLIP, as published or converted; see :func:`commonscale.load_encoder`.

    A ``.pt`` file is a state dict in the layout of OpenAI's CLIP; one of CLIP itself, with a Vision Transformer,
    loads too. The setting ``tokenizer`` is the folder or hub id of CLIP's tokenizer.
    """
    device, dtype = choose_device(request.device), choose_dtype(request.dtype)
    given = request.settings.get("tokenizer")
    if given is not None and not isinstance(given, (str, Path)):
        raise InvalidInputError(f"tokenizer must be a folder or hub id, got {given!r}")
    path = request.folder if request.folder is not None else _download(request)
    folder = path if path.is_dir() else None
    with explained(request.name, "the weights"):
        settings, state = _read(path, request.name)
        config = require("transformers", "encoders").CLIPConfig(**settings)
    tokenizer = _tokenizer_source(folder, given)
    checkpoint = LongClipCheckpoint(
        request.name,
        config,
        device,
        dtype,
        request.max_tokens,
        {"local_files_only": request.local_files_only or Path(tokenizer).is_dir()},
        folder,
        tokenizer,
        state,
    )
    encoder = CLIPEncoder(checkpoint, request.options)
    # The weights are the model's now; the encoder keeps no second copy of them.
    encoder.checkpoint = replace(checkpoint, state={})
    return encoder


def _download(request: LoadRequest) -> Path:
    """Fetch the files that are needed of a hub repository, or find them in the cache."""
    hub = require("huggingface_hub", "encoders")
    with explained(request.name, "the files"):
        return Path(hub.snapshot_download(request.name, allow_patterns=list(_WANTED), **request.hub))


def _tokenizer_source(folder: Path | None, given: str | Path | None) -> str:
    if given is not None:
        return str(on_disk(given) or given)
    own = folder is not None and any((folder / name).is_file() for name in _TOKENIZER_FILES)
    return str(folder) if own else TOKENIZER


def _read(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file or folder into arguments of CLIPConfig and weights of CLIPModel."""
    if path.is_file():
        return from_openai(_read_pt(path), name)
    shards = sorted(path.glob("model*.safetensors"))
    if shards and (path / "config.json").is_file():
        load_file = require("safetensors.torch", "encoders").load_file
        state = {key: tensor for shard in shards for key, tensor in load_file(shard).items()}
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise EncoderError(f"config.json of {name!r} must hold a JSON object, got {str(config)[:60]!r}")
        return from_transformers(config, state, name)
    found = sorted({file for pattern in _PT for file in path.glob(pattern)})
    if len(found) != 1:
        listed = f"{len(found)}: {', '.join(file.name for file in found)}" if found else "none"
        raise EncoderError(
            f"{name!r} must hold one Long-CLIP, as longclip*.pt or as config.json with model.safetensors; found "
            f"{listed}. Give the file itself."
        )
    return from_openai(_read_pt(found[0]), name)


def _read_pt(path: Path) -> State:
    """Read a state dict without running any code from its file.

    Raises:
        EncoderError: if it is damaged, is a TorchScript archive, or holds anything else than tensors by name.
        UnpicklingError: if it holds more than weights.
    """
    torch = require("torch", "encoders")
    with path.open("rb") as stream:
        start = stream.read(2)
    if start not in _STARTS:
        raise EncoderError(
            f"{str(path)!r} was not written by torch.save(): it begins with {start!r}. An interrupted download or a "
            "pointer of Git LFS can have its name; fetch the file itself."
        )
    zipped = zipfile.is_zipfile(path)
    if zipped and _is_script(path):
        raise EncoderError(
            f"{str(path)!r} is a TorchScript archive, which is a program and is refused. Give the state dict of a "
            f"Long-CLIP, or for a CLIP of OpenAI its hub id, such as {TOKENIZER!r}."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except EOFError as error:
        raise EncoderError(f"{str(path)!r} ends too early: {error}. Fetch it again.") from error
    if not isinstance(state, dict) or not all(isinstance(value, (torch.Tensor, int)) for value in state.values()):
        raise EncoderError(f"{str(path)!r} must hold a state dict, tensors by name; it holds other things too.")
    return state


def _is_script(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(member.endswith("/constants.pkl") for member in archive.namelist())
