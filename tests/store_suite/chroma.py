"""Chroma: in memory, in a folder, and behind a real server on a free loopback port."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place

SERVER = "chroma_server"

SETTINGS = "Chroma's defaults: max_neighbors 16, ef_construction 100, ef_search 100"

PATIENCE = 60.0
"""Seconds in which a server must be up."""


@contextmanager
def serve_chroma() -> Iterator[int]:
    """Start ``chroma run``; give its port; stopped, and its data deleted, at the end."""
    import pytest

    pytest.importorskip("chromadb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="commonscale-chroma-") as folder:
        run = [sys.executable, "-c", "from chromadb.cli.cli import app; app()", "run", "--path", folder]
        server = subprocess.Popen(
            [*run, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(server, port)
            yield port
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server accepts connections; ``wait`` returns at once if it has died."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
        try:
            raise RuntimeError(f"chroma run ended with status {server.wait(0.05)}")
        except subprocess.TimeoutExpired:
            continue


def client(place: Place, mode: str) -> Any:
    """Open a client: ``"memory"``, ``"disk"`` or ``"server"``; closed with the place."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    made: Any
    if mode == "disk":
        made = chromadb.PersistentClient(str(place.folder), settings=settings)
    elif mode == "server":
        made = chromadb.HttpClient("127.0.0.1", place.server(SERVER), settings=settings)
        # Chroma's own close() forgets the connections of the two clients that it made, and Python reports them.
        place.on_close(made._server._session.close)
        place.on_close(made._admin_client._server._session.close)
    else:
        made = chromadb.EphemeralClient(settings=settings)
    place.on_close(made.close)
    return made


def li_open(mode: str, space: str, place: Place) -> Any:
    """Open a LlamaIndex store, with a collection of its own."""
    from llama_index.vector_stores.chroma import ChromaVectorStore

    collection = client(place, mode).get_or_create_collection(
        place.name, embedding_function=None, configuration={"hnsw": {"space": space}}
    )
    return ChromaVectorStore(chroma_collection=collection)


def lc_open(mode: str, space: str, place: Place) -> Any:
    """Open a LangChain store, with a collection of its own."""
    from langchain_chroma import Chroma

    return Chroma(
        place.name,
        forms.lc_embeddings(),
        client=client(place, mode),
        collection_configuration={"hnsw": {"space": space}},
    )


def _li_make(mode: str, space: str, place: Place, items: Sequence[Item]) -> Any:
    store = li_open(mode, space, place)
    if items:
        forms.add_nodes(store, items)
    return store


def _lc_make(mode: str, space: str, place: Place, items: Sequence[Item]) -> Any:
    store = lc_open(mode, space, place)
    if items:
        forms.add_documents(store, items)
    return store


def _kinds() -> list[Kind]:
    kinds = []
    for mode, space in (
        ("memory", "cosine"),
        ("memory", "l2"),
        ("memory", "ip"),
        ("disk", "cosine"),
        ("server", "cosine"),
        ("server", "l2"),
    ):
        common: dict[str, Any] = {
            "recall": 0.95,
            "settings": SETTINGS,
            "norm": 5.0 if space == "cosine" else 1.0,
        }
        lasting = mode != "memory"
        kinds.append(
            Kind(
                f"chroma-{mode}-{space}",
                "llama_index",
                partial(_li_make, mode, space),
                forms.add_nodes,
                ("llama_index.vector_stores.chroma",),
                partial(li_open, mode, space) if lasting else None,
                lambda store, ids: store.delete_nodes(ids),
                forms.li_even,
                **common,
            )
        )
        kinds.append(
            Kind(
                f"chroma-{mode}-{space}",
                "langchain",
                partial(_lc_make, mode, space),
                forms.add_documents,
                ("langchain_chroma",),
                partial(lc_open, mode, space) if lasting else None,
                lambda store, ids: store.delete(ids),
                lambda: {"parity": 0},
                **common,
            )
        )
    return kinds


KINDS = _kinds()
