"""Fresh databases for the tests: a SQLite file, or a schema of its own on this machine's PostgreSQL server.

    def test_something(database_url): ...          # runs on both, see tests/conftest.py
    with fresh_url("postgresql", tmp_path) as url: ...

The URL serves langroute's store, LangGraph's savers (PostgreSQL) and psycopg alike. Where no server
answers, PostgreSQL is skipped by name; with LANGROUTE_TEST_POSTGRES=required that is a failure.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

KINDS = ("sqlite", "postgresql")
SERVER = "postgresql://postgres@127.0.0.1:5432/test"


@contextmanager
def fresh_url(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database of this kind, and drop afterwards what the server holds of it."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'store.sqlite'}"
        return
    schema = f"langroute_{secrets.token_hex(8)}"
    on_server(f"CREATE SCHEMA {schema}")
    try:
        yield f"{SERVER}?options=-csearch_path%3D{schema}"
    finally:
        on_server(f"DROP SCHEMA {schema} CASCADE")


def on_server(command: str) -> None:
    """Run one command on the server, or skip by name where none answers."""
    try:
        connection = psycopg.connect(SERVER, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        if os.environ.get("LANGROUTE_TEST_POSTGRES") == "required":
            raise
        pytest.skip(f"no PostgreSQL server at 127.0.0.1:5432: {error}")
    with connection:
        connection.execute(command)


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of either kind in turn."""
    with fresh_url(request.param, tmp_path) as url:
        yield url
