"""``commonscale app``: the chat page."""

from __future__ import annotations

import socket
import threading
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from commonscale.answering import Answerer, Limits, answerer_for
from commonscale.answering.opening import DEMO, LLM, picture_rule
from commonscale.app import Handlers, Patience, build_app, build_server, open_library
from commonscale.app.serving import is_loopback
from commonscale.cli.console import say, warn
from commonscale.core.errors import InvalidInputError
from commonscale.index.opening import open_filled_index
from commonscale.prompting import Budget

FIRST_PORT = 7860
_PORTS = 20  # how many are tried where none is named
_GRACE = 10.0  # seconds by which the page waits longer than the model's client, whose words are better


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    Attributes:
        host: what it is bound to.
        port: None for the first that is free from ``FIRST_PORT``, 0 for any.
    """

    host: str
    port: int | None


@dataclass(frozen=True)
class Settings:
    """How the page answers.

    Attributes:
        llm: ``PROVIDER:MODEL``; None for what the index names.
        base_url: where a server of one's own is.
        timeout: seconds that an answer may take.
        images: most pictures to send.
        parallel: how many answers are worked on at once.
        saving: whether users may change the scale for everybody.
        folders: where pictures may be read from beside the folder that was indexed.
    """

    llm: str | None
    base_url: str | None
    timeout: float
    images: int
    parallel: int
    saving: bool
    folders: tuple[Path, ...]


def serve(
    directory: Path,
    address: Address,
    settings: Settings,
    password: str | None,
    encoder: str | None,
    device: str | None,
    *,
    browse: bool,
) -> None:
    """Serve the page until it is interrupted.

    Raises:
        CommonscaleError: if there is no index, or the language model cannot be used.
        OSError: if the address is taken.
    """
    answerer = _answerer(directory, settings)
    budget = Budget(images=settings.images, image_tokens=picture_rule(answerer.name if answerer else ""))
    library = open_library(directory, answerer, encoder=encoder, device=device, budget=budget, folders=settings.folders)
    for problem in library.problems:
        warn(problem)
    handlers = Handlers(library, Patience(limit=settings.timeout + _GRACE), settings.saving)
    app = build_app(handlers, host=address.host, password=password, parallel=settings.parallel)
    if not is_loopback(address.host) and password is None:
        warn(
            f"whoever reaches this machine at {address.host} can ask, and see every document of the index: there is no "
            f"password. Set one in COMMONSCALE_APP_PASSWORD, or leave --host out to serve this machine only"
        )
    with _listening(address) as listener:
        host = f"[{address.host}]" if ":" in address.host else address.host
        url = f"http://{host}:{listener.getsockname()[1]}"
        say(f"The page is at {url} (Ctrl-C stops it)")
        if browse:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        with suppress(KeyboardInterrupt):
            build_server(app, address.host, 0).run(sockets=[listener])
    say("Stopped.")


def _answerer(directory: Path, settings: Settings) -> Answerer | None:
    notes = open_filled_index(directory, mmap=True).notes
    if settings.llm is None and notes.get(LLM) != DEMO:
        warn("no language model is named, so the page finds documents but answers nothing; see --llm")
        return None
    limits = Limits(first=settings.timeout, total=settings.timeout)
    return answerer_for(settings.llm, notes, base_url=settings.base_url, limits=limits)


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    ports = range(FIRST_PORT, FIRST_PORT + _PORTS) if address.port is None else [address.port]
    failure: OSError | None = None
    for port in ports:
        try:
            return socket.create_server((address.host, port), family=family)
        except OSError as error:
            failure = error
    where = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]}"
    raise InvalidInputError(
        f"cannot serve at {address.host}, {where}: {failure}; name another with --port, or 0 for any that is free"
    )
