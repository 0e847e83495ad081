"""What happens on the page when something is asked, moved or pressed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from commonscale.answering import Found
from commonscale.app import render
from commonscale.app.asking import ask
from commonscale.app.calibration_panel import panel, progress
from commonscale.app.cards import PICTURES, key_of
from commonscale.app.choice import Choice, choice_of
from commonscale.app.opening import Library
from commonscale.app.patience import Patience, patiently
from commonscale.app.recalibrating import Progress, recalibrate
from commonscale.app.scores import BestScores, best_scores
from commonscale.app.session import Exchange, Ranked, Session
from commonscale.core.calibration import Calibration
from commonscale.core.errors import CommonscaleError
from commonscale.core.types import IMAGE

_LOG = logging.getLogger("commonscale.app")

LONGEST_QUESTION = 4000
"""Most characters of a question."""

WELCOMING = 5
"""How many pictures a page shows that nothing has been asked on yet."""

Changes = dict[str, Any]
"""New values by the name of what is on the page."""


@dataclass(eq=False)
class Handlers:
    """What the page calls; everything of one user is in the ``Session`` that is passed in.

    Attributes:
        served: the index, the encoder and the language model.
        patience: how long to wait for the language model.
        saving: whether users may write the scale that they learned, for everybody.
    """

    served: Library
    patience: Patience = field(default_factory=Patience)
    saving: bool = False
    _scores: tuple[Calibration | None, BestScores | None] = (None, None)
    _lock: Lock = field(default_factory=Lock)

    def ask(self, question: str, session: Session, k: float, raw: bool, *bounds: float) -> Iterator[Changes]:
        """Answer a question, step by step; ``settled`` comes after the last one."""
        words = question.strip() if isinstance(question, str) else ""
        if not words:
            yield {"notice": render.notices(["Write a question first."])}
            return
        one = session.begin(words[:LONGEST_QUESTION], raw=raw)
        try:
            yield from self._told(one, session, k, raw, *bounds)
        finally:
            session.asked(one)

    def _told(self, one: Exchange, session: Session, k: float, raw: bool, *bounds: float) -> Iterator[Changes]:
        try:
            yield {
                "session": session,  # kept for so long from now on, also where nothing follows
                "thread": render.thread(session),
                "live": self._live(one),
                "notice": "",
                "question": "",
                "running": True,
            }
            one.choice = choice_of(k, raw, bounds, self.served.index.modalities)
            one.calibration = self._scale_of(session)
            yield from self._answer(one, session, one.choice)
        except Exception as error:  # noqa: BLE001 (the page must go on, whatever an encoder or a model does)
            one.end(error=self._sentence(error))
        finally:
            if not one.over:
                one.end(note="Stopped.")
        if session.current is one:  # a conversation that was cleared meanwhile stays clear
            yield {"live": self._live(one), "hits": render.hits(one)}

    def settled(self, session: Session, k: float, raw: bool, *bounds: float) -> Changes:
        """Take the next question, and rank the last one anew if controls or scale changed while others were busy."""
        one = session.current
        changes: Changes = {"session": session}  # to be kept for so long again
        if one is not None and one.over:
            try:
                moved = one.choice != choice_of(k, raw, bounds, self.served.index.modalities)
            except CommonscaleError:
                moved = True  # ranking says why not
            if one.rankings is not None and (moved or one.calibration is not self._scale_of(session)):
                changes |= self.rank(session, k, raw, *bounds)
            changes["hits"] = render.hits(one)
        return {**changes, "running": session.asking is not None}

    def _answer(self, one: Exchange, session: Session, choice: Choice) -> Iterator[Changes]:
        answering = self.served.answering(session.calibration)
        events = ask(answering, one.question, session.turns, choice)
        for batch in patiently(events, self.patience, lambda: one.over):
            if one.over:
                return
            if not batch:
                one.note = "The language model has not answered yet; waiting for it. Others are not held up."
            for event in batch:
                one.take(event)
            changes: Changes = {"live": self._live(one)}
            if one.over or any(isinstance(event, (Ranked, Found)) for event in batch):
                changes["hits"] = render.hits(one)
            yield changes
        if self.served.answerer is None:
            one.end(note="No language model is connected, so these are the documents without an answer.")

    def stop(self, session: Session) -> Changes:
        """Wait no longer for an answer. Until its last step is done, the page could take no other question."""
        one = session.asking
        if one is None:
            return {"running": False}
        if not one.over:
            one.end(note="Stopped.")
        return {"live": self._live(session.current)}

    def rank(self, session: Session, k: float, raw: bool, *bounds: float) -> Changes:
        """Rank the last question anew, because a control was moved."""
        one = session.current
        try:
            choice = choice_of(k, raw, bounds, self.served.index.modalities)
            if one is None or not one.over or one.rankings is None:
                return {"notice": ""}
            # Taken before, so that a scale that changes meanwhile is seen as another one.
            own, scale = session.calibration, self._scale_of(session)
            one.rankings = self.served.answering(own).rankings(
                one.searched or one.question, k=choice.k, quotas=choice.quotas
            )
            one.choice, one.calibration = choice, scale
        except Exception as error:  # noqa: BLE001
            return {"notice": render.notices([self._sentence(error)])}
        return {"hits": render.hits(one), "notice": ""}

    def clear(self, session: Session) -> Changes:
        """Begin a new conversation."""
        if session.asking is not None:
            session.asking.end()
        session.forget()
        changes: Changes = {"thread": "", "live": "", "hits": "", "notice": ""}
        return changes if session.asking is not None else {**changes, "running": False}

    def scale(self, session: Session) -> Changes:
        """Show the calibration."""
        return {"scale": panel(self.served, session, self._shared_scores())}

    def recalibrate(self, session: Session, text: str) -> Iterator[Changes]:
        """Learn a scale for this user from a pasted list of questions; ``settled`` ranks by it."""
        yield from self._recalibrated(session, text, save=False)

    def recalibrate_all(self, session: Session, text: str) -> Iterator[Changes]:
        """Learn a scale for everybody, and write it beside the index; ``settled`` ranks by it."""
        if not self.saving:
            yield {"progress": render.notices(["This server does not let users change the scale of others."])}
            return
        yield from self._recalibrated(session, text, save=True)

    def _recalibrated(self, session: Session, text: str, *, save: bool) -> Iterator[Changes]:
        try:
            for step in recalibrate(self.served, text, save=save):
                if isinstance(step, Progress):
                    yield {"session": session, "progress": progress(step)}
                    continue
                session.scores, session.calibration = (None, None) if save else (step.scores, step.calibration)
                said = "The new scale is in use by everybody." if save else "The new scale is in use, for you alone."
                yield {
                    "progress": render.notices([said, *([step.remark] if step.remark else [])]),
                    **self.scale(session),
                    "problems": self.problems(session),
                }
        except Exception as error:  # noqa: BLE001
            yield {"progress": render.notices([f"Not calibrated: {self._sentence(error)}"])}

    def reset(self, session: Session) -> Changes:
        """Go back to the scale of the index; ``settled`` ranks by it."""
        session.calibration = session.scores = None
        return {
            "progress": render.notices(["The scale of the index is in use again."]),
            **self.scale(session),
            "problems": self.problems(session),
        }

    def problems(self, session: Session) -> str:
        """Say what does not work."""
        said = list(self.served.problems)
        if session.calibration is None and self.served.joint.calibration is None:
            said.append(
                "This index is not calibrated, so its documents have no common scale and are ranked by raw cosine. "
                f"Calibrate it under “Scale”, or with: commonscale calibrate {self.served.directory} --questions FILE"
            )
        return render.notices(said)

    def welcome_pictures(self) -> list[tuple[str, str]]:
        """Give the addresses and names of a few pictures of the index, evenly taken."""
        documents = self.served.index.documents(IMAGE)
        some = documents[:: max(1, len(documents) // WELCOMING)][:WELCOMING]
        return [(f"{PICTURES}/{key_of(document.id)}", document.id) for document in some if document.path]

    def _live(self, one: Exchange | None) -> str:
        answerer = self.served.answerer
        return render.exchange(one, "" if answerer is None else answerer.name)

    def _shared_scores(self) -> BestScores | None:
        with self._lock:
            made, questions = self.served.joint.calibration, self.served.questions
            if made is not None and questions and self._scores[0] is not made:
                scores = None
                try:
                    scores = best_scores(self.served.search(made), questions)
                except CommonscaleError as error:
                    self.served.problems.append(f"The calibration questions cannot be shown: {error}")
                self._scores = made, scores
            return self._scores[1]

    def _scale_of(self, session: Session) -> Calibration | None:
        return self.served.joint.calibration if session.calibration is None else session.calibration

    def _sentence(self, error: Exception) -> str:
        if isinstance(error, CommonscaleError):
            words = str(error)
            # Not the name of a model or a file.
            first = words[:1].upper() if words.split(" ")[0].isalpha() else words[:1]
            return first + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")
        _LOG.error("the page could not do what it was asked", exc_info=error)
        return "Something went wrong on the server, whose log has the details. The page goes on working."
