"""Where an OpenCLIP model lies: its config, its weights and its tokenizer, found by any of its names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from commonscale.core.errors import EncoderError, InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.checkpoint import explained
from commonscale.encoders.request import LoadRequest, on_disk

EXTRA = "open-clip"
CONFIG = "open_clip_config.json"
# As open_clip looks for them on the hub: safetensors first.
_HUB_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_WEIGHT_SUFFIXES = frozenset({".safetensors", ".bin", ".pth"})
_DEFAULT_CONTEXT = 77


@dataclass(frozen=True)
class Source:
    """An OpenCLIP model that has been found.

    Attributes:
        name: what the user called it.
        config: ``model_cfg``: the sizes of both towers, as open_clip writes them.
        model: what ``open_clip.create_model_from_pretrained`` is asked for.
        settings: its keyword arguments.
        tokenizer: the folder or hub id of a tokenizer of transformers; "" for open_clip's own.
        hub: ``revision`` and ``local_files_only`` for that tokenizer.
    """

    name: str
    config: Mapping[str, Any]
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = ""
    hub: Mapping[str, Any] = field(default_factory=dict)

    @property
    def context_length(self) -> int:
        """Positions of the text tower."""
        return int(self.config["text_cfg"].get("context_length", _DEFAULT_CONTEXT))


def find(request: LoadRequest) -> Source:
    """Find a model by a name of the forms in :mod:`commonscale.encoders.models.open_clip`; download what is not here.

    Raises:
        InvalidInputError: if the name has none of these forms, or names no architecture or weights that there are.
        EncoderError: if a file is missing, damaged or cannot be downloaded.
    """
    source = _found(request)
    tower = source.config["text_cfg"].get("hf_model_name")
    if not request.local_files_only or not tower or Path(tower).is_dir():
        return source
    # open_clip would ask the hub for the config of a text tower of transformers, whatever it has in the cache.
    with explained(request.name, "the config of its text tower"):
        config = _download(tower, ("config.json",), {"local_files_only": True})
    text = {**source.config["text_cfg"], "hf_model_name": str(Path(config).parent), "hf_model_pretrained": False}
    return replace(source, settings={**source.settings, "text_cfg": text})


def _found(request: LoadRequest) -> Source:
    if request.name.startswith(("open_clip:", "local-dir:")):
        request.refuse("revision", why="only 'hf-hub:' names have revisions")
    if request.name.startswith("open_clip:"):
        return _built_in(request, request.name.removeprefix("open_clip:"))
    if request.name.startswith("local-dir:"):
        return _folder(request.name, _local(request.name))
    if request.folder is not None:
        return _folder(request.name, request.folder)
    return _repository(request, request.name.removeprefix("hf-hub:"))


def _local(name: str) -> Path:
    path = on_disk(name.removeprefix("local-dir:"))
    if path is None:
        raise EncoderError(f"Cannot load {CONFIG} of {name!r}: there is no such folder")
    return path


def _built_in(request: LoadRequest, name: str) -> Source:
    """Read ``architecture/tag``; in place of the tag may stand a file of weights."""
    open_clip = require("open_clip", EXTRA)
    architecture, _, weights = name.partition("/")
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise InvalidInputError(
            f"{request.name!r}: open_clip knows no architecture {architecture!r}; open_clip.list_models() lists them"
        )
    tag = open_clip.get_pretrained_cfg(architecture, weights) if weights else {}
    settings: dict[str, Any] = {}
    if tag:
        # What the weights were trained with wins over the architecture's default. open_clip itself only warns of a
        # QuickGELU that does not match, and computes other vectors than the published ones.
        settings = {f"image_{key}": tag.get(key) for key in ("mean", "std", "interpolation", "resize_mode")}
        config["quick_gelu"] = settings["quick_gelu"] = bool(tag.get("quick_gelu", False))
        with explained(request.name, "the weights"):
            file = _tagged_weights(tag, request.local_files_only)
    elif weights and (path := on_disk(weights)) is not None and path.is_file():
        file = str(path)
    else:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise InvalidInputError(
            f"{request.name!r} needs weights, as in 'open_clip:ViT-B-32/laion2b_s34b_b79k': without them its vectors "
            f"would be random. {architecture} has these: {tags}; a file of weights does too."
        )
    named = config["text_cfg"].get("hf_tokenizer_name") or ""
    hub = {"local_files_only": request.local_files_only}
    return Source(request.name, config, architecture, {"pretrained": file, **settings}, named, hub)


def _tagged_weights(tag: Mapping[str, Any], local_files_only: bool) -> str:
    repository, _, file = str(tag.get("hf_hub", "")).rpartition("/")
    if repository:
        safe = f"{Path(file).stem}.safetensors"
        files = (safe, file) if file else _HUB_WEIGHTS
        return _download(repository, files, {"local_files_only": local_files_only})
    if local_files_only:
        raise FileNotFoundError("these weights are not on the hub, so they have to be downloaded from their own place")
    return str(require("open_clip", EXTRA).download_pretrained(tag))


def _repository(request: LoadRequest, repository: str) -> Source:
    with explained(request.name, "the model"):
        config = Path(_download(repository, (CONFIG,), request.hub))
        _download(repository, _HUB_WEIGHTS, request.hub)
    found = _folder(request.name, config.parent)
    named = found.config["text_cfg"].get("hf_tokenizer_name") or ""
    # A revision is of the model's own repository, not of another one that the tokenizer comes from.
    hub = request.hub if named == repository else {"local_files_only": request.local_files_only}
    return Source(request.name, found.config, found.model, found.settings, named, hub)


def _download(repository: str, files: tuple[str, ...], hub: Mapping[str, Any]) -> str:
    """Return the path in the cache of the first of these files that a hub repository holds."""
    client = require("huggingface_hub", "encoders")
    for file in files[:-1]:
        try:
            return str(client.hf_hub_download(repository, file, **hub))
        except client.errors.EntryNotFoundError:
            continue
    return str(client.hf_hub_download(repository, files[-1], **hub))


def _folder(name: str, folder: Path) -> Source:
    with explained(name, CONFIG):
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    model = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model):
        raise EncoderError(f"{name!r}: its {CONFIG} has no 'model_cfg' with embed_dim, vision_cfg and text_cfg")
    if not any(path.suffix in _WEIGHT_SUFFIXES for path in folder.iterdir()):
        raise EncoderError(
            f"{name!r} holds no weights (a file {_HUB_WEIGHTS[0]} or {_HUB_WEIGHTS[1]}), so its vectors would be random"
        )
    named = str(folder) if model["text_cfg"].get("hf_tokenizer_name") else ""
    return Source(name, model, f"local-dir:{folder}", tokenizer=named, hub={"local_files_only": True})
