"""What Cohere's Embed models have in common wherever they run: what a request holds, and what comes back."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import (
    EncoderError,
    EncoderUnavailableError,
    ImageError,
    InputRefusedError,
    InvalidInputError,
)
from commonscale.core.extras import require
from commonscale.core.unreadable import is_of_a_picture
from commonscale.encoders.base import Role
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.image_sources import open_source
from commonscale.encoders.images import ImageInput, read_image
from commonscale.encoders.one_call import Cuts
from commonscale.encoders.request import LoadRequest
from commonscale.encoders.services.calls import Calls
from commonscale.encoders.services.cohere_models import LIMITS, EmbedModel, dimension_of
from commonscale.encoders.services.cohere_settings import EmbedSettings, Inputs
from commonscale.encoders.services.pictures import ENCODING, ImageRules, data_uri

# "1 token is about 4 characters": Amazon Bedrock's guide, of Embed 3.
_CHARACTERS_PER_TOKEN = 4


class CohereEmbed(BatchedEncoder):
    """An Embed model behind a service; a service adds how one request is sent.

    A pickled encoder holds no key: the copy takes it from the environment where it is loaded.

    Attributes:
        model: which model it is.
        settings: how it is asked.
        calls: makes the calls, with retries.
    """

    service: ClassVar[str]
    secret_settings: ClassVar[tuple[str, ...]] = ()
    unit = "characters"

    def __init__(self, model: EmbedModel, settings: EmbedSettings, request: LoadRequest, calls: Calls) -> None:
        if request.max_tokens is not None and not model.mixed:
            raise InvalidInputError(f"max_tokens cannot be set for {model.name}: it has no such setting")
        super().__init__(request.options)
        self._request = request
        self.model = model
        self.settings = settings
        self.calls = calls
        self.limits = LIMITS[self.service, model.mixed]
        self.concurrency = settings.concurrency
        self.most_texts, self.most_images = self.limits.texts, self.limits.images
        self._dimension = dimension_of(model, settings.output_dimension)
        self._most_tokens = request.max_tokens
        self._usage: Counter[str] = Counter()
        self._usage_lock = Lock()
        self._serves = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._request.name!r}, dimension={self._dimension})"

    def __reduce__(self) -> tuple[Callable[[LoadRequest], CohereEmbed], tuple[LoadRequest]]:
        """Pickle what the encoder was asked for; the copy finds its key as any other process does.

        Raises:
            InvalidInputError: if the caller made its client.
        """
        settings = self._request.settings
        if settings.get("client") is not None:
            raise InvalidInputError(
                f"{self!r} cannot be pickled or copied: it was given client=, an object of this process. Load it "
                "without client=, with key and address from the environment or from keywords"
            )
        kept = {name: value for name, value in settings.items() if name not in self.secret_settings}
        return self._reload, (replace(self._request, settings=kept),)

    @staticmethod
    @abstractmethod
    def _reload(request: LoadRequest) -> CohereEmbed:
        """Load the encoder again."""

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors: model, length, and all that is done to texts and pictures.

        The service is part of it. Neither Cohere nor Amazon promises that their vectors of one model are equal, they
        cut long texts at other places, and they take pictures of other sizes as they are.
        """
        parts = {
            "service": self.service,
            "model": self.model.name,
            "dimension": self._dimension,
            "truncate": self.settings.truncate,
            "max_tokens": self._most_tokens,
            "characters": self.limits.characters,
            "pictures": [ENCODING, self.limits.image_bytes, self.limits.formats],
        }
        digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16)
        return f"{self.service}-{self.model.name}-{digest.hexdigest()}"

    @property
    def max_tokens(self) -> int | None:
        """Longest text that is read whole, in characters, as ``count_tokens`` counts.

        The models count tokens (Embed 3 reads 512, later ones 128,000), which only the service can do; so this is an
        estimate, four characters to a token as in English, but where the service has a limit of its own.
        """
        return self.limits.characters or _CHARACTERS_PER_TOKEN * (self._most_tokens or self.model.tokens)

    @property
    def usage(self) -> dict[str, float]:
        """What the service has counted since the encoder was loaded, all threads together.

        ``requests`` are those answered; the others are named as the service names them, such as ``input_tokens`` and
        ``images``, and are what it bills.
        """
        with self._usage_lock:
            return dict(self._usage)

    @abstractmethod
    def _send(self, inputs: Inputs) -> tuple[Any, Mapping[str, float]]:
        """Send one request; return the rows of its answer, unchecked, and what was billed."""

    def _warn_of_truncation(self, lengths: NDArray[np.int64]) -> None:
        if self.settings.truncate != "none":
            super()._warn_of_truncation(lengths)

    def _words_of_cuts(self, cuts: Cuts) -> str:
        """Say that texts were cut, or may be where the limit is in tokens, which only the service can count."""
        lost = "beginning" if self.settings.truncate == "start" else "end"
        if self.limits.characters is not None:
            return (
                f"{cuts.cut} of {cuts.given} texts are longer than the {self.max_tokens} characters that "
                f"{self.calls.service} takes (the longest has {cuts.longest}): their {lost} was cut off. Split long "
                "texts into smaller passages."
            )
        return (
            f"{cuts.cut} of {cuts.given} texts may be too long for {self.model.name}, which reads "
            f"{self._most_tokens or self.model.tokens} tokens: about {self.max_tokens} characters of English, and "
            f"fewer of many other languages (the longest has {cuts.longest}). The {lost} of a text that is too long is "
            "cut off. Split long texts into smaller passages."
        )

    def _prepare_texts(self, texts: list[str], role: Role) -> list[str]:
        most, side = self.limits.characters, self.settings.truncate
        if most is None or side == "none":
            return texts
        return [text[-most:] if side == "start" else text[:most] for text in texts]

    def _embed_texts(self, prepared: list[str], role: Role) -> NDArray[np.float32]:
        most, longest = self.limits.characters, max(map(len, prepared))
        if most is not None and longest > most:  # The service would refuse it, in less clear words.
            raise InputRefusedError(
                f"{self.calls.service} takes texts of at most {most} characters, got one of {longest}; split it, or "
                "set truncate='end' or 'start'"
            )
        return self._ask(Inputs(role, texts=prepared))

    def _read_whole(self, image: ImageInput) -> str:
        """Read one picture and write it as the service takes it; a file that it can take is sent as it is."""
        rules = ImageRules(self.limits.formats, self.limits.image_bytes)
        options = self.options.images
        if isinstance(image, require("PIL.Image", "encoders").Image):
            return data_uri(read_image(image, options), None, rules)
        with open_source(image, options) as stream:
            try:
                content = stream.read()
            except OSError as error:
                if not is_of_a_picture(error):
                    raise
                raise ImageError(f"cannot be read: {error.strerror or error}") from error
        return data_uri(read_image(content, options), content, rules)

    def _embed_images(self, prepared: list[str]) -> NDArray[np.float32]:
        parts = _within(prepared, self.limits.request_bytes)
        return np.concatenate([self._ask(Inputs("text", images=part)) for part in parts])

    def _ask(self, inputs: Inputs) -> NDArray[np.float32]:
        try:
            rows = self.calls(lambda: self._answer(inputs), len(inputs))
        except InputRefusedError as refusal:
            self._tell_apart(refusal)
            raise
        self._serves = True
        return rows

    def _answer(self, inputs: Inputs) -> NDArray[np.float32]:
        embeddings, billed = self._send(inputs)
        try:
            rows = np.asarray([] if embeddings is None else embeddings, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise EncoderError(f"{self.calls.service} gave vectors that cannot be read: {error}") from error
        wanted = (len(inputs), self._dimension)
        if rows.shape != wanted:
            raise EncoderError(
                f"{self.calls.service} gave an answer that cannot be used: vectors of shape {rows.shape} where "
                f"{wanted} was needed, one for each text or picture, from {self.model.name}"
            )
        with self._usage_lock:
            self._usage.update({"requests": 1, **billed})
        return rows

    def _tell_apart(self, refusal: InputRefusedError) -> None:
        """Find out whether the first refusal is of the item or of everything: a wrong id, say, or a wrong setting.

        Otherwise a run that leaves out what is refused would ask for each of a million items, and leave out all.
        """
        if self._serves:
            return
        try:
            self.calls(lambda: self._answer(Inputs("text", texts=["a"])), 1)
        except InputRefusedError as error:
            raise EncoderUnavailableError(
                f"{self.calls.service} refuses whatever is sent, so the model or a setting is wrong. {error}"
            ) from refusal
        self._serves = True


def _within(uris: list[str], most: int) -> Iterator[list[str]]:
    """Split pictures so that those of one request are not longer together than it may be."""
    part: list[str] = []
    length = 0
    for uri in uris:
        if part and length + len(uri) > most:
            yield part
            part, length = [], 0
        part.append(uri)
        length += len(uri)
    if part:
        yield part
