"""Record what the original implementation gives for a published checkpoint.

    python tests/weights/record.py openai/clip-vit-base-patch32

Writes ``tests/weights/recorded/<name>.json``: vectors of fixed texts and of pictures that are drawn in code, with the
versions of the libraries and the date. ``pytest -m weights`` then compares ours with them. The checkpoint is
downloaded if it is not in the Hugging Face cache (set HF_HUB_OFFLINE=1 to forbid it).
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from commonscale.core.files import write_text_atomically
from weights.originals import ORIGINALS, Original
from weights.pictures import digest, drawn

FOLDER = Path(__file__).parent / "recorded"

TEXTS = (
    "a photo of a cat",
    "Two DOGS run on the grass!",
    "The café's menu, in 3 languages: crème brûlée, 12.50 €",
    "犬が走る",
    "a",
    " ".join(
        ["a long text that most of these models cut somewhere, each where it was taught to, and always alike"] * 8
    ),
)


def file_of(name: str, folder: Path) -> Path:
    """Name the file of a checkpoint."""
    return folder / f"{name.replace('/', '--')}.json"


def record(
    name: str, original: Original, folder: Path, checkpoint: str | None = None, texts: Sequence[str] = TEXTS
) -> Path:
    """Compute by the original implementation and write the vectors down.

    Args:
        name: the checkpoint's hub id.
        original: how to compute.
        folder: where to write.
        checkpoint: what to load, if not the hub id: a folder.
        texts: what to embed.

    Returns:
        The file.
    """
    pictures = drawn()
    text_rows, image_rows = original.embed(checkpoint or name, texts, list(pictures.values()))
    made = {
        "name": name,
        "api": original.api,
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "versions": {package: _version(package) for package in original.packages},
        "texts": list(texts),
        "pictures": {key: digest(picture) for key, picture in pictures.items()},
        "text_vectors": [[round(float(value), 7) for value in row] for row in text_rows],
        "image_vectors": [[round(float(value), 7) for value in row] for row in image_rows],
    }
    path = file_of(name, folder)
    # A vector a line, so that a change can be read.
    lines = json.dumps(made, ensure_ascii=False).replace("], [", "],\n[").replace(": [[", ":\n[[")
    write_text_atomically(path, lines + "\n")
    return path


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    """Record the checkpoint that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(ORIGINALS), help="hub id of the checkpoint", metavar="NAME")
    name = parser.parse_args().name
    sys.stdout.write(f"{record(name, ORIGINALS[name], FOLDER)}\n")


if __name__ == "__main__":
    main()
