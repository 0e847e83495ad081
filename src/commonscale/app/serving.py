"""The page as a server."""

from __future__ import annotations

import ipaddress
import logging
from pathlib import Path
from typing import Any

from commonscale.answering.items import picture_of
from commonscale.app.cards import id_of
from commonscale.app.handlers import Handlers
from commonscale.app.login import Login
from commonscale.app.opening import Library
from commonscale.app.page import build_page
from commonscale.app.security import App, Gate
from commonscale.app.theme import HEAD, THEME, gradio_theme
from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.core.extras import require

LOOPBACK = "127.0.0.1"

_HOSTS = ["localhost", "127.0.0.1", "[::1]", "::1"]
_GRACE = 2  # seconds that open connections have when the server is stopped


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build_app(handlers: Handlers, *, host: str = LOOPBACK, password: str | None = None, parallel: int = 16) -> App:
    """Build the server: the page, its pictures and style, behind a gate and, if wanted, a password.

    Args:
        handlers: what the page calls.
        host: what it will be bound to; on loopback, requests under other names are refused, which other pages could
            have sent (DNS rebinding).
        password: None for none.
        parallel: how many answers are worked on at once.

    Returns:
        An ASGI application.

    Raises:
        InvalidInputError: if the password is empty.
        MissingExtraError: if gradio is not installed.
    """
    if password is not None and not password:
        raise InvalidInputError("the password is empty; give one, or none at all")
    gr, fastapi = require("gradio", "app"), require("fastapi", "app")
    inner = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    inner.mount("/page", require("starlette.staticfiles", "app").StaticFiles(directory=THEME))
    _add_pictures(inner, handlers.served)
    inner = gr.mount_gradio_app(
        inner,
        build_page(handlers, parallel=parallel),
        path="/",
        server_name=host,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gradio_theme(gr),
        head=HEAD,
        max_file_size=1,
    )
    guarded: App = inner if password is None else Login(inner, password)
    guarded = Gate(guarded)
    if is_loopback(host):
        guarded = require("starlette.middleware.trustedhost", "app").TrustedHostMiddleware(guarded, _HOSTS)
    return guarded


def build_server(app: App, host: str, port: int) -> Any:
    """Give the server of an application, not started yet; ``run()`` serves until it is interrupted.

    Args:
        app: the application.
        host: what it is bound to.
        port: 0 for any that is free.
    """
    uvicorn = require("uvicorn", "app")
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )

    class Server(uvicorn.Server):  # type: ignore[name-defined, misc]
        """Says nothing of the open pages that it cuts off when it is stopped."""

        async def shutdown(self, sockets: Any = None) -> None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    return Server(config)


def _add_pictures(app: Any, library: Library) -> None:
    response = require("starlette.responses", "app").Response

    def picture(key: str) -> Any:
        document = library.index.get(id_of(key) or "")
        path: Path | None = None if document is None else picture_of(document)
        if path is None:
            return response("There is no such picture.", 404, media_type="text/plain")
        try:
            prepared = library.pictures.prepare(path)
        except ImageError:
            return response("This picture cannot be read.", 404, media_type="text/plain")
        kind = prepared.mime_type
        return response(prepared.content, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})

    app.get("/pictures/{key}")(picture)
