"""A chat page in the browser: questions, streamed answers with citations, and both rankings beside them."""

from commonscale.app.handlers import Handlers
from commonscale.app.opening import Library, open_library
from commonscale.app.page import build_page
from commonscale.app.patience import Patience
from commonscale.app.serving import build_app, build_server

__all__ = ["Handlers", "Library", "Patience", "build_app", "build_page", "build_server", "open_library"]
