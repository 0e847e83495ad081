"""Any LangChain embeddings as an encoder of Commonscale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.model_identity import model_identity
from commonscale.encoders.wrapped import WrappedEncoder
from commonscale.langchain.embeddings import NO_IMAGES, CommonscaleEmbeddings, image_method
from commonscale.langchain.image_questions import embed_files
from commonscale.langchain.questions import embed_questions


class LangChainEncoder(WrappedEncoder):
    """Embeds with LangChain embeddings wherever an encoder is taken: indexes, caches, either framework's retriever.

    Questions go through ``embed_query`` (or ``embed_queries``), passages through ``embed_documents``, pictures through
    ``embed_images`` or ``embed_image``, which take paths: what is no file yet is written into a temporary one for the
    time of the call. All vectors are normalized. ``CommonscaleEmbeddings`` are not wrapped again: their own encoder is
    returned.

    The fingerprint is made of class, model name and the settings that are not at their default (speed, place and
    access left out). Give your own where that is not enough, for example for embeddings of your own class.

        encoder = LangChainEncoder(OpenCLIPEmbeddings(model_name="ViT-B-32", checkpoint="laion2b_s34b_b79k"))

    Attributes:
        embeddings: the embeddings.
    """

    def __new__(cls, embeddings: Any, fingerprint: str | None = None) -> Any:
        """Make an encoder, or give back the one that is inside already."""
        if not isinstance(embeddings, CommonscaleEmbeddings):
            return super().__new__(cls)
        if fingerprint is not None:
            raise InvalidInputError(
                "CommonscaleEmbeddings hold an encoder that has a fingerprint of its own; leave fingerprint= out"
            )
        return embeddings.encoder

    def __init__(self, embeddings: Any, fingerprint: str | None = None) -> None:
        """Set up the encoder.

        Args:
            embeddings: LangChain ``Embeddings``, or anything with their two methods.
            fingerprint: any text that changes whenever the vectors do; by default what the embeddings say of
                themselves.

        Raises:
            InvalidInputError: if it is nothing of the kind, or does not name its model and no fingerprint is given.
        """
        if isinstance(embeddings, CommonscaleEmbeddings):
            return  # __new__ gave back the encoder inside, which is set up already
        needed = ("embed_query", "embed_documents")
        if isinstance(embeddings, type) or not all(callable(getattr(embeddings, name, None)) for name in needed):
            shown = embeddings.__name__ if isinstance(embeddings, type) else type(embeddings).__name__
            raise InvalidInputError(
                f"LangChain embeddings are needed, with embed_query and embed_documents; got {shown}"
            )
        self.embeddings = embeddings
        own = getattr(embeddings, "fingerprint", None)
        kind = type(embeddings).__name__
        super().__init__(fingerprint, own if isinstance(own, str) else model_identity(embeddings, kind), kind)

    def __getnewargs__(self) -> tuple[Any, str]:
        return self.embeddings, self.fingerprint

    def __repr__(self) -> str:
        return f"LangChainEncoder({type(self.embeddings).__name__}, fingerprint={self.fingerprint!r})"

    def _embed_questions(self, questions: list[str]) -> Any:
        return embed_questions(self.embeddings, questions)

    def _embed_texts(self, texts: list[str]) -> Any:
        return self.embeddings.embed_documents(texts)

    def _check_images(self) -> None:
        if image_method(self.embeddings) is None:
            raise InvalidInputError(NO_IMAGES.format(type(self.embeddings).__name__))

    def _embed_images(self, files: Sequence[str | bytes]) -> Any:
        return embed_files(image_method(self.embeddings), files)
