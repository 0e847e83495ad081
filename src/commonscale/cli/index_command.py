"""``commonscale index``: a folder of pictures and texts becomes an index, or an index is brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from commonscale.cli.console import printable, say
from commonscale.cli.indexing import Done, FolderIndexer, tidy
from commonscale.cli.interrupt import Interrupt
from commonscale.cli.plan import Plan, make_plan
from commonscale.cli.renewing import renew
from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.embedding.manifest import has_shards
from commonscale.embedding.scan import Scan, Unreadable, scan
from commonscale.index import FaissIndex
from commonscale.index.opening import (
    ENCODER,
    FOLDER,
    check_folder,
    encoder_for,
    encoder_name,
    has_index,
    load,
    open_index,
)

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder

UNREADABLE = 3
"""Exit code when some files could not be read; all others are indexed."""


def index_folder(folder: Path, out: Path, encoder: str | None, device: str | None) -> int:
    """Make or update the index of a folder.

    Args:
        folder: pictures and texts, or shards of embeddings.
        out: where the index is kept.
        encoder: hub id or folder; may be None if the index exists.
        device: as for ``load_encoder``.

    Returns:
        The exit code: 0, 3 if files were unreadable, 130 after Ctrl-C.

    Raises:
        CommonscaleError: if the index cannot be made or updated; what was saved before stays.
    """
    root = folder.resolve()
    if has_shards(root):
        from commonscale.cli.shards import index_shards

        return index_shards(folder, out, encoder, device)
    found = scan(root, skip=out)
    if not found.files and not found.unreadable:
        others = f"; files of other types: {printable(found.describe_others())}" if found.others else ""
        raise InvalidInputError(
            f"{folder}: holds no pictures and no texts (hidden files and links are not read); "
            f"nothing was changed{others}"
        )
    index, model = _open(out, root, encoder, device)
    with index.exclusive():
        index.set_note(FOLDER, str(root))
        if encoder is not None:
            index.set_note(ENCODER, encoder_name(encoder))
        plan = make_plan(found, index)
        if model is None and plan.todo:
            model = encoder_for(index, encoder, device)
        interrupt, done = _run(index, model, plan)
        renew(index)
    unreadable = sorted([*plan.unreadable, *done.unreadable], key=lambda item: item.id)
    _report(index, found, plan, done, unreadable)
    if interrupt:
        remaining = len(plan.todo) - done.files
        say(f"Interrupted: everything so far is saved in {out}. Run the same command again for the other {remaining}.")
        return interrupt.exit_code
    return UNREADABLE if unreadable else 0


def _open(out: Path, root: Path, encoder: str | None, device: str | None) -> tuple[FaissIndex, BatchedEncoder | None]:
    """Open or create the index; the encoder comes with it where it has to be looked at even if no file is new."""
    if not has_index(out):
        if encoder is None:
            raise InvalidInputError(f"{out}: a new index needs an encoder; name it with --encoder NAME_OR_PATH")
        model = load(encoder, device)
        return FaissIndex.create(out, model.dimension, encoder_fingerprint=model.fingerprint), model
    index = open_index(out)
    check_folder(index, root)
    another = encoder is not None and encoder_name(encoder) != index.notes.get(ENCODER)
    return index, encoder_for(index, encoder, device) if another else None


def _run(index: FaissIndex, encoder: BatchedEncoder | None, plan: Plan) -> tuple[Interrupt, Done]:
    with Interrupt() as interrupt:
        tidy(index, plan)
        if encoder is None or not plan.todo:
            index.save()
            return interrupt, Done()
        with require("tqdm", "encoders").tqdm(total=len(plan.todo), unit="file", desc="Indexing") as bar:
            indexer = FolderIndexer(index, encoder, plan, stop=lambda: bool(interrupt), advance=bar.update)
            indexer.run()
    return interrupt, indexer.done


def _report(index: FaissIndex, found: Scan, plan: Plan, done: Done, unreadable: list[Unreadable]) -> None:
    indexed = set(done.indexed)
    added = sum(file.id in indexed for file in plan.new)
    changed = sum(file.id in indexed for file in plan.changed)
    say(
        f"Files: {added} added, {changed} changed, {len(plan.vanished)} removed, {plan.same} unchanged, "
        f"{len(unreadable)} unreadable."
    )
    counts = ", ".join(f"{len(index.documents(modality))} {modality} documents" for modality in index.modalities)
    say(f"The index now holds {counts or 'nothing'}.")
    if found.links:
        say(f"Symbolic links that were not followed: {found.links}.")
    if found.others:
        say(f"Files of other types that were passed over: {printable(found.describe_others())}.")
    if unreadable:
        say(f"Unreadable files ({len(unreadable)}):", "yellow")
        for item in unreadable:
            say(f"  {printable(item.id)}: {printable(item.reason)}")
