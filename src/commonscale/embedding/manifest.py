"""``embedding.json``: what a folder of shards was made from and by, and which parts it consists of."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from commonscale.core.errors import FileFormatError
from commonscale.core.files import write_text_atomically
from commonscale.embedding.storage import trouble_explained

MANIFEST = "embedding.json"
FORMAT = "commonscale-embedding"
SCHEMA_VERSION = 1
PART = re.compile(r"part-(?P<slot>[0-9a-z]+)-(?P<digest>[0-9a-f]{16})\.parquet")
"""A part's name: its slot (which partition of the corpus) and a digest of what was embedded."""


@dataclass(frozen=True)
class ShardManifest:
    """The plan of a corpus's shards.

    Attributes:
        encoder_fingerprint: whose vectors they are.
        encoder_name: hub id or absolute folder of the encoder; None if it was given as an object.
        dimension: length of every vector.
        corpus: what was embedded and how it is cut into partitions.
        parts: names of the files that make it up, in order; those not written yet are to be written.
    """

    encoder_fingerprint: str
    encoder_name: str | None
    dimension: int
    corpus: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write ``embedding.json``, whole or not at all."""
        document = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(self)}
        with trouble_explained(folder):
            write_text_atomically(folder / MANIFEST, json.dumps(document, indent=1, allow_nan=False) + "\n")


def has_shards(folder: Path) -> bool:
    """Say whether a folder holds shards of embeddings."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> ShardManifest:
    """Read ``embedding.json``.

    Raises:
        FileNotFoundError: if there is none.
        FileFormatError: if it is damaged, something else, or from a newer version.
    """
    path = folder / MANIFEST
    data = path.read_bytes()
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: no valid JSON ({error}): damaged; delete it and run the same embed command again: parts that "
            f"are there are kept"
        ) from error
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise FileFormatError(f'{path}: not a manifest of embeddings: it lacks "format": "{FORMAT}"')
    version = document.pop("schema_version", None)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise FileFormatError(
            f"{path}: has schema version {version!r}, this commonscale reads version {SCHEMA_VERSION}; "
            f"upgrade commonscale, or embed into another folder"
        )
    try:
        return _build(document)
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: damaged manifest ({error!r}); delete it and run embed again") from error


def _build(document: dict[str, Any]) -> ShardManifest:
    manifest = ShardManifest(**{**document, "parts": tuple(document["parts"])})
    if not isinstance(manifest.encoder_fingerprint, str) or not isinstance(manifest.encoder_name, (str, type(None))):
        raise TypeError("the encoder's fingerprint and name must be text")
    if isinstance(manifest.dimension, bool) or not isinstance(manifest.dimension, int) or manifest.dimension < 1:
        raise ValueError(f"dimension {manifest.dimension!r}")
    if not isinstance(manifest.corpus, dict):
        raise TypeError(f"corpus {manifest.corpus!r}")
    strange = [name for name in manifest.parts if not isinstance(name, str) or not PART.fullmatch(name)]
    if strange:
        raise ValueError(f"{strange[0]!r} is not the name of a part")
    return manifest
