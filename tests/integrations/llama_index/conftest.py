from __future__ import annotations

import asyncio
import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_forgotten_event_loop() -> None:
    """Close the event loop that pytest-asyncio makes for the main thread and forgets.

    The first ``asyncio.run`` afterwards (LlamaIndex calls it in synchronous queries) drops that loop unclosed:
    a ResourceWarning in whichever test runs when it is collected. With no loop set, none is made.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            asyncio.get_event_loop_policy().get_event_loop().close()
        except RuntimeError:
            return
    asyncio.set_event_loop(None)
