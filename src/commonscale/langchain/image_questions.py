"""Questions that are pictures, for LangChain's interfaces, which take strings; and how embeddings embed them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.core.recorded import picture_mark, question_mark
from commonscale.core.types import Modality
from commonscale.encoders.image_sources import describe, form_of
from commonscale.encoders.images import ImageInput
from commonscale.encoders.picture_text import picture_text
from commonscale.langchain.embeddings import CommonscaleEmbeddings, image_method
from commonscale.langchain.pictures import sniffed

_CANNOT = (
    "the question is an image, and {} of modality {!r} reads none: it has neither embed_images() nor embed_image(); "
    "give embeddings that have, or what commonscale.load_encoder(name_or_path) returns"
)


class ImageQuestion(str):
    """A question that is a picture, wherever LangChain takes a question.

        retriever.invoke(ImageQuestion("holiday.jpg"))
        retriever.batch([ImageQuestion(uploaded), "a red bus"])

    It is a string, so that chains, callbacks and tracers go on working: its text is the path, the URL without its
    secrets, or ``<image 3f2a9c...>`` with a hash of the contents. Only the object is a picture: a plain string with
    the same text, which ``strip`` and its kin return too, is a question in words.

    Attributes:
        picture: a path, a URL (if the encoder reads them), or a data URI of what was given.
        words: the question's wording, for retrievers that search by words (BM25); empty if there is none.
    """

    picture: str
    words: str

    def __new__(cls, picture: ImageInput, words: str = "") -> ImageQuestion:
        """Make a question of a picture.

        Args:
            picture: a path, bytes, an open file, a PIL image, or another form that ``commonscale.encoders.images``
                tells. A file is read when the question is asked, anything else now.
            words: see the attributes.

        Raises:
            ImageError: if there is nothing to read.
        """
        if isinstance(picture, ImageQuestion):
            words = words or picture.words
            picture = picture.picture
        held = picture_text(picture)
        question = super().__new__(cls, _shown(held))
        question.picture = held
        question.words = words
        return question

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # of str: its one argument
        return self.picture, self.words

    def __repr__(self) -> str:
        return f"ImageQuestion({str(self)!r})"


def _shown(held: str) -> str:
    form = form_of(held)
    if form == "data":
        return f"<image {question_mark(held)}>"
    return describe(held).strip("'") if form == "url" else held


def mark_of(question: str) -> str:
    """Give what tells this question from others."""
    return picture_mark(question.picture) if isinstance(question, ImageQuestion) else question_mark(question)


def words_of(question: str) -> str:
    """Give a question's wording; that of a picture may be empty."""
    return question.words if isinstance(question, ImageQuestion) else question


def embed_pictures(embeddings: Any, pictures: Sequence[str], modality: Modality) -> Sequence[Any]:
    """Embed the pictures of questions.

    Args:
        embeddings: LangChain embeddings.
        pictures: paths, URLs or data URIs.
        modality: whose embeddings they are, for messages.

    Raises:
        InvalidInputError: if the embeddings read no pictures.
    """
    embed: Any = image_method(embeddings)
    if embed is None:
        raise InvalidInputError(_CANNOT.format(type(embeddings).__name__, modality))
    if isinstance(embeddings, CommonscaleEmbeddings):
        vectors: Sequence[Any] = embed(list(pictures))
        return vectors
    from commonscale.encoders.wrapped import picture_file

    return embed_files(embed, [picture_file(picture) for picture in pictures])


def embed_files(embed: Any, files: Sequence[str | bytes]) -> Sequence[Any]:
    """Call a method that takes paths; contents of files are written into temporary ones for the time of the call."""
    if not any(isinstance(file, bytes) for file in files):
        return list(embed(list(files)))
    # Windows removes no file that the embeddings still hold open; that must not cost the vectors.
    with TemporaryDirectory(prefix="commonscale-", ignore_cleanup_errors=True) as folder:
        paths = [_path_of(file, Path(folder) / str(place)) for place, file in enumerate(files)]
        return list(embed(paths))


def _path_of(file: str | bytes, path: Path) -> str:
    """Give a path as it is; write contents to one, named by their type, which some readers go by."""
    if isinstance(file, str):
        return file
    named = path.with_suffix(f".{(sniffed(file) or 'image/png').partition('/')[2]}")
    named.write_bytes(file)
    return str(named)
