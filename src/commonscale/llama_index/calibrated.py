"""The common scale of a retriever, and what it does about stores that fail."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llama_index.core.schema import QueryBundle, QueryType

from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.failures import FailurePolicy, check_policy
from commonscale.core.keys import Stratum, with_strata
from commonscale.core.methods import DEFAULT
from commonscale.core.own_documents import IDENTICAL
from commonscale.core.search import JointSearch
from commonscale.core.types import Prior, Question
from commonscale.core.unbounded import is_by_text
from commonscale.llama_index.arguments import check_calibration
from commonscale.llama_index.image_questions import image_bundle
from commonscale.llama_index.questions import as_bundles
from commonscale.llama_index.verified import VerifiedRetriever

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput


class CalibratedRetriever(VerifiedRetriever):
    """A retriever that learns the common scale from unlabeled questions."""

    @property
    def calibration(self) -> Calibration | None:
        """The common scale in use; assigning another takes effect with the next question."""
        return self._search.calibration

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        check_calibration(calibration)
        self._search.calibration = calibration

    @property
    def failures(self) -> FailurePolicy:
        """What is done about stores that fail; assigning another takes effect with the next question."""
        return self._search.failures

    @failures.setter
    def failures(self, failures: FailurePolicy) -> None:
        self._search.failures = check_policy(failures)

    @property
    def prior(self) -> Prior | None:
        """What is known of the modality a question wants; assigning another takes effect with the next question.

        One that does not fit the calibration, the modalities or the model is refused; see ``JointSearch.prior``.
        """
        return self._search.prior

    @prior.setter
    def prior(self, prior: Prior | None) -> None:
        self._search.prior = prior

    @property
    def stratum(self) -> Stratum:
        """Which stratum questions belong to; assigning another takes effect with the next question."""
        return self._search.stratum

    @stratum.setter
    def stratum(self, stratum: Stratum) -> None:
        self._search.stratum = stratum

    @property
    def joint_search(self) -> JointSearch:
        """The search of all stores on the calibration, prior and stratum in use now, for what takes one.

        ``commonscale.priors.best_scores`` takes it, and ``commonscale.diagnostics`` and ``DriftMonitor`` what is in it.
        It is a copy: what is assigned to it does not reach the retriever, nor what the retriever is assigned later
        the copy, and questions asked through it are not watched for drift.
        """
        return self._search.only(*self._search.sources)

    def embed_questions(self, questions: Sequence[QueryType], *, show_progress: bool = False) -> list[Question]:
        """Embed questions as they are searched with: once per model, for all modalities.

        ``commonscale.priors``, ``DriftMonitor``, ``commonscale.diagnostics`` and ``joint_search`` take such questions.

        Args:
            questions: the questions, or query bundles, in a list.
            show_progress: show a progress bar.

        Returns:
            One ``commonscale.Question`` each, with unit vectors.

        Raises:
            InvalidInputError: if it is no list, or one of them cannot be embedded.
        """
        return self._embedder.embed(as_bundles(questions), show_progress=show_progress)

    async def aembed_questions(self, questions: Sequence[QueryType], *, show_progress: bool = False) -> list[Question]:
        """As ``embed_questions``, in a thread: most models that run here block the loop."""
        return await asyncio.to_thread(self.embed_questions, questions, show_progress=show_progress)

    def calibrate(
        self,
        questions: Sequence[QueryType] = (),
        show_progress: bool = False,
        *,
        images: Sequence[QueryType | ImageInput] = (),
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
        strata: Sequence[str | None] | None = None,
        at_least: int | None = None,
    ) -> Calibration:
        """Learn the common scale from unlabeled questions and use it from now on.

        Args:
            questions: questions as users ask them; better 100 or more. Each is embedded once per model, and
                each store is searched in one batch.
            show_progress: show a progress bar while embedding.
            images: questions that are images, as users ask with them; they get a scale of their own. Without any, the
                one in use stays.
            method: see ``JointSearch.calibrate``.
            identical: a document of a higher cosine with an image is taken for that image itself, which is stored,
                and left out of what is learned; None for none.
            strata: a key for each question (a tenant, a language, a type of question), None for none: each gets a scale
                of its own, shrunken to that of all the more, the fewer its questions (see ``stratum``).
            at_least: see ``JointSearch.calibrate``: passages stand in for questions that are missing.

        Returns:
            The calibration; keep it with ``calibration.save(path)``.

        Raises:
            InvalidInputError: if there are no questions or no documents, or a model reads no images and there are some.
        """
        embedded = with_strata(self._asked(questions, images, show_progress), strata)
        calibration = self._search.calibrate(embedded, method=method, identical=identical, at_least=at_least)
        self._calibrated()
        return calibration

    async def acalibrate(
        self,
        questions: Sequence[QueryType] = (),
        show_progress: bool = False,
        *,
        images: Sequence[QueryType | ImageInput] = (),
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
        strata: Sequence[str | None] | None = None,
        at_least: int | None = None,
    ) -> Calibration:
        """As ``calibrate``, off the event loop: by the stores' asynchronous searches where they have them.

        Questions are embedded in a thread: most models that run here block the loop in their asynchronous methods.
        """
        embedded = with_strata(await asyncio.to_thread(self._asked, questions, images, show_progress), strata)
        calibration = await self._search.acalibrate(embedded, method=method, identical=identical, at_least=at_least)
        self._calibrated()
        return calibration

    def calibrate_images(
        self,
        images: Sequence[QueryType | ImageInput],
        show_progress: bool = False,
        *,
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
    ) -> Calibration:
        """Learn the scale of questions that are images; the scale of questions in words stays.

        The gap runs the other way for them: images are near and texts far.

        Args:
            images: pictures as users ask with them; better 100 or more. A sample of the store's own will do.
            show_progress: show a progress bar while embedding.
            method: see ``JointSearch.calibrate``.
            identical: a document of a higher cosine with an image is taken for that image itself, which is stored,
                and left out of what is learned; None for none.

        Returns:
            The calibration, of questions in words too if there was one.

        Raises:
            InvalidInputError: if there are no images or no documents, or a model reads no images.
        """
        return self.calibrate(show_progress=show_progress, images=_listed(images), method=method, identical=identical)

    async def acalibrate_images(
        self,
        images: Sequence[QueryType | ImageInput],
        show_progress: bool = False,
        *,
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
    ) -> Calibration:
        """As ``calibrate_images``, off the event loop."""
        return await self.acalibrate(
            show_progress=show_progress, images=_listed(images), method=method, identical=identical
        )

    def _calibrated(self) -> None:
        """Hear that ``calibrate`` has put a new scale to use, for those who follow another."""

    def _asked(
        self, questions: Sequence[QueryType], images: Sequence[QueryType | ImageInput], show_progress: bool
    ) -> list[Question]:
        """Embed questions to calibrate with; their dimension is recorded where the store did not know it."""
        bundles = as_bundles(questions) + [image_bundle(image) for image in _listed(images)]
        embedded = self._embedder.embed(bundles, show_progress=show_progress)
        for modality, known in self._search.provenance.items():
            if embedded and known.dimension is None and not is_by_text(self._sources[modality]):
                dimension = len(embedded[0].vector_for(modality))
                self._search.provenance[modality] = replace(known, dimension=dimension)
        return embedded


def _listed(images: Sequence[QueryType | ImageInput]) -> list[QueryType | ImageInput]:
    """Give the pictures of a list.

    Raises:
        InvalidInputError: if it is a single one.
    """
    if isinstance(images, (QueryBundle, os.PathLike)):
        raise InvalidInputError(f"a list of images is needed, got one: {images!r}; put it into a list")
    from commonscale.encoders.checks import listed_images

    return listed_images(images, "calibrate_images")
