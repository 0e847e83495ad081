"""How a retriever learns the common scale from unlabeled questions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from commonscale.core.calibration import Calibration
from commonscale.core.errors import CalibrationMismatchError
from commonscale.core.extras import require
from commonscale.core.keys import with_strata
from commonscale.core.methods import DEFAULT
from commonscale.core.own_documents import IDENTICAL
from commonscale.core.prior_checks import check_prior, warn_of_other_scale
from commonscale.core.search import JointSearch
from commonscale.core.types import Question
from commonscale.encoders.checks import listed_images
from commonscale.encoders.images import ImageInput
from commonscale.langchain.connected import ConnectedRetriever
from commonscale.langchain.image_questions import ImageQuestion
from commonscale.langchain.questions import check_list


class CalibratedRetriever(ConnectedRetriever):
    """A retriever that learns the common scale; see ``StandardizedMultiModalRetriever``."""

    def __init__(self, **fields: Any) -> None:
        """As the class it comes from; a prior must fit, too.

        Args:
            **fields: the fields above.

        Raises:
            InvalidInputError: if the prior is one of other modalities.
            NotCalibratedError: if the prior was not fitted to a scale.
            EncoderMismatchError: if the prior takes the embeddings of another encoder.
        """
        super().__init__(**fields)
        warn_of_other_scale(self.prior, self.calibration)

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign a field; a prior and a calibration are checked at once."""
        if name == "prior":
            wiring = self._wired()
            calibrated = () if self.calibration is None else self.calibration.modalities
            check_prior(value, {*wiring.sources, *calibrated}, wiring.provenance())
        super().__setattr__(name, value)
        if name in ("prior", "calibration"):
            warn_of_other_scale(self.prior, self.calibration)

    @property
    def joint_search(self) -> JointSearch:
        """The search of all stores on the calibration, prior and stratum in use now, without a filter of a call.

        ``commonscale.priors.best_scores`` takes it, and ``commonscale.diagnostics`` and ``DriftMonitor`` what is in it.
        It is a copy: what is assigned to it does not reach the retriever, nor what the retriever is assigned later
        the copy, and questions asked through it are not watched for drift.
        """
        return self._wired().new_search(self.calibration, self.failures, self.prior, self.stratum)

    def embed_questions(self, questions: Sequence[str], *, show_progress: bool = False) -> list[Question]:
        """Embed questions as they are searched with: once per embedding object, for all modalities.

        ``commonscale.priors``, ``DriftMonitor``, ``commonscale.diagnostics`` and ``joint_search`` take such questions.

        Args:
            questions: the questions, in a list.
            show_progress: show a bar on stderr while they are embedded one by one.

        Returns:
            One ``commonscale.Question`` each, with unit vectors.

        Raises:
            InvalidInputError: if it is no list, or one of them cannot be embedded.
            MissingExtraError: if a progress bar is wanted and tqdm is missing.
        """
        check_list(questions)
        return self._wired().embedder.embed(questions, partial(_bar, "embedding") if show_progress else _plain)

    async def aembed_questions(self, questions: Sequence[str], *, show_progress: bool = False) -> list[Question]:
        """As ``embed_questions``, in a thread: most models that run here block the loop."""
        return await asyncio.to_thread(self.embed_questions, questions, show_progress=show_progress)

    def calibrate(
        self,
        questions: Sequence[str] = (),
        show_progress: bool = False,
        *,
        images: Sequence[ImageInput] = (),
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
        strata: Sequence[str | None] | None = None,
        at_least: int | None = None,
    ) -> Calibration:
        """Fit the common scale on unlabeled questions and use it from now on.

        Questions are embedded once and searched in one batch per modality.

        Args:
            questions: questions as users ask them; no labels. At least one, better 100 or more.
            show_progress: show a bar on stderr while they are embedded one by one.
            images: questions that are images, as users ask with them; they get a scale of their own. Without any, the
                one in use stays.
            method: see ``JointSearch.calibrate``.
            identical: a document of a higher cosine with an image is taken for that image itself, which is stored,
                and left out of what is learned; None for none.
            strata: a key for each question (a tenant, a language, a type of question), None for none: each gets a scale
                of its own, shrunken to that of all the more, the fewer its questions (see ``stratum``).
            at_least: see ``JointSearch.calibrate``: passages stand in for questions that are missing.

        Returns:
            The calibration; ``save`` it to use it again.

        Raises:
            InvalidInputError: if there are no questions or no documents, or embeddings read no images and there are
                some.
            MissingExtraError: if a progress bar is wanted and tqdm is missing.
        """
        embedded, search = self._asked(questions, images, show_progress)
        calibration = search.calibrate(
            with_strata(embedded, strata), method=method, identical=identical, at_least=at_least
        )
        self.calibration = calibration
        self._calibrated()
        return calibration

    async def acalibrate(
        self,
        questions: Sequence[str] = (),
        show_progress: bool = False,
        *,
        images: Sequence[ImageInput] = (),
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
        strata: Sequence[str | None] | None = None,
        at_least: int | None = None,
    ) -> Calibration:
        """As ``calibrate``, off the event loop: by the stores' asynchronous searches where they have them.

        Questions are embedded in a thread: most models that run here block the loop in their asynchronous methods too.
        """
        embedded, search = await asyncio.to_thread(self._asked, questions, images, show_progress)
        calibration = await search.acalibrate(
            with_strata(embedded, strata), method=method, identical=identical, at_least=at_least
        )
        await asyncio.to_thread(setattr, self, "calibration", calibration)
        self._calibrated()
        return calibration

    def calibrate_images(
        self,
        images: Sequence[ImageInput],
        show_progress: bool = False,
        *,
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
    ) -> Calibration:
        """Fit the scale of questions that are images; the scale of questions in words stays.

        The gap runs the other way for them: images are near and texts far.

        Args:
            images: pictures as users ask with them; better 100 or more. A sample of the store's own will do.
            show_progress: as for ``calibrate``.
            method: see ``JointSearch.calibrate``.
            identical: a document of a higher cosine with an image is taken for that image itself, which is stored,
                and left out of what is learned; None for none.

        Returns:
            The calibration, of questions in words too if there was one.

        Raises:
            InvalidInputError: if there are no images or no documents, or embeddings read no images.
        """
        return self.calibrate(show_progress=show_progress, images=images, method=method, identical=identical)

    async def acalibrate_images(
        self,
        images: Sequence[ImageInput],
        show_progress: bool = False,
        *,
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
    ) -> Calibration:
        """As ``calibrate_images``, off the event loop."""
        return await self.acalibrate(show_progress=show_progress, images=images, method=method, identical=identical)

    def _calibrated(self) -> None:
        """Hear that ``calibrate`` has put a new scale to use, for those who follow another."""

    def _asked(
        self, questions: Sequence[str], images: Sequence[ImageInput], show_progress: bool
    ) -> tuple[list[Question], JointSearch]:
        """Embed questions to calibrate with, and make the search for it."""
        wiring = self._wired()
        check_list(questions)
        asked = [*questions, *(ImageQuestion(image) for image in listed_images(images, "calibrate_images"))]
        embedded = wiring.embedder.embed(asked, partial(_bar, "calibrating") if show_progress else _plain)
        search = wiring.new_search(failures=self.failures, stratum=self.stratum)
        # The scale of the other kind of questions stays, if it fits what is searched now.
        with suppress(CalibrationMismatchError):
            search.calibration = self.calibration
        return embedded, search


def _bar(doing: str, questions: Sequence[str]) -> Any:
    return require("tqdm", "encoders").tqdm(questions, unit="question", desc=doing)


def _plain(questions: Sequence[str]) -> Sequence[str]:
    return questions
