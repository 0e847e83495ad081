"""From what load_encoder is given to the family that serves it."""

from __future__ import annotations

import re
from pathlib import Path

from commonscale.core.errors import EncoderError, InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.families import FAMILIES, Family, known
from commonscale.encoders.request import LoadRequest

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_WILDCARDS = frozenset("*?[")


def locate(name_or_path: str | Path) -> tuple[str, Path | None]:
    """Tell a folder or file from a name: what exists on disk wins.

    Returns:
        The name or path as text, and the path if something is there.

    Raises:
        InvalidInputError: if it is neither on disk nor a name that a family or the hub could know.
    """
    if not isinstance(name_or_path, (str, Path)):
        raise InvalidInputError(
            f"load_encoder() needs a folder or a name such as 'openai/clip-vit-base-patch32', got {name_or_path!r}"
        )
    path = Path(name_or_path).expanduser()
    if name_or_path != "" and path.exists():  # Path("") would be the current folder
        return str(path), path
    named = isinstance(name_or_path, str) and any(family.has_name(name_or_path) for family in FAMILIES)
    if not named and (isinstance(name_or_path, Path) or not _HUB_ID.fullmatch(name_or_path)):
        raise InvalidInputError(
            f"There is no folder {str(name_or_path)!r}, and it is not a hub id such as "
            f"'openai/clip-vit-base-patch32'. Give the folder that holds config.json.\n{known()}"
        )
    return str(name_or_path), None


def family_of(request: LoadRequest) -> Family:
    """Return the family that serves a model.

    Raises:
        InvalidInputError: if none does; the message lists those there are.
        EncoderError: if the model's files cannot be found or read.
    """
    if request.folder is None:
        for family in FAMILIES:
            if family.has_name(request.name):
                return family
    for family in FAMILIES:
        if any(_holds(request, pattern) for pattern in family.files):
            return family
    try:
        return _family_of_config(request)
    except (EncoderError, InvalidInputError):
        for family in FAMILIES:
            if any(_holds(request, pattern) for pattern in family.other_files):
                return family
        raise


def _family_of_config(request: LoadRequest) -> Family:
    model_type = _model_type(request)
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    raise InvalidInputError(f"{request.name!r} is a model of type {model_type!r}, which no family serves. {known()}")


def _model_type(request: LoadRequest) -> str:
    if request.folder is not None and not request.folder.is_dir():
        raise InvalidInputError(f"{request.name!r} is a file of no kind that is known. {known()}")
    try:
        return str(request.checkpoint().config.model_type)
    except EncoderError as error:
        said = _said_type(request)
        if said is not None:
            return said
        raise EncoderError(f"{error}\n{known()}") from error


def _said_type(request: LoadRequest) -> str | None:
    """Read off a config which type it names, if a family serves that without the class that transformers lacks."""
    config = require("transformers", "encoders").PretrainedConfig
    try:
        said = config.get_config_dict(request.name, **request.hub)[0].get("model_type")
    except OSError:
        return None
    return said if any(said in family.model_types for family in FAMILIES) else None


def _holds(request: LoadRequest, pattern: str) -> bool:
    """Say whether a model's folder or hub repository holds a file."""
    if request.folder is not None:
        if request.folder.is_dir():
            return any(request.folder.glob(pattern))
        return request.folder.match(pattern)
    if _WILDCARDS & set(pattern):
        return False
    hub = require("huggingface_hub", "encoders")
    try:
        hub.hf_hub_download(request.name, pattern, **request.hub)
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError, ValueError):
        # Not there, or the hub is not; if it matters, reading config.json says so.
        return False
    return True
