"""Embedding on Ray Data: partitions go to a pool of actors, each of which has its own encoder and writes its parts."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from commonscale.core import errors
from commonscale.core.concurrency import processors
from commonscale.core.errors import CommonscaleError, EncoderError, EncoderMismatchError
from commonscale.core.extras import require
from commonscale.embedding.embedder import PartitionEmbedder
from commonscale.embedding.execution import Identity, Task
from commonscale.embedding.output import STOP
from commonscale.embedding.partitions import Partition, Planned
from commonscale.embedding.settings import RaySettings
from commonscale.embedding.storage import trouble_explained

if TYPE_CHECKING:
    from commonscale.encoders import Encoder

EXTRA = "ray"

TRIES = 5
"""How often a partition is begun: Ray restarts actors without end, and one that kills them must not do so forever."""

_ASKED_EVERY = 0.2  # seconds


class RayExecution:
    """A pool of actors on a Ray cluster.

    Ray restarts an actor that dies and gives its partition to another; a part that was written stays. A cluster that is
    connected already is used as it is and left running.
    """

    def __init__(
        self,
        make: Callable[[], Encoder],
        folder: Path,
        settings: RaySettings,
        stop: Callable[[], bool],
        advance: Callable[[int], object],
    ) -> None:
        self._make = make
        self._folder = folder
        self._settings = settings
        self._stop = stop
        self._advance = advance
        self._closing = ExitStack()
        self._identity: Identity | None = None

    def __enter__(self) -> RayExecution:
        require("ray.data", EXTRA)
        self._closing.enter_context(_cluster(self._settings))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.close()

    @property
    def _resources(self) -> dict[str, float]:
        cpus = self._settings.num_cpus
        if cpus is None:
            local = self._settings.address == "local"
            cpus = max(1, processors() // self._settings.workers) if local else 1
        return {"num_cpus": cpus, "num_gpus": self._settings.num_gpus}

    def identity(self) -> Identity:
        """Ask a worker what vectors the encoder makes: this machine may have no room for it, or no GPU."""
        ray = require("ray", EXTRA)
        # One call a process, so that the memory of the encoder is free again afterwards.
        ask = ray.remote(max_calls=1, **self._resources)(_describe)
        with self._failures_explained():
            answer = ray.get(ask.remote(self._make))
        _raise_told(answer)
        self._identity = Identity(answer["fingerprint"], answer["dimension"])
        return self._identity

    def run(self, tasks: Iterable[Task]) -> Iterator[Planned]:
        """Embed partitions, telling of each whose part has been written; ends early when it is to stop."""
        data, identity = require("ray.data", EXTRA), self._identity or self.identity()
        planned: dict[str, Planned] = {}
        rows = []
        for partition, previous in tasks:
            planned[partition.planned.slot] = partition.planned
            rows.append({"partition": partition.dumps(), "previous": str(previous or "")})
        with _quiet(data), self._failures_explained(), _told_to_stop(self._stop, self._folder / STOP):
            dataset = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Worker,
                batch_size=1,
                compute=data.ActorPoolStrategy(size=min(self._settings.workers, len(rows))),
                fn_constructor_args=(self._make, str(self._folder), identity, TRIES),
                **self._resources,
            )
            for answer in dataset.iter_batches(batch_size=None, batch_format="numpy"):
                columns = (answer[name] for name in ("slot", "stopped", "message", "kind"))
                for slot, stopped, message, kind in zip(*columns, strict=True):
                    _raise_told({"message": str(message), "kind": str(kind)})
                    if stopped:
                        return
                    done = planned[str(slot)]
                    self._advance(done.items)
                    yield done
                if self._stop():
                    return

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        try:
            yield
        except require("ray", EXTRA).exceptions.RayError as error:
            raise EncoderError(
                f"{self._folder}: Ray could not go on: {str(error)[:1000]}\nThe parts written so far stay: mend it "
                f"and run the same again"
            ) from error


class _Worker:
    """An actor: loads the encoder once, then embeds one partition after the other."""

    def __init__(self, make: Callable[[], Encoder], folder: str, expected: Identity, tries: int) -> None:
        self._folder = Path(folder)
        self._stop = (self._folder / STOP).exists
        self._tries = tries
        self._trouble: dict[str, Any] = {}
        try:
            encoder = make()
            found = Identity(encoder.fingerprint, encoder.dimension)
            if found != Identity(*expected):
                raise EncoderMismatchError(
                    f"the encoder of a worker ({found.fingerprint}) is another one than that of the first "
                    f"({expected[0]}); give all machines of the cluster the same files and versions"
                )
            self._embedder = PartitionEmbedder(encoder, self._folder, stop=self._stop)
        except CommonscaleError as error:
            # Told by the first partition: Ray would try to start the actor again and again.
            self._trouble = _told(error)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Embed a batch of one partition, and say which one, or what is wrong."""
        partition = Partition.loads(str(batch["partition"][0]))
        previous = str(batch["previous"][0])
        answer = {"slot": partition.planned.slot, "stopped": self._stop(), "message": "", "kind": "", **self._trouble}
        if not self._trouble and not answer["stopped"]:
            try:
                marks = self._begin(partition.planned.part)
                answer["stopped"] = self._embedder.embed(partition, Path(previous) if previous else None) is None
                for mark in marks:
                    mark.unlink(missing_ok=True)
            except CommonscaleError as error:
                answer.update(_told(error))
        return {name: np.array([value]) for name, value in answer.items()}

    def _begin(self, part: str) -> list[Path]:
        """Leave a mark for this try beside those of workers that died, and give all marks."""
        marks = [self._folder / f".{part}.try-{number}" for number in range(1, self._tries + 1)]
        with trouble_explained(self._folder):
            for mark in marks:
                try:
                    mark.touch(exist_ok=False)
                    return marks
                except FileExistsError:
                    continue
        raise EncoderError(
            f"{self._folder}: {self._tries} workers died while they embedded {part}: of too little memory, or of a "
            f"file that crashes its decoder; the parts written so far stay: mend it and run the same again"
        )


