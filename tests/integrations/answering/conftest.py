from __future__ import annotations

from collections.abc import Iterator

import pytest

from bad_chat_server import BadChatServer, serve_badly


@pytest.fixture
def bad_server() -> Iterator[BadChatServer]:
    """A loopback chat server that fails."""
    with serve_badly() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
