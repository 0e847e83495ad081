"""Documents of shards on their way into a store: their ids, labels and metadata there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commonscale.core.types import IMAGE, Modality
from commonscale.stores.ingest import labeled
from commonscale.stores.ingest_ids import id_of
from commonscale.stores.ingest_pictures import Picture

if TYPE_CHECKING:
    from commonscale.embedding import ShardBatch

ORIGINAL_ID_KEY = "commonscale_id"
"""Metadata key of a document's id in the shards, where the store needed another one."""

SOURCE_KEY = "source"
"""Metadata key of the file that a text was read from."""

_URL = ("http://", "https://")


@dataclass(frozen=True)
class Loaded:
    """One embedded document on its way into a store.

    Attributes:
        id: its id there.
        text: its words, or a picture's caption.
        picture: its file or URL, if it is a picture.
        metadata: its own, with the label of its modality.
        added: the keys among them that are not its own.
    """

    id: str
    text: str
    picture: Picture | None
    metadata: dict[str, Any]
    added: tuple[str, ...]


@dataclass(frozen=True)
class Naming:
    """How documents are named and labeled.

    Attributes:
        key: the metadata key for the modality; None to add none.
        uuids: whether the store takes UUIDs only.
        place: the collection, where ids are unique over several.
    """

    key: str | None
    uuids: bool = False
    place: str = ""

    def id_of(self, modality: Modality, original: str) -> str:
        """Give the id in the store: the same one, or a UUID made from it.

        The UUID is the one that ``add_texts`` and ``add_images`` make of such a text, path or URL.
        """
        if not self.place and (not self.uuids or _is_uuid(original)):
            return original
        return id_of(modality, original, self.place)

    def loaded(self, modality: Modality, batch: ShardBatch) -> list[Loaded]:
        """Make the documents of a batch of one modality."""
        labels = labeled(batch.metadata, len(batch), modality, self.key)
        columns = zip(batch.ids, batch.texts, batch.paths, batch.metadata, labels, strict=True)
        return [self._one(modality, *column) for column in columns]

    def _one(
        self, modality: Modality, original: str, text: str, path: str | None, own: Mapping[str, Any], labels: Any
    ) -> Loaded:
        key, picture, more = self.id_of(modality, original), None, {}
        if modality == IMAGE:
            url = path if path is not None and path.startswith(_URL) else None
            picture = Picture(original, path=path if url is None else None, url=url)
        elif path is not None:
            more[SOURCE_KEY] = path
        if key != original:
            more[ORIGINAL_ID_KEY] = original
        metadata = {**more, **labels}
        return Loaded(key, text, picture, metadata, tuple(name for name in metadata if name not in own))


def _is_uuid(text: str) -> bool:
    """Tell the usual form; stores turn others into it, and would give back another id than was put in."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
