"""A calibration that stays what a fresh one would be while documents and questions come and go."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy.typing as npt

from commonscale.core.background import unsuited
from commonscale.core.calibration import Calibration, Provenance
from commonscale.core.dense import unit_rows
from commonscale.core.errors import (
    FileFormatError,
    InvalidInputError,
    MethodFallbackWarning,
    SourceError,
    UnreadableVectorsError,
)
from commonscale.core.failures import FailurePolicy, check_policy
from commonscale.core.living_bank import LivingBank, Settings
from commonscale.core.living_documents import Vectors
from commonscale.core.living_file import read, write
from commonscale.core.living_state import KINDS, LivingState, fitted_banks
from commonscale.core.methods import AUTO, CHANCE, DEFAULT, STANDARDIZED, check_choice
from commonscale.core.own_documents import IDENTICAL, check_identical
from commonscale.core.scanning import vectors_of
from commonscale.core.threads import off_thread
from commonscale.core.types import Modality, Question, Source, Vector
from commonscale.core.unbounded import is_by_text
from commonscale.core.warn import warn


class LivingCalibration(LivingState):
    """Keeps a calibration equal to a fresh one, at a cost that does not grow with the number of documents.

        living = LivingCalibration.fit(questions, search.sources, provenance=search.provenance)
        living.attach(search)
        store.add(...);  living.added("text", ids, vectors)
        before = living.remember("text", ids);  store.delete(ids);  living.removed("text", ids, before)
        living.join(new_questions)

    - Documents added or replaced: one matrix product with the bank. Documents removed: only the questions whose best
      hit is gone are searched again.
    - The means that centring subtracts are those of the last ``fit`` or ``refit``; everything else is exact. ``shift``
      tells how far they have moved since.
    - Safe to use from several threads. Updates wait for each other; searches wait for none: ``calibration`` is
      immutable and swapped at once.
    - If a source fails during an update, its error is raised and the calibration stays; the next update of that
      modality makes up for it.

    Attributes:
        sources: one source per modality.
        provenance: where each modality's cosines come from.
        settings: what ``fit`` was told.
    """

    @classmethod
    def fit(
        cls,
        questions: Sequence[Question],
        sources: Mapping[Modality, Source],
        *,
        method: str = DEFAULT,
        provenance: Mapping[Modality, Provenance] | None = None,
        failures: FailurePolicy | None = None,
        capacity: int | None = None,
        keep_text: bool = False,
        forgetting: float | None = None,
        keep_vectors: bool = False,
        join_every: int | None = None,
        recenter_beyond: float | None = None,
        identical: float | None = IDENTICAL,
        seed: int = 0,
    ) -> LivingCalibration:
        """Fit on unlabeled questions, and be ready for changes.

        Args:
            questions: the first questions of the bank, embedded; those that are pictures get a bank of their own. At
                least one, better 100 or more.
            sources: one source per modality, such as ``search.sources``.
            method: as for ``JointSearch.calibrate``; falls back to ``"standardized"`` as it does, now or never: later
                changes keep the method.
            provenance: where each modality's cosines come from.
            failures: how long to wait for sources and how often to ask them; none is ever skipped.
            capacity: most questions in a bank, of which the sample is drawn if there are more; None for as many as
                given.
            keep_text: whether to keep the questions' wording, in memory and in files, and not their embeddings only.
                Sources that search by words need it.
            forgetting: None keeps a sample of all questions that ever joined; a number lets older ones go, so that
                half are gone after so many newcomers (see ``Reservoir``).
            keep_vectors: whether to keep the documents' vectors, for chance-level calibration over stores that cannot
                tell those of documents that are about to be replaced or removed.
            join_every: how many questions that enter the bank wait for each other. None is 1, and for the chance level
                a twentieth of the bank: there all documents are read when the bank changes.
            recenter_beyond: fit everything anew when ``shift`` of a modality goes beyond this; None for never.
            identical: as for ``JointSearch.calibrate``.
            seed: of the sample.

        Returns:
            The living calibration.

        Raises:
            InvalidInputError: if there are no questions, sources or documents, or a setting cannot be used.
            SourceError: if a source fails or breaks its contract.
        """
        if not questions or not sources:
            raise InvalidInputError(f"calibration needs questions and sources, got {len(questions)} and {len(sources)}")
        if join_every is not None and (not isinstance(join_every, int) or join_every < 1):
            raise InvalidInputError(f"join_every must be an integer of at least 1, got {join_every!r}")
        if recenter_beyond is not None and (not isinstance(recenter_beyond, (int, float)) or not recenter_beyond > 0):
            raise InvalidInputError(
                f"recenter_beyond is a distance above 0, or None for never, got {recenter_beyond!r}"
            )
        worded = [modality for modality, source in sources.items() if is_by_text(source)]
        if worded and not keep_text:
            raise InvalidInputError(
                f"the source of modality {worded[0]!r} searches by words, which are not kept: say keep_text=True if "
                f"the wording of users' questions may be stored"
            )
        settings = Settings(
            CHANCE if check_choice(method) == AUTO else method,
            capacity,
            forgetting,
            keep_text,
            keep_vectors,
            join_every,
            recenter_beyond,
            check_identical(identical),
            seed,
        )
        policy = replace(check_policy(failures), on_failure="raise")
        try:
            banks = fitted_banks(questions, sources, settings, policy)
        except UnreadableVectorsError as error:
            warn(f"calibrated with method {STANDARDIZED!r}, not {settings.method!r}: {error}", MethodFallbackWarning)
            settings = replace(settings, method=STANDARDIZED)
            banks = fitted_banks(questions, sources, settings, policy)
        # All banks have one method; that of words decides, where there are any.
        deciding = next(banks[kind] for kind in KINDS if kind in banks)
        if method == AUTO and unsuited(deciding.backgrounds):
            settings = replace(settings, method=STANDARDIZED)
            banks = fitted_banks(questions, sources, settings, policy)
        for bank in banks.values():
            bank.check()
        return cls(banks, sources, settings, provenance or {}, policy)

    @classmethod
    async def afit(
        cls, questions: Sequence[Question], sources: Mapping[Modality, Source], **settings: object
    ) -> LivingCalibration:
        """As ``fit``, off the event loop."""
        return await off_thread(cls.fit, questions, sources, **settings)  # type: ignore[arg-type]

    def remember(self, modality: Modality, ids: Sequence[str]) -> dict[str, Vector]:
        """Read what ``added`` or ``removed`` must know of documents that are about to be replaced or removed.

        Call it before the store changes. It reads nothing where nothing is needed: for methods other than the chance
        level, for documents that are not known, and with ``keep_vectors``.

        Args:
            modality: the modality.
            ids: the documents.

        Returns:
            Unit vectors by id, for ``before``; empty if the store cannot give them: then all documents will be read.

        Raises:
            InvalidInputError: if the modality is unknown, or ids are a text.
        """
        _check_ids("remember", ids)
        with self._lock:
            living = [bank.modalities[self._known(modality)] for bank in self._banks.values()]
            needed = list(dict.fromkeys(key for one in living for key in one.needs(ids)))
        if not needed:
            return {}
        try:
            return dict(zip(needed, vectors_of(self.sources[modality], needed, modality), strict=True))
        except (SourceError, InvalidInputError):
            return {}  # Sources name ids that are gone with either.

    def added(
        self,
        modality: Modality,
        ids: Sequence[str],
        vectors: npt.ArrayLike | None,
        before: Vectors | None = None,
    ) -> None:
        """Take in documents that were added to the store, or replaced in it.

        Args:
            modality: their modality.
            ids: their ids, as the source gives them; of an id that comes twice the last vector counts.
            vectors: theirs (n, d), any norm. None if they are not known: then everything about the modality is learned
                anew, as it is for sources that do not search by vectors.
            before: what ``remember`` gave. The chance level needs it for documents that were replaced by others;
                without it all documents are read.

        Raises:
            InvalidInputError: if the modality is unknown, ids are a text, or ids and vectors do not fit.
            SourceError: if a source fails.
        """
        _check_ids("added", ids)
        rows = None if vectors is None else _by_id(ids, vectors)
        if not len(ids):
            return
        self._known(modality)
        self._update(lambda bank: bank.update(modality, lambda one: one.add(rows, before or {})))

    def removed(
        self,
        modality: Modality,
        ids: Sequence[str],
        vectors: Vectors | npt.ArrayLike | None = None,
    ) -> None:
        """Let go of documents that were removed from the store, or are about to be.

        Args:
            modality: their modality.
            ids: their ids; unknown ones are passed over.
            vectors: their vectors (n, d), or what ``remember`` gave. The chance level needs them; None asks the source,
                which knows them only as long as it holds the documents. Without them all documents are read.

        Raises:
            InvalidInputError: if the modality is unknown, ids are a text, or ids and vectors do not fit.
            SourceError: if a source fails.
        """
        _check_ids("removed", ids)
        self._known(modality)
        if vectors is None:
            vectors = self.remember(modality, ids)
        rows = vectors if isinstance(vectors, Mapping) else _by_id(ids, vectors)
        self._update(lambda bank: bank.update(modality, lambda one: one.remove(ids, rows)))

    def join(self, questions: Sequence[Question]) -> None:
        """Let new questions of users take part in the sample that is the bank.

        Only those that are drawn enter; they are used at once, or when ``join_every`` wait. Of the others nothing is
        kept, and of those their wording only with ``keep_text``.

        Args:
            questions: the newest questions, embedded, in their order.

        Raises:
            SourceError: if a source fails.
        """
        with self._lock:
            for kind in KINDS:
                asked = [question for question in questions if question.kind == kind]
                if asked and kind in self._banks:
                    self._banks[kind].offer(asked)
                elif asked:
                    bank = LivingBank(asked, self.sources, self.settings, self._failures)
                    bank.fit()
                    bank.check()
                    self._banks[kind] = bank
            self._publish()

    def flush(self) -> None:
        """Use the questions that entered the bank and wait for others."""
        self._update(LivingBank.flush)

    def refit(self, questions: Sequence[Question] | None = None) -> Calibration:
        """Fit everything anew from the sources, with the means as well.

        Args:
            questions: the new bank; None for the questions that are banked. A kind of which none is given keeps its
                own.

        Returns:
            The new calibration. If a source fails the old one stays.

        Raises:
            SourceError: if a source fails.
        """
        with self._lock:
            self._banks = self._refitted(questions or ())
            self._publish()
            return self._calibration

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that is needed to go on to one file, whole or not at all.

        It holds the embeddings of the banked questions, their wording only with ``keep_text``, and the vectors of
        documents only with ``keep_vectors``.

        Args:
            path: the file, an ``.npz`` without pickle.
        """
        with self._lock:
            write(path, self._banks, self.settings, self.provenance)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        sources: Mapping[Modality, Source],
        *,
        failures: FailurePolicy | None = None,
    ) -> LivingCalibration:
        """Go on from a file that ``save`` wrote, without asking the sources.

        What changed in the stores since then is not known: call ``added`` and ``removed`` for it, or ``refit``.

        Args:
            path: the file.
            sources: one source for each modality of the file.
            failures: how long to wait for sources and how often to ask them.

        Returns:
            The living calibration, equal to the saved one.

        Raises:
            FileNotFoundError: if there is no such file.
            FileFormatError: if it is damaged, something else, or from another version.
            InvalidInputError: if the sources are of other modalities.
        """
        settings, provenance, states = read(path)
        policy = replace(check_policy(failures), on_failure="raise")
        for state in states.values():
            if set(state["modalities"]) != set(sources):
                raise InvalidInputError(
                    f"{os.fspath(path)} is of the modalities {sorted(state['modalities'])}, the sources of "
                    f"{sorted(sources)}; give one source for each"
                )
        try:
            banks = {
                kind: LivingBank.restored(state, state["questions"], sources, settings, policy)
                for kind, state in states.items()
            }
        except InvalidInputError as error:
            raise FileFormatError(f"{os.fspath(path)}: is damaged: {error}; fit again") from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise FileFormatError(
                f"{os.fspath(path)}: is damaged: what it says of questions and documents does not fit together; "
                f"fit again"
            ) from error
        return cls(banks, sources, settings, provenance, policy)


def _check_ids(name: str, ids: Sequence[str]) -> None:
    if isinstance(ids, str):
        raise InvalidInputError(f"{name}() takes a list of ids, got the text {ids!r}; give [{ids!r}]")


def _by_id(ids: Sequence[str], vectors: npt.ArrayLike) -> dict[str, Vector]:
    rows = unit_rows(vectors, "document vector") if len(ids) else ()
    if len(rows) != len(ids):
        raise InvalidInputError(f"{len(ids)} ids come with {len(rows)} vectors; give one for each")
    return dict(zip(ids, rows, strict=True))
