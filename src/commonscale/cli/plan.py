"""What has to be done so that an index mirrors a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from commonscale.embedding.scan import FoundFile, Scan, Unreadable, file_facts, sha256_of
from commonscale.index import Document, FaissIndex


@dataclass
class Plan:
    """The difference between an index and a folder.

    Attributes:
        new: files that are not in the index.
        changed: files whose content is another one.
        same: how many files are in the index already.
        refreshed: documents of unchanged files that only lie elsewhere or have another time.
        vanished: files that are in the index and no longer in the folder.
        unreadable: files whose content could not be looked at; what the index has of them stays.
        recorded: ids of the documents of each file in the index.
    """

    new: list[FoundFile] = field(default_factory=list)
    changed: list[FoundFile] = field(default_factory=list)
    same: int = 0
    refreshed: list[Document] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    recorded: dict[str, list[str]] = field(default_factory=dict)

    @property
    def todo(self) -> list[FoundFile]:
        """The files to embed, ordered by id."""
        return sorted([*self.new, *self.changed], key=lambda file: file.id)


def make_plan(found: Scan, index: FaissIndex) -> Plan:
    """Compare a folder with its index.

    A file is unchanged if size and time of change are as recorded, or else if its content has the same checksum.

    Args:
        found: what the folder holds.
        index: what an earlier run made of it.
    """
    plan = Plan(unreadable=list(found.unreadable))
    documents: dict[str, list[Document]] = {}
    for document in index.documents():
        documents.setdefault(str(document.metadata.get("file", document.id)), []).append(document)
    plan.recorded = {file: [document.id for document in known] for file, known in documents.items()}
    for file in found.files:
        if file.id in documents:
            _compare(file, documents[file.id], plan)
        else:
            plan.new.append(file)
    there = {file.id for file in found.files}
    plan.vanished = [file for file in documents if file not in there and not _hidden_by(file, found.unreadable)]
    return plan


def _compare(file: FoundFile, known: list[Document], plan: Plan) -> None:
    facts = known[0].metadata
    sha256 = str(facts.get("sha256"))
    if (facts.get("size"), facts.get("mtime_ns")) != (file.size, file.mtime_ns):
        try:
            now = sha256_of(file.path)
        except OSError as error:
            plan.unreadable.append(Unreadable(file.id, error.strerror or str(error)))
            return
        if now != sha256:
            plan.changed.append(file)
            return
    plan.same += 1
    for document in known:
        fresh = replace(document, path=str(file.path), metadata={**document.metadata, **file_facts(file, sha256)})
        if fresh != document:
            plan.refreshed.append(fresh)


def _hidden_by(file: str, unreadable: Iterable[Unreadable]) -> bool:
    return any(item.id in (file, ".") or file.startswith(f"{item.id}/") for item in unreadable)
