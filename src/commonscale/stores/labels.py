"""Noticing that a mixed store does not say which of its documents are texts and which are images."""

from __future__ import annotations

from commonscale.core.errors import CommonscaleWarning
from commonscale.core.types import Modality
from commonscale.core.warn import warn


class LabelWatch:
    """Warns when the first search of one modality of a mixed store finds nothing at all.

    A mixed store is searched once per modality, with a filter on the metadata key that names it, since text would
    starve images in one joint top k. A document without that label is never found, and that must not be silent.
    """

    def __init__(
        self, store: str, key: str, modality: Modality, *, mixed: bool, filtered: bool, by_class: str | None = None
    ) -> None:
        """Set up the watch.

        Args:
            store: name of the store's class.
            key: the metadata key.
            modality: the modality that is searched.
            mixed: whether the store holds several modalities; if not, nothing is ever said.
            filtered: whether the user restricts the search too.
            by_class: which classes of documents are asked for, in words, where these tell the modality.
        """
        self._store = store
        self._key = key
        self._modality = modality
        self._filtered = filtered
        self._by_class = by_class
        self._done = not mixed

    def __call__(self, hits: int) -> None:
        """Take note of how many hits a search had, of all its questions together."""
        if self._done:
            return
        self._done = True
        if hits:
            return
        filtered = " that pass the filter" if self._filtered else ""
        if self._by_class is None:
            asked = f"whose metadata say {self._key}={self._modality!r}"
            mend = "write that into the metadata of every document, texts too, or name another key with modality_key="
        else:
            asked = self._by_class
            mend = "add them as documents of such a class, or name a metadata key that tells with modality_key="
        warn(
            f"the first search for {self._modality!r} documents in this mixed {self._store} found none: it asks for "
            f"documents{filtered} {asked}. If there are any, {mend}; if not, leave it out of modalities=",
            CommonscaleWarning,
        )
