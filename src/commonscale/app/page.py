"""The page: what is on it, and what calls what."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from commonscale.app.cards import label_of
from commonscale.app.choice import DOCUMENTS, MOST_DOCUMENTS
from commonscale.app.handlers import Changes, Handlers
from commonscale.app.render import render
from commonscale.app.session import Session
from commonscale.core.extras import require

SESSION_SECONDS = 4 * 3600
"""How long what a user has asked is kept after the page was closed."""

QUEUED = 200
"""Most questions that wait in line; who comes then is told to try again."""


def build_page(handlers: Handlers, *, parallel: int = 16) -> Any:
    """Build the page.

    Args:
        handlers: what it calls.
        parallel: how many answers are worked on at once; more wait in line.

    Returns:
        Gradio's ``Blocks``.

    Raises:
        MissingExtraError: if gradio is not installed.
    """
    gr = require("gradio", "app")
    with gr.Blocks(title="Commonscale", analytics_enabled=False, fill_width=True) as blocks:
        _Page(gr, handlers).bind(parallel)
    blocks.queue(max_size=QUEUED, api_open=False)
    return blocks


class _Page:
    """The components by name, and the events that change them."""

    def __init__(self, gr: Any, handlers: Handlers) -> None:
        self._gr = gr
        self._handlers = handlers
        self._session = gr.State(Session(), time_to_live=SESSION_SECONDS)
        self._parts: dict[str, Any] = {}
        library = handlers.served
        counts = [(label_of(m), len(library.index.documents(m))) for m in library.index.modalities]
        self._html("header", render("header", name=library.name, counts=counts))
        self._html("problems", handlers.problems(Session()))
        with gr.Row(elem_id="columns"):
            with gr.Column(elem_id="talk", min_width=0):
                self._talk()
            with gr.Column(elem_id="side", min_width=0), gr.Tabs(elem_id="tabs"):
                with gr.Tab("Documents", id="documents"):
                    self._documents()
                with gr.Tab("Scale", id="scale") as self._scale_tab:
                    self._scale()

    def _html(self, name: str, value: str = "", **more: Any) -> Any:
        self._parts[name] = part = self._gr.HTML(
            value, elem_id=name, js_on_load=None, apply_default_css=False, container=False, padding=False, **more
        )
        return part

    def _talk(self) -> None:
        gr = self._gr
        with gr.Column(elem_id="conversation"):
            self._html("welcome", render("welcome", pictures=self._handlers.welcome_pictures()))
            self._html("thread")
            self._html("live")
        self._html("notice")
        with gr.Row(elem_id="composer"):
            self._parts["question"] = self._question = gr.Textbox(
                label="Your question",
                placeholder="Ask in plain words",
                show_label=False,
                lines=1,
                max_lines=6,
                autofocus=True,
                container=False,
                elem_id="question",
                scale=1,
                html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
            )
            self._send = gr.Button("Ask", variant="primary", elem_id="send", min_width=0, scale=0)
            self._stop = gr.Button("Stop", elem_id="stop", min_width=0, scale=0, visible=False)
        self._new = gr.Button("New conversation", elem_id="new", size="sm", min_width=0)

    def _documents(self) -> None:
        gr = self._gr
        self._html("toolbar", render("toolbar"))
        with gr.Accordion("How many, and of which kind", open=False, elem_id="quotas"):
            self._k = gr.Slider(1, MOST_DOCUMENTS, DOCUMENTS, step=1, label="Documents", elem_id="documents-slider")
            self._bounds = []
            for modality in self._handlers.served.index.modalities:
                kind = label_of(modality).lower()
                for which, value in (("least", 0), ("most", MOST_DOCUMENTS)):
                    name = f"{'At least' if which == 'least' else 'At most'} this many of kind: {kind}"
                    slider = gr.Slider(0, MOST_DOCUMENTS, value, step=1, label=name, elem_id=f"{which}-{modality}")
                    self._bounds.append(slider)
            self._raw = gr.Checkbox(label="Answer from the ranking by raw cosine instead", elem_id="answer-raw")
        self._html("hits", elem_classes="hits")

    def _scale(self) -> None:
        gr = self._gr
        self._html("scale", render("loading"))
        self._pasted = gr.Textbox(
            label="Learn a scale from your own questions, one per line, no labels",
            placeholder="What colour are the boats in the harbour?\nHow many windows does the chapel have?",
            lines=6,
            max_lines=12,
            elem_id="pasted",
        )
        self._html("progress")
        with gr.Row(elem_id="scale-actions"):
            self._recalibrate = gr.Button("Recalibrate for me", variant="primary", elem_id="recalibrate", min_width=0)
            self._reset = gr.Button("Use the scale of the index", elem_id="reset", min_width=0)
            self._everybody = gr.Button(
                "Recalibrate for everybody", elem_id="everybody", min_width=0, visible=self._handlers.saving
            )

    def bind(self, parallel: int) -> None:
        """Say what calls what."""
        handlers, controls = self._handlers, [self._k, self._raw, *self._bounds]
        asked = self._on(
            [self._question.submit, self._send.click],
            handlers.ask,
            [self._question, self._session, *controls],
            concurrency_limit=parallel,
            concurrency_id="ask",
        )
        # The browser drops questions until it is told that the one before is done, which may be long after the last
        # change of the page. So the button to ask comes back after that.
        self._settle(asked, controls)
        # Not Gradio's own way to cancel, which may still show what was under way.
        self._on([self._stop.click], handlers.stop, [self._session], queue=False)
        self._on([self._new.click], handlers.clear, [self._session], queue=False)
        moved = [self._k.release, self._raw.change, *(slider.release for slider in self._bounds)]
        self._on(moved, handlers.rank, [self._session, *controls], trigger_mode="always_last", concurrency_limit=4)
        self._on([self._scale_tab.select], handlers.scale, [self._session], concurrency_limit=4)
        learning = {"concurrency_limit": 1, "concurrency_id": "calibrate"}
        pasted = [self._session, self._pasted]
        self._settle(self._on([self._recalibrate.click], handlers.recalibrate, pasted, **learning), controls)
        if handlers.saving:
            self._settle(self._on([self._everybody.click], handlers.recalibrate_all, pasted, **learning), controls)
        self._settle(self._on([self._reset.click], handlers.reset, [self._session]), controls)

    def _settle(self, event: Any, controls: list[Any]) -> None:
        """Bring the page in order after an event, whether it went well or not; no full queue is in the way."""
        for after in (event.then, event.failure):
            self._call(after, self._handlers.settled, [self._session, *controls], queue=False, trigger_mode="multiple")

    def _on(self, triggers: list[Any], function: Callable[..., Any], inputs: list[Any], **settings: Any) -> Any:
        return self._call(functools.partial(self._gr.on, triggers), function, inputs, **settings)

    def _call(
        self, listen: Callable[..., Any], function: Callable[..., Any], inputs: list[Any], **settings: Any
    ) -> Any:
        return listen(
            self._adapted(function),
            inputs,
            self._outputs,
            show_progress="hidden",
            api_visibility="private",
            **settings,
        )

    @property
    def _outputs(self) -> list[Any]:
        return [*self._parts.values(), self._send, self._stop, self._session]

    def _adapted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Turn changes by name into what Gradio takes."""
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def stream(*values: Any) -> Iterator[Any]:
                for changes in function(*values):
                    yield self._updates(changes)
                # Gradio sends the last changes twice, the second time maybe after something else has changed the page.
                yield [self._gr.skip()] * len(self._outputs)

            return stream

        @functools.wraps(function)
        def once(*values: Any) -> Any:
            return self._updates(function(*values))

        return once

    def _updates(self, changes: Changes) -> dict[Any, Any]:
        gr = self._gr
        updates = {self._parts[name]: value for name, value in changes.items() if name in self._parts}
        if "session" in changes:
            updates[self._session] = changes["session"]
        if "live" in changes:
            updates[self._parts["welcome"]] = gr.update(visible=not changes["live"] and not changes.get("thread"))
        if "running" in changes:
            updates[self._send] = gr.update(visible=not changes["running"])
            updates[self._stop] = gr.update(visible=changes["running"])
        return updates
