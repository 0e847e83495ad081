"""The world as a searchable corpus: pictures and passages, encoded and indexed like anybody's files."""

from __future__ import annotations

import os
from pathlib import Path

from commonscale.answering.opening import DEMO, LLM
from commonscale.core.types import IMAGE, TEXT
from commonscale.demo.drawing import draw
from commonscale.demo.world import World
from commonscale.encoders import Encoder
from commonscale.index import Document, FaissIndex
from commonscale.index.opening import ENCODER, FOLDER, encoder_name, has_index

ENCODER_FOLDER = Path(__file__).parent / "encoder"
"""The small CLIP that ``train_encoder`` made; ``load_encoder`` opens it like any other checkpoint."""


def draw_pictures(world: World, folder: str | os.PathLike[str]) -> dict[str, str]:
    """Draw every pictured scene into a PNG file.

    Args:
        world: the world.
        folder: where the files go; made if needed.

    Returns:
        The path of each picture, by document id.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = {}
    for entry in world.of(IMAGE):
        file = Path(folder) / f"{entry.id}.png"
        draw(entry.scene).save(file, optimize=True)
        files[entry.documents[0]] = str(file)
    return files


def build_index(world: World, pictures: dict[str, str], encoder: Encoder, folder: Path) -> FaissIndex:
    """Encode the corpus and index it, in place of what the folder's index held.

    The index records its encoder and its answerer, so every command can use it as it is.

    Args:
        world: the world.
        pictures: the pictures' paths by document id.
        encoder: embeds pictures and passages.
        folder: where the index is kept.

    Returns:
        The saved index.

    Raises:
        EncoderMismatchError: if the folder holds an index of another encoder.
    """
    index = FaissIndex.open(folder) if has_index(folder) else FaissIndex.create(folder, encoder.dimension)
    index.delete([document.id for document in index.documents()])
    index.set_note(ENCODER, encoder_name(str(ENCODER_FOLDER)))
    index.set_note(LLM, DEMO)
    # Where pictures may be read from to be shown to an answerer.
    index.set_note(FOLDER, str(Path(next(iter(pictures.values()))).resolve().parent))
    shown = [Document(key, IMAGE, path=str(Path(path).resolve())) for key, path in pictures.items()]
    written = [Document(key, TEXT, text=passage) for key, passage in world.passages.items()]
    seen, read = encoder.encode_images(list(pictures.values())), encoder.encode_texts([d.text for d in written])
    index.add(shown, seen, encoder_fingerprint=encoder.fingerprint)
    index.add(written, read, encoder_fingerprint=encoder.fingerprint)
    index.save()
    return index
