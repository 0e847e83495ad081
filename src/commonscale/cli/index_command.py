"""``commonscale index``: a folder of pictures and texts becomes an index, or an index is brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from commonscale.cli.console import printable, say
from commonscale.cli.indexing import FolderIndexer
from commonscale.cli.interrupt import Interrupt
from commonscale.cli.opening import ENCODER, FOLDER, encoder_for, encoder_name, has_index, load, open_index
from commonscale.cli.plan import Plan, make_plan
from commonscale.cli.scan import Scan, Unreadable, scan
from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.index import FaissIndex

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder

UNREADABLE = 3
"""Exit code when some files could not be read; all others are indexed."""


def index_folder(folder: Path, out: Path, encoder: str | None, device: str | None) -> int:
    """Make or update the index of a folder.

    Args:
        folder: pictures and texts.
        out: where the index is kept.
        encoder: hub id or folder; may be None if the index exists.
        device: as for ``load_encoder``.

    Returns:
        The exit code: 0, 3 if files were unreadable, 130 after Ctrl-C.

    Raises:
        CommonscaleError: if the index cannot be made or updated; what was saved before stays.
    """
    root = folder.resolve()
    found = scan(root, skip=out)
    index, model = _open(out, root, encoder, device)
    if not found.files and not found.unreadable:
        raise InvalidInputError(
            f"{folder}: holds no pictures and no texts (hidden files and links are not read); the index is unchanged"
        )
    with index.exclusive():
        index.set_note(FOLDER, str(root))
        if encoder is not None:
            index.set_note(ENCODER, encoder_name(encoder))
        plan = make_plan(found, index)
        interrupt, indexer = _run(index, model, plan)
    unreadable = sorted([*plan.unreadable, *indexer.done.unreadable], key=lambda item: item.id)
    _report(index, found, plan, indexer, unreadable)
    if interrupt:
        remaining = len(plan.new) + len(plan.changed) - indexer.done.files
        say(f"Interrupted: everything so far is saved in {out}. Run the same command again for the other {remaining}.")
        return interrupt.exit_code
    return UNREADABLE if unreadable else 0


def _open(out: Path, root: Path, encoder: str | None, device: str | None) -> tuple[FaissIndex, BatchedEncoder]:
    if not has_index(out):
        if encoder is None:
            raise InvalidInputError(f"{out}: a new index needs an encoder; name it with --encoder NAME_OR_PATH")
        model = load(encoder, device)
        return FaissIndex.create(out, model.dimension, encoder_fingerprint=model.fingerprint), model
    index = open_index(out)
    recorded = index.notes.get(FOLDER)
    # A folder that is gone has been moved here; one that is still there is another collection.
    if recorded is not None and Path(recorded) != root and Path(recorded).is_dir():
        raise InvalidInputError(
            f"{out}: is the index of {recorded}, not of {root}; choose another folder with --out, or name the first one"
        )
    return index, encoder_for(index, encoder, device)


def _run(index: FaissIndex, encoder: BatchedEncoder, plan: Plan) -> tuple[Interrupt, FolderIndexer]:
    bar = require("tqdm", "encoders").tqdm(total=len(plan.new) + len(plan.changed), unit="file", desc="Indexing")
    with bar, Interrupt() as interrupt:
        indexer = FolderIndexer(index, encoder, plan, stop=lambda: bool(interrupt), advance=bar.update)
        indexer.run()
    return interrupt, indexer


def _report(index: FaissIndex, found: Scan, plan: Plan, indexer: FolderIndexer, unreadable: list[Unreadable]) -> None:
    indexed = set(indexer.done.indexed)
    added = sum(file.id in indexed for file in plan.new)
    changed = sum(file.id in indexed for file in plan.changed)
    say(
        f"Files: {added} added, {changed} changed, {len(plan.vanished)} removed, {plan.same} unchanged, "
        f"{len(unreadable)} unreadable."
    )
    counts = ", ".join(f"{len(index.documents(modality))} {modality} documents" for modality in index.modalities)
    say(f"The index now holds {counts or 'nothing'}.")
    if found.links:
        say(f"{found.links} symbolic links were not followed.")
    if unreadable:
        say(f"Unreadable files ({len(unreadable)}):", "yellow")
        for item in unreadable:
            say(f"  {printable(item.id)}: {printable(item.reason)}")
