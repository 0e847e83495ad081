"""From what load_encoder is given to the family that serves it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from commonscale.core.errors import EncoderError, InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.families import FAMILIES, Family, close_to, family_named, known
from commonscale.encoders.request import LoadRequest, on_disk

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_WILDCARDS = frozenset("*?[")
_LONGEST_SHOWN = 200
_LONGEST_ID = 96  # of huggingface_hub's validate_repo_id


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
    path = on_disk(name_or_path) if name_or_path != "" else None  # Path("") would be the current folder
    if path is not None:
        return str(path), path
    named = isinstance(name_or_path, str) and _is_named(name_or_path)
    if not named and (isinstance(name_or_path, Path) or not _could_be_on_hub(name_or_path)):
        raise InvalidInputError(
            f"There is no folder {_short(name_or_path)!r}, and it is not a hub id such as "
            "'openai/clip-vit-base-patch32'. Give the folder that holds config.json.\n"
            f"{close_to(str(name_or_path))}{known()}"
        )
    return str(name_or_path), None


def _is_named(name: str) -> bool:
    return any(family.has_name(name) for family in FAMILIES)


def _could_be_on_hub(name: str) -> bool:
    return len(name) <= _LONGEST_ID and _HUB_ID.fullmatch(name) is not None


def _short(name: str | Path) -> str:
    text = str(name)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def asked_for(name: str, request: LoadRequest) -> Family:
    """Return the family of a name that the caller gave, unless the model says that it is of another kind.

    Raises:
        InvalidInputError: if there is no such family, or if ``config.json`` names a type that it does not serve.
    """
    family = family_named(name)
    served = family.model_types + family.other_types
    said = _config_type(request) if family.model_types else None
    if said is None or said in served:
        return family
    able = " or ".join(repr(other.name) for other in FAMILIES if said in other.model_types + other.other_types)
    advice = f"give family={able}, or leave it out" if able else "no family of transformers' own models serves it"
    raise InvalidInputError(
        f"{request.name!r} holds a model of type {said!r}, and the family {family.name} serves {', '.join(served)}; "
        f"{advice}"
    )


def within_reach(request: LoadRequest) -> LoadRequest:
    """Keep to local files from now on if the hub cannot be reached: every file asked for would be tried for 20 s."""
    if request.folder is not None or request.local_files_only or _is_named(request.name):
        return request
    errors = require("huggingface_hub.errors", "encoders")
    try:
        require("huggingface_hub", "encoders").hf_hub_download(request.name, "config.json", **request.hub)
    except errors.LocalEntryNotFoundError:
        return replace(request, local_files_only=True)
    except (errors.HfHubHTTPError, OSError, ValueError):
        return request  # the hub answered
    return request


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
        hint = close_to(request.name) if request.folder is None else ""
        raise EncoderError(f"{error}\n{hint}{known()}") from error


def _said_type(request: LoadRequest) -> str | None:
    """Read off a config which type it names, if a family serves that without the class that transformers lacks."""
    said = _config_type(request)
    return said if any(said in family.model_types for family in FAMILIES) else None


def _config_type(request: LoadRequest) -> str | None:
    """Return ``model_type`` as ``config.json`` has it; None if there is no such file or it says nothing."""
    if request.folder is not None and not request.folder.is_dir():
        return None
    config = require("transformers", "encoders").PretrainedConfig
    try:
        said = config.get_config_dict(request.name, **request.hub)[0].get("model_type")
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # whoever needs the config says what is wrong with it
    return said if isinstance(said, str) else None


def _holds(request: LoadRequest, pattern: str) -> bool:
    """Say whether a model's folder or hub repository holds a file."""
    if request.folder is not None:
        if request.folder.is_dir():
            return any(request.folder.glob(pattern))
        return request.folder.match(pattern)
    if _WILDCARDS & set(pattern):
        return False
    try:
        require("huggingface_hub", "encoders").hf_hub_download(request.name, pattern, **request.hub)
    except (require("huggingface_hub.errors", "encoders").HfHubHTTPError, OSError, ValueError):
        # Not there, or the hub is not; if it matters, reading config.json says so.
        return False
    return True
