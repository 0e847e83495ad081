"""From a search result to the request to a language model: 20 hits, 8 of them photographs of 12 megapixels.

Ours chooses, labels, shrinks and encodes; the other way sends the files as they are: the same code, but each file is
read and handed on. Settings and results are in README.md.

python benchmarks/prompting.py
python benchmarks/prompting.py --max-side 1568 --repetitions 40 --json prompting.json
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore, TextNode
from photographs import photograph
from rich.console import Console
from rich.table import Table
from timing import Scenario, timed

from commonscale.core.errors import ImageError
from commonscale.encoders import ImageInput
from commonscale.langchain import prompt_blocks, prompt_items
from commonscale.llama_index import PromptPreparer
from commonscale.prompting import Pictures, PreparedPicture, PromptBuilder

HITS, PHOTOGRAPHS = 20, 8
WORDS = "Commonscale puts every cosine on the scale that its modality has for questions like these. " * 12

ORIGINALS, COLD, WARM = "originals", "ours, first time", "ours, again"


class Originals(Pictures):
    """Hands files on as they are."""

    def prepare(self, picture: ImageInput) -> PreparedPicture:
        """Read one file."""
        assert isinstance(picture, (str, Path))
        return PreparedPicture(Path(picture).read_bytes(), "image/jpeg", 4000, 3000)

    def prepare_all(self, pictures: Iterable[ImageInput]) -> list[PreparedPicture | ImageError | None]:
        """Leave it all to ``prepare``."""
        return [None for _ in pictures]


@dataclass(frozen=True)
class Row:
    """One way of making a request, measured.

    Attributes:
        endpoint: how far it goes.
        way: with our pictures, kept or not, or with the original files.
        median_ms: median time.
        p95_ms: 95th percentile.
        ratio: median over the repetitions of its time over that of the originals in the same repetition.
        lower: lower quartile of these ratios.
        upper: upper quartile.
        busy_ms: what all cores together worked, whatever else the machine did: the least of three runs.
        megabytes: 10**6 characters of the message as JSON.
    """

    endpoint: str
    way: str
    median_ms: float
    p95_ms: float
    ratio: float
    lower: float
    upper: float
    busy_ms: float
    megabytes: float


def main() -> None:
    """Measure every endpoint and report."""
    parser = argparse.ArgumentParser(description="latency and bytes from the search result to the request")
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--max-side", type=int, default=1024)
    parser.add_argument("--one-core", action="store_true", help="pin everything to one core (Linux)")
    parser.add_argument("--json", type=Path, help="write settings and results here")
    arguments = parser.parse_args()
    if arguments.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    console = Console(width=160)
    with tempfile.TemporaryDirectory() as name:
        paths = _written(Path(name))
        sizes = [path.stat().st_size for path in paths]
        console.print(f"{len(paths)} photographs of 4000 x 3000 pixels, {min(sizes):,} to {max(sizes):,} bytes")
        rows = _measured(Path(name), paths, arguments.max_side, arguments.repetitions)
    settings = {
        "repetitions": arguments.repetitions,
        "max_side": arguments.max_side,
        "hits": HITS,
        "bytes_of_files": sizes,
        "load_average": os.getloadavg(),
    }
    _report(rows, settings, console, arguments.json)


def _written(folder: Path) -> list[Path]:
    paths = [folder / f"photograph-{seed}.jpg" for seed in range(PHOTOGRAPHS)]
    for seed, path in enumerate(paths):
        path.write_bytes(photograph(seed))
    return paths


def _measured(folder: Path, paths: Sequence[Path], max_side: int, repetitions: int) -> list[Row]:
    documents, nodes = _documents(paths), _nodes(paths)

    def langchain(pictures: Pictures) -> HumanMessage:
        prompt = PromptBuilder(pictures=pictures).build(prompt_items(documents))
        return HumanMessage(content_blocks=prompt_blocks(prompt))

    def llama_index(pictures: Pictures) -> ChatMessage:
        prepared = PromptPreparer(pictures=pictures).postprocess_nodes(nodes)
        blocks = [block for hit in prepared for block in hit.node.get_content_blocks(metadata_mode=MetadataMode.LLM)]
        return ChatMessage(role="user", blocks=blocks)

    warm = Pictures([folder], max_side=max_side)
    ways: dict[str, Callable[[], Pictures]] = {
        ORIGINALS: Originals,
        COLD: lambda: Pictures([folder], max_side=max_side),
        WARM: lambda: warm,
    }
    endpoints: dict[str, tuple[Callable[[Pictures], Any], Callable[[Any], str]]] = {
        "LangChain message": (langchain, lambda message: json.dumps(message.content)),
        "LlamaIndex message": (llama_index, lambda message: message.model_dump_json()),
    }
    rows: list[Row] = []
    for name, (make, written) in endpoints.items():
        characters = {way: len(written(make(pictures()))) for way, pictures in ways.items()}
        contenders = {way: _contender(make, pictures) for way, pictures in ways.items()}
        times = timed(Scenario(name, contenders, (), repetitions))
        for way, seconds in times.items():
            lower, ratio, upper = (float(value) for value in np.quantile(seconds / times[ORIGINALS], (0.25, 0.5, 0.75)))
            median, late = (float(value) * 1e3 for value in np.quantile(seconds, (0.5, 0.95)))
            busy = _busy_ms(contenders[way])
            rows.append(Row(name, way, median, late, ratio, lower, upper, busy, characters[way] / 1e6))
    return rows


def _busy_ms(contender: Callable[[int], object]) -> float:
    spent = []
    for _ in range(3):
        start = time.process_time()
        contender(0)
        spent.append(time.process_time() - start)
    return min(spent) * 1e3


def _contender(make: Callable[[Pictures], object], pictures: Callable[[], Pictures]) -> Callable[[int], object]:
    return lambda _: make(pictures())


def _documents(paths: Sequence[Path]) -> list[Document]:
    """Rank the photographs at places 1, 3, 5, ... among passages."""
    images = [
        Document(page_content="A photograph.", id=path.name, metadata={"image_path": str(path), "modality": "image"})
        for path in paths
    ]
    texts = [
        Document(page_content=f"{number}. {WORDS}", id=f"passage-{number}", metadata={"modality": "text"})
        for number in range(HITS - len(paths))
    ]
    return _alternating(images, texts)


def _nodes(paths: Sequence[Path]) -> list[NodeWithScore]:
    images = [ImageNode(id_=path.name, text="A photograph.", image_path=str(path)) for path in paths]
    texts = [TextNode(id_=f"passage-{number}", text=f"{number}. {WORDS}") for number in range(HITS - len(paths))]
    ranked = _alternating(images, texts)
    return [NodeWithScore(node=node, score=1.0 - place / HITS) for place, node in enumerate(ranked)]


def _alternating(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    pairs = [item for pair in zip(first, second, strict=False) for item in pair]
    return [*pairs, *first[len(second) :], *second[len(first) :]]


def _report(rows: Sequence[Row], settings: dict[str, Any], console: Console, path: Path | None) -> None:
    table = Table(caption="ratio: median over the repetitions of its time over the originals', with quartiles")
    for heading in ("until", "pictures"):
        table.add_column(heading)
    for heading in ("median ms", "p95 ms", "ratio", "all cores ms", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        times = (f"{row.median_ms:.1f}", f"{row.p95_ms:.1f}")
        ratio = f"{row.ratio:.3f} [{row.lower:.3f}, {row.upper:.3f}]"
        table.add_row(row.endpoint, row.way, *times, ratio, f"{row.busy_ms:.1f}", f"{row.megabytes:.2f}")
    console.print(table)
    console.print(f"load average: {', '.join(f'{value:.2f}' for value in settings['load_average'])}")
    if path is not None:
        content = {"settings": settings, "rows": [asdict(row) for row in rows]}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
