"""What Milvus's clients do not say of themselves: where their server is, and which event loop they belong to."""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def is_local(client: Any) -> bool:
    """Tell whether a client's server is Milvus Lite in this process."""
    lite = sys.modules.get("milvus_lite.server_manager")
    address = getattr(getattr(client, "_config", None), "address", None)
    if lite is None or address is None:
        return False
    return any(address == f"127.0.0.1:{port}" for _, _, port in lite.server_manager_instance._servers.values())


async def serves_this_loop(aclient: Any) -> bool:
    """Connect an asynchronous client, and tell whether its connection belongs to the running event loop.

    The client keeps the connection of the first loop that used it, and finds connections by a loop's address in
    memory, which later loops may have again. In any other loop than its own it fails.
    """
    handler = await aclient._get_connection()
    channel = getattr(handler, "_async_channel", None)
    return getattr(channel, "_loop", None) is asyncio.get_running_loop()
