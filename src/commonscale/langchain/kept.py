"""A LangChain retriever whose calibration stays up to date."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from pydantic import PrivateAttr

from commonscale.core.drift import DriftMonitor, Policy
from commonscale.core.kept import Kept, watched
from commonscale.core.keys import keyed, with_strata
from commonscale.core.living import LivingCalibration
from commonscale.core.methods import DEFAULT
from commonscale.core.threads import off_thread
from commonscale.encoders.images import ImageInput
from commonscale.langchain.calibrated import CalibratedRetriever


class KeptRetriever(CalibratedRetriever):
    """A retriever that can follow what comes into its stores and what goes."""

    _kept: Kept | None = PrivateAttr(default=None)

    def keep_calibrated(
        self,
        questions: Sequence[str] = (),
        show_progress: bool = False,
        *,
        images: Sequence[ImageInput] = (),
        method: str = DEFAULT,
        strata: Sequence[str | None] | None = None,
        **settings: Any,
    ) -> LivingCalibration:
        """Learn the common scale as ``calibrate`` does, and keep it what a fresh calibration would be.

        That is one with the same means: those that centring subtracts stay until ``refit`` (see docs/living.md).

        From then on every document that is added to the stores, or deleted from them, updates the scale: through
        ``LiveVectorStore``, which the retriever has in place of the store; through ``add_texts``, ``add_images`` and
        ``add_embedded``; and in a ``FaissIndex``. Assigning another calibration, or calling ``calibrate`` or
        ``calibrate_images``, ends it; the latter two say so.

        Args:
            questions: as for ``calibrate``.
            show_progress: as for ``calibrate``.
            images: as for ``calibrate``.
            method: as for ``calibrate``.
            strata: as for ``calibrate``.
            **settings: see ``LivingCalibration.fit``: ``capacity``, ``keep_vectors``, ``join_every``, ...

        Returns:
            The living calibration: it can take in questions (``join``), be saved, and be told of other changes.

        Raises:
            InvalidInputError: if there are no questions or no documents, or no store tells of its changes.
            SourceError: if a store fails.

        Warns:
            StaleCalibrationWarning: if only some stores tell of their changes; if the retriever has a scale of pictures
                and none are given, or the other way round: that scale stays, and is not kept up to date; or if the
                questions have none of the keys of strata that the retriever has scales of.
        """
        asked, search = self._asked(questions, images, show_progress)
        return self.follow(_living(with_strata(asked, strata), search, method, settings))

    async def akeep_calibrated(
        self,
        questions: Sequence[str] = (),
        show_progress: bool = False,
        *,
        images: Sequence[ImageInput] = (),
        method: str = DEFAULT,
        strata: Sequence[str | None] | None = None,
        **settings: Any,
    ) -> LivingCalibration:
        """As ``keep_calibrated``, off the event loop."""
        asked, search = await asyncio.to_thread(self._asked, questions, images, show_progress)
        living = await off_thread(_living, with_strata(asked, strata), search, method, settings)
        return await asyncio.to_thread(self.follow, living)

    def keep_loaded(self, path: str | os.PathLike[str]) -> LivingCalibration:
        """Go on with a living calibration that was saved, and keep it up to date as ``keep_calibrated`` does.

            retriever.keep_calibrated(questions).save("living.npz")
            retriever.keep_loaded("living.npz")  # after a restart: nothing is embedded, searched or read

        What has changed in the stores since it was saved is not known: call ``refit`` of what is returned if something
        has.

        Args:
            path: the file that ``LivingCalibration.save`` wrote.

        Returns:
            The living calibration, equal to the saved one.

        Raises:
            FileNotFoundError: if there is no such file.
            FileFormatError: if it is damaged, something else, or from another version.
            InvalidInputError: if it is of other modalities, or no store tells of its changes.
            CalibrationMismatchError: if it is for other models.

        Warns:
            StaleCalibrationWarning: as for ``keep_calibrated``.
        """
        _, search = self._joint()
        return self.follow(LivingCalibration.load(path, search.sources, failures=search.failures))

    def watch_drift(
        self,
        questions: Sequence[str] = (),
        show_progress: bool = False,
        *,
        policy: Policy = "warn",
        method: str = DEFAULT,
        **settings: Any,
    ) -> DriftMonitor:
        """Compare the questions that are asked with those that were calibrated with, and act when they differ.

        Every question in words that this retriever ranks on the common scale, without a ``filter`` of its own, is
        observed. It ends when another calibration is assigned.

        Args:
            questions: calibrate on these first, as ``calibrate`` does, over any stores; none if ``keep_calibrated`` has
                been called, whose calibration is then watched.
            show_progress: as for ``calibrate``.
            policy: ``"warn"``: a ``DriftWarning``; ``"recalibrate"``: the newest questions become the bank;
                ``"report"``: nothing; or a function, which is called with the report.
            method: as for ``calibrate``.
            **settings: see ``DriftMonitor``: ``windows``, ``false_alarms``, ``enough``, ``run``.

        Returns:
            The monitor.

        Raises:
            InvalidInputError: if there are no questions and no calibration is kept, or a setting cannot be used.
            SourceError: if a store fails.
        """
        if questions:
            asked, search = self._asked(questions, (), show_progress)
            living = _living(asked, search, method, {})
            if self._kept is not None:
                self._kept.end()
            self._kept = kept = Kept(living, self, stores=False)
        else:
            kept = watched(self._kept)
        monitor = DriftMonitor(kept.living, policy=policy, **settings)
        self._observer = observer = kept.watch(monitor)

        def end() -> None:
            if self._observer is observer:
                self._observer = None

        kept.also_end(end)
        return monitor

    def _calibrated(self) -> None:
        if self._kept is not None:
            self._kept.replaced()

    def follow(self, living: LivingCalibration) -> LivingCalibration:
        """Follow a living calibration of this retriever's sources; see ``keep_calibrated`` and ``keep_loaded``.

        Args:
            living: the calibration.

        Raises:
            InvalidInputError: if no store tells of its changes.
            CalibrationMismatchError: if it is for other models.
        """
        if self._kept is not None:
            self._kept.end()
        self._kept = Kept(living, self)
        return living


def _living(asked: Sequence[Any], search: Any, method: str, settings: dict[str, Any]) -> LivingCalibration:
    return LivingCalibration.fit(
        keyed(asked, search.stratum),
        search.sources,
        method=method,
        provenance=search.provenance,
        failures=search.failures,
        **settings,
    )
