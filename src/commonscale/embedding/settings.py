"""How a corpus is embedded on several workers."""

from __future__ import annotations

from dataclasses import dataclass

from commonscale.core.errors import InvalidInputError


@dataclass(frozen=True)
class RaySettings:
    """How a corpus is embedded on Ray.

    Attributes:
        workers: how many actors, each with an encoder of its own.
        address: ``"local"`` starts a cluster of this machine alone and stops it afterwards; ``"auto"`` or
            ``host:port`` is one that runs.
        num_cpus: processors of an actor; None means its share of a local cluster, one in another.
        num_gpus: graphics processors of an actor, or a part of one.
    """

    workers: int = 2
    address: str = "local"
    num_cpus: float | None = None
    num_gpus: float = 0

    def __post_init__(self) -> None:
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 1:
            raise InvalidInputError(f"workers must be an integer of at least 1, got {self.workers!r}")
