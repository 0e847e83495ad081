"""``embed_corpus``: every picture and text of a corpus becomes a vector in a folder of shards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonscale.core.errors import EncoderMismatchError, InvalidInputError
from commonscale.core.extras import require
from commonscale.core.types import Modality
from commonscale.embedding.corpus import open_corpus
from commonscale.embedding.encoders import EncoderChoice, EncoderInput, choose
from commonscale.embedding.execution import Execution, Identity, LocalExecution, Task
from commonscale.embedding.manifest import ShardManifest, has_shards, read_manifest
from commonscale.embedding.output import OutputFolder
from commonscale.embedding.partitions import Corpus
from commonscale.embedding.records import ShardFailure
from commonscale.embedding.settings import RaySettings
from commonscale.embedding.shards import Shards
from commonscale.embedding.unique_ids import check_ids


@dataclass(frozen=True)
class EmbedResult:
    """What a run came to.

    Attributes:
        folder: where the shards are.
        complete: whether all parts are there; False if the run was stopped.
        items: files or rows of the corpus.
        parts: how many parts the corpus has.
        written: how many of them this run wrote, those included of which failed items were tried again.
        counts: documents by modality, in the parts that are there.
        failures: what could not be embedded, of this run and earlier ones.
        notes: what else a user should know of the corpus, in sentences.
    """

    folder: Path
    complete: bool
    items: int
    parts: int
    written: int
    counts: Mapping[Modality, int]
    failures: tuple[ShardFailure, ...]
    notes: tuple[str, ...]


def embed_corpus(
    corpus: str | os.PathLike[str],
    out: str | os.PathLike[str],
    encoder: EncoderInput,
    *,
    encoder_options: Mapping[str, Any] | None = None,
    cache: str | os.PathLike[str] | None = None,
    partition_size: int | None = None,
    id_column: str | None = None,
    text_column: str | None = None,
    image_column: str | None = None,
    workers: int = 1,
    ray_address: str | None = None,
    num_cpus: float | None = None,
    num_gpus: float = 0,
    retry_failed: bool = False,
    progress: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> EmbedResult:
    """Embed a folder of pictures and texts, or Parquet files, into shards; go on where an earlier run ended.

    The corpus is cut into partitions, each of which becomes one Parquet file, written whole or not at all. A run that
    was killed loses the partitions in hand; the next one embeds what is missing or has changed, and nothing else.

    Args:
        corpus: a folder, a Parquet file or a folder of Parquet files.
        out: folder of the shards; made if needed. With Ray, all machines must see both under these paths.
        encoder: an encoder, a hub id or folder for ``load_encoder``, or a function that makes one. With Ray it must be
            one of the latter two, as every worker makes its own.
        encoder_options: further arguments of ``load_encoder``, if the encoder is given by name.
        cache: a folder where a ``CachedEncoder`` keeps vectors for other corpora and folders; on a local disk.
        partition_size: files (on average) or rows in a partition, 1000 by default; fixed by the first run.
        id_column: column of Parquet files with the documents' ids; by default ``"id"``, else file and row number.
        text_column: column with texts; by default ``"text"``.
        image_column: column with pictures: bytes, a struct of bytes and path, or a path relative to the file; by
            default ``"image"``. All other columns become metadata.
        workers: more than one are actors on Ray.
        ray_address: ``"local"`` or a running cluster (``"auto"``, ``"host:port"``); None means local if there are
            several workers, else no Ray.
        num_cpus: processors of each worker on Ray; None for its share of a local cluster, one in another.
        num_gpus: graphics processors of each worker on Ray.
        retry_failed: try all items again that an earlier run could not embed, not only those that it could not read
            because of a disk or a network; everything else keeps its vector.
        progress: show a progress bar on stderr.
        stop: asked after every few batches, with Ray several times a second from another thread; once it says True,
            the run ends after the batches in hand, to be gone on with later.

    Returns:
        What the run came to. Items that could not be embedded are in its ``failures``; they stop nothing.

    Raises:
        InvalidInputError: if an argument cannot be used, there is nothing to embed, two rows have one id, or ``out``
            holds the embeddings of another corpus.
        EncoderMismatchError: if ``out`` holds vectors of another encoder; the message names both.
        EncoderError: if the encoder cannot be loaded or used; all parts written so far stay.
        IndexConflictError: if another run is writing to ``out``.
        FileFormatError: if a file of ``out``, or a Parquet file, is damaged; the message says what to do.
        StorageError: if ``out`` is full or cannot be written to; all parts written so far stay.
        MissingExtraError: if pyarrow, or for workers Ray, is not installed.
    """
    target = Path(out).resolve()
    choice = choose(encoder, encoder_options, cache)
    columns = {"id": id_column, "text": text_column, "image": image_column}
    ray = None
    if workers != 1 or ray_address is not None:
        ray = RaySettings(workers, ray_address or "local", num_cpus, num_gpus)
        require("ray", "ray")
    # Nothing is looked at before the folder is ours: another run could change it meanwhile.
    with OutputFolder(target) as folder:
        recorded = read_manifest(target) if has_shards(target) else None
        before = None if recorded is None else recorded.corpus
        opened = open_corpus(Path(corpus), target, partition_size=partition_size, columns=columns, recorded=before)
        with (
            closing(opened),
            _bar(progress) as bar,
            _execution(choice, target, ray, stop, bar.update) as execution,
        ):
            return _run(opened, folder, execution, choice, recorded, bar, retry_failed)


def _run(
    corpus: Corpus,
    folder: OutputFolder,
    execution: Execution,
    choice: EncoderChoice,
    recorded: ShardManifest | None,
    bar: Any,
    retry_failed: bool,
) -> EmbedResult:
    identity = execution.identity()
    bar.set_description("Embedding")
    _check_encoder(folder.path, recorded, choice.name, identity)
    plan = corpus.plan(identity.fingerprint)
    name = choice.name or (recorded.encoder_name if recorded else None)
    parts = tuple(planned.part for planned in plan)
    manifest = ShardManifest(identity.fingerprint, name, identity.dimension, corpus.describe(), parts)
    shards = Shards(folder.path, manifest)
    missing, again = set(shards.missing), _tried_again(shards, retry_failed)
    if missing:
        check_ids(corpus.partitions(plan))
    if manifest != recorded:
        manifest.write(folder.path)
    todo = [planned for planned in plan if planned.part in missing or planned.part in again]
    items = sum(planned.items for planned in plan)
    bar.reset(items)
    bar.initial = items - sum(planned.items for planned in todo)
    bar.update(bar.initial)
    replaced = folder.replaced_by(plan)
    written = 0
    tasks = (
        Task(partition, again.get(partition.planned.part) or replaced.get(partition.planned.slot))
        for partition in corpus.partitions(todo)
    )
    for done in execution.run(tasks) if todo else ():
        written += 1
        folder.remove(replaced.pop(done.slot, None))
    shards = Shards(folder.path, manifest)
    if not shards.missing:
        folder.remove_others(parts)
    complete = not shards.missing
    notes = tuple(corpus.notes)
    return EmbedResult(folder.path, complete, items, len(plan), written, shards.counts, shards.failures, notes)


def _tried_again(shards: Shards, everything: bool) -> dict[str, Path]:
    """Give the parts whose failures are tried again, by name; finds damaged parts now rather than after hours."""
    return {
        path.name: path
        for path, header in shards.headers.items()
        if any(everything or failure.transient for failure in header.failures)
    }


def _check_encoder(folder: Path, recorded: ShardManifest | None, name: str | None, identity: Identity) -> None:
    if recorded is not None and recorded.encoder_fingerprint != identity.fingerprint:
        raise EncoderMismatchError(
            f"{folder}: holds vectors of the encoder {recorded.encoder_name or 'without a name'!r} "
            f"({recorded.encoder_fingerprint}); {name or 'the one given'!r} is another one ({identity.fingerprint}); "
            f"use the first, or choose another folder"
        )


def _execution(
    choice: EncoderChoice,
    folder: Path,
    ray: RaySettings | None,
    stop: Callable[[], bool],
    advance: Callable[[int], object],
) -> Execution:
    if ray is None:
        return LocalExecution(choice.make(), folder, stop, advance)
    if not choice.portable:
        raise InvalidInputError(
            "workers on Ray each load an encoder of their own: give embed_corpus() the encoder's name, or a function "
            "that makes it, in place of the encoder itself"
        )
    from commonscale.embedding.ray_embed import RayExecution

    return RayExecution(choice.make, folder, ray, stop, advance)


@contextmanager
def _bar(shown: bool) -> Iterator[Any]:
    with require("tqdm", "encoders").tqdm(total=0, unit="item", desc="Loading the encoder", disable=not shown) as bar:
        yield bar
