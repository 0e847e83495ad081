"""A cache of the hub, laid out by hand: what is in it needs no connection."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

COMMIT = "a" * 40


def store(repository: str, folder: Path, cache: Path) -> None:
    """Put a folder's files where the hub's client keeps those of a repository.

    ``refs/main`` names a commit, ``snapshots/<commit>`` holds its files, and ``.no_exist/<commit>`` notes what was
    looked for in vain.
    """
    place = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / COMMIT)
    if not (folder / "config.json").exists():
        (place / ".no_exist" / COMMIT).mkdir(parents=True)
        (place / ".no_exist" / COMMIT / "config.json").touch()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)


def use(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's client, and transformers 4 with a name of its own, look into this cache."""
    import huggingface_hub
    import transformers

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(transformers.utils.hub, "TRANSFORMERS_CACHE", str(cache), raising=False)
