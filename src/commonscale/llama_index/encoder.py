"""Any LlamaIndex embedding model as an encoder of Commonscale."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.model_identity import model_identity
from commonscale.encoders.wrapped import WrappedEncoder
from commonscale.llama_index.embedding import NO_IMAGES, CommonscaleEmbedding
from commonscale.llama_index.question_embedder import embed_questions


class LlamaIndexEncoder(WrappedEncoder):
    """Embeds with a LlamaIndex model wherever an encoder is taken: indexes, caches, either framework's retriever.

    Questions go through the model's methods for queries, passages through those for texts, in its own batches;
    pictures through those of a ``MultiModalEmbedding``, as paths where they are given as such, else as ``BytesIO``.
    All vectors are normalized. A ``CommonscaleEmbedding`` is not wrapped again: its own encoder is returned.

    The fingerprint is made of class, model name and the settings that are not at their default (speed, place and
    access left out). Give your own where that is not enough, for example for a model that was trained further under
    the same name.

        encoder = LlamaIndexEncoder(ClipEmbedding(model_name="ViT-B/32"))

    Attributes:
        embed_model: the model.
    """

    def __new__(cls, embed_model: Any, fingerprint: str | None = None) -> Any:
        """Make an encoder, or give back the one that is inside already."""
        if not isinstance(embed_model, CommonscaleEmbedding):
            return super().__new__(cls)
        if fingerprint is not None:
            raise InvalidInputError(
                "a CommonscaleEmbedding holds an encoder that has a fingerprint of its own; leave fingerprint= out"
            )
        return embed_model.encoder

    def __init__(self, embed_model: BaseEmbedding, fingerprint: str | None = None) -> None:
        """Set up the encoder.

        Args:
            embed_model: a ``MultiModalEmbedding``, or any ``BaseEmbedding`` for texts alone.
            fingerprint: any text that changes whenever the vectors do; by default what the model says of itself.

        Raises:
            InvalidInputError: if it is no embedding model, or does not name itself and no fingerprint is given.
        """
        if isinstance(embed_model, CommonscaleEmbedding):
            return  # __new__ gave back the encoder inside, which is set up already
        if not isinstance(embed_model, BaseEmbedding):
            raise InvalidInputError(f"a LlamaIndex embedding model is needed, got {type(embed_model).__name__}")
        self.embed_model = embed_model
        # Not class_name(), which a subclass has from its base unless it says otherwise.
        kind = type(embed_model).__name__
        own = getattr(embed_model, "fingerprint", None)
        super().__init__(fingerprint, own if isinstance(own, str) else model_identity(embed_model, kind), kind)
        self.picture_batch = embed_model.embed_batch_size

    def __getnewargs__(self) -> tuple[BaseEmbedding, str]:
        return self.embed_model, self.fingerprint

    def __repr__(self) -> str:
        return f"LlamaIndexEncoder({type(self.embed_model).__name__}, fingerprint={self.fingerprint!r})"

    def _embed_questions(self, questions: list[str]) -> Any:
        return embed_questions(self.embed_model, questions)

    def _embed_texts(self, texts: list[str]) -> Any:
        return self.embed_model.get_text_embedding_batch(texts)

    def _check_images(self) -> None:
        if not callable(getattr(self.embed_model, "get_image_embedding_batch", None)):
            raise InvalidInputError(NO_IMAGES.format(type(self.embed_model).__name__))

    def _embed_images(self, files: list[str | bytes]) -> Any:
        model: Any = self.embed_model
        return model.get_image_embedding_batch([BytesIO(file) if isinstance(file, bytes) else file for file in files])