def _describe(make: Callable[[], Encoder]) -> dict[str, Any]:
    try:
        encoder = make()
        return {"fingerprint": encoder.fingerprint, "dimension": encoder.dimension, "message": "", "kind": ""}
    except CommonscaleError as error:
        return _told(error)


def _told(error: CommonscaleError) -> dict[str, Any]:
    """Make an error something that can be sent: Ray would wrap it, and bury what is to be done about it."""
    return {"message": str(error), "kind": type(error).__name__}


def _raise_told(answer: Mapping[str, Any]) -> None:
    if not answer["kind"]:
        return
    kind = getattr(errors, answer["kind"], EncoderError)
    try:
        error = kind(answer["message"])
    except TypeError:  # an error with arguments of its own, such as MissingExtraError
        error = EncoderError(answer["message"])
    raise error


@contextmanager
def _cluster(settings: RaySettings) -> Iterator[None]:
    """Connect to a cluster, or start a local one; leave it, or stop it, afterwards."""
    ray = require("ray", EXTRA)
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address == "local":
        # A cluster of our own tells nobody of itself, unless its user has said so.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        count = max(processors(), settings.workers)
        ray.init(address="local", num_cpus=count, include_dashboard=False, **quiet)
    else:
        ray.init(address=settings.address, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _told_to_stop(stop: Callable[[], bool], flag: Path) -> Iterator[None]:
    """Ask all the time whether to stop, and tell the workers by a file, which they see wherever they are."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_ASKED_EVERY):
            if stop():
                with suppress(OSError):  # it is asked again after each partition
                    flag.touch()
                return

    thread = threading.Thread(target=watch, name="commonscale-stop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(OSError):  # else the next run removes it
            flag.unlink()


@contextmanager
def _quiet(data: Any) -> Iterator[None]:
    """Keep Ray Data's own bars and reports off stderr, where ours are."""
    context, logger = data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])
