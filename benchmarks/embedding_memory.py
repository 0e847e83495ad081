"""Peak memory of embedding a corpus, and how it grows: N pictures and texts, then ten times as many.

Each corpus is embedded by a process of its own, whose peak resident memory the operating system tells. The encoder is
the small one of the demonstration: what is measured is what the library holds, not a model.

    python benchmarks/embedding_memory.py --items 2000
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()


def write_corpus(folder: Path, items: int) -> None:
    """Write half as many pictures of 320 x 240 as items, and as many texts of fifteen words."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    words = ["a", "photo", "of", "the", "red", "blue", "dog", "cat", "two", "on", "grass", "runs", "sleeps"]
    pick = random.Random(0)  # a corpus, not a secret
    for number in range(items // 2):
        small = noise.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((320, 240)).save(folder / f"picture-{number:07d}.jpg", quality=90)
        (folder / f"text-{number:07d}.txt").write_text(" ".join(pick.choices(words, k=15)))


def measure(corpus: str, out: str, encoder: str) -> None:
    """Embed, in a process of its own, and print what it took."""
    from commonscale.embedding import embed_corpus

    start = time.perf_counter()
    result = embed_corpus(corpus, out, encoder)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"items": result.items, "documents": sum(result.counts.values()), "kib": peak, "s": seconds}))


def main() -> None:
    """Measure N and 10 N items."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--measure", nargs=3, metavar=("CORPUS", "OUT", "ENCODER"), help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.measure:
        measure(*settings.measure)
        return
    from commonscale.demo import ENCODER_FOLDER

    with tempfile.TemporaryDirectory() as place:
        print("| items | documents | peak MiB | seconds |\n| ---: | ---: | ---: | ---: |")
        for items in (settings.items, 10 * settings.items):
            corpus, out = Path(place) / f"corpus-{items}", Path(place) / f"shards-{items}"
            write_corpus(corpus, items)
            command = [sys.executable, str(HERE), "--measure", str(corpus), str(out), str(ENCODER_FOLDER)]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"| {told['items']} | {told['documents']} | {told['kib'] / 1024:.0f} | {told['s']:.0f} |")


if __name__ == "__main__":
    main()
