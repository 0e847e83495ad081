"""Importing optional packages, with one error when they are absent."""

from __future__ import annotations

import importlib
from types import ModuleType

from commonscale.core.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: dotted import name, for example ``"faiss"``.
        extra: the extra of Commonscale that installs it, for example ``"faiss"``.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: if the package is absent; its last line is the pip command to run. A package that
            is present but fails to import raises its own error, unchanged.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top_level = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] == top_level:
            # The traceback of the failed import says nothing more: it would only bury the command to run.
            raise MissingExtraError(top_level, extra) from None
        raise
