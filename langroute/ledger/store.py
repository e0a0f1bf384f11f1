"""The store: one engine a URL and process, on SQLite or PostgreSQL, opened with its tables up to date."""

import atexit
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from langroute.errors import LedgerError
from langroute.ledger.migrations import MIGRATIONS, migrate, version_of
from langroute.observe import Tally
from langroute.redaction import redact

__all__ = ["OnePerStore", "Store", "open_store"]

T = TypeVar("T")

_CONNECTIONS = 8
"""Pooled connections a process, at most: a dozen workers stay under PostgreSQL's default of 100."""

_WAIT_S = 5.0
"""Seconds to wait for a lock, a free connection or a server; a call that would be repeated takes longer."""

_PAUSE_S = 0.05
"""Seconds between tries of SQLite's change to WAL: where processes make it together it may fail at once."""

_CACHE_KIB = 32 * 1024
"""KiB of a SQLite file that a connection keeps in memory: ids are random, and so are the pages they go to."""

_LOG_PAGES = 4_000
"""Pages (16 MB) of SQLite's log that go to the file together, four times its default: ids are random, so that
each batch touches most pages of the indexes, and with the default nearly each batch writes them back."""

_MIGRATION_LOCK = 0x6C616E67726F7574
"""The PostgreSQL advisory lock of migrations: "langrout" in ASCII."""

_ACCEPTED = "sqlite:///answers.db (a file) or postgresql://user@host/database"

_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

_ENGINE_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "sqlite": {"connect_args": {"timeout": _WAIT_S}},
    "postgresql": {
        "pool_pre_ping": True,
        # Whatever the server's default: after the advisory lock, migrations must see what others committed.
        "isolation_level": "READ COMMITTED",
        # No prepared statements: a pooler such as PgBouncer may hand each transaction to another session.
        "connect_args": {"connect_timeout": int(_WAIT_S), "prepare_threshold": None},
    },
}

_NOW_MS = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}

_STORES: dict[URL, "Store"] = {}
_ALL: WeakSet["Store"] = WeakSet()
_LOCK = threading.RLock()


class Store:
    """An open store; made by `open_store`, shared by every step that names the same URL.

    A committed row survives a `kill -9` of this process and, on SQLite, a power cut: write-ahead log with
    `synchronous=FULL`. NORMAL would survive the kill alone; the sync it saves is milliseconds, beside a
    reply that took seconds and money.
    """

    def __init__(self, url: URL) -> None:
        self.postgres = url.get_backend_name() == "postgresql"
        self.name = _named(url)
        """Where the store is, without user and password: for messages."""
        self.failures = Tally()
        """How often the store failed a caller, who went on without it; the first time is logged."""
        self.before_close: list[Callable[[], object]] = []
        """What is done before the connections are closed: what waits to be written is."""
        self.now_ms = _NOW_MS[url.get_backend_name()]
        """The database's own clock in SQL, Unix milliseconds: those of the machines around it may differ by
        more than a lease."""
        self._url = url
        self._uses = _Uses()
        self._engine = _engine(url)
        # One statement is its own transaction: one round trip, committed when it returns.
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        _ALL.add(self)

    @contextmanager
    def statements(self) -> Iterator[Connection]:
        """Give a connection on which every statement is committed when it returns."""
        with self._uses.one(), self._single.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Give a connection that reads, in every statement, what was committed when the first began."""
        with self._uses.one(), self._engine.connect() as connection:
            if self.postgres:
                connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection whose statements are committed together at the end; on SQLite the only writer."""
        with self._uses.one(), self._engine.begin() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def migrate(self, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        """Bring the store forward, one process at a time; nothing is locked where there is nothing to do.

        Raises:
            LedgerError: The store is newer than this langroute.
        """
        with self.statements() as connection:
            if version_of(connection) == len(migrations):
                return
        with self.transaction() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            migrate(connection, migrations)

    def close(self) -> None:
        """Write what waits, and close every connection; the next `open_store` of the URL opens it anew."""
        with _LOCK:
            _STORES.pop(self._url, None)
        for finish in self.before_close:
            finish()
        self._engine.dispose()

    def rest(self) -> None:
        """Close SQLite's connections before a fork, once what is under way has ended.

        What SQLite knows of its locks belongs to the process: a child that inherited it would write as if it
        held the parent's, and overwrite what the parent writes.
        """
        if not self.postgres:
            self._uses.stop()
            self._engine.dispose()

    def go_on(self) -> None:
        """Work again, in the parent of a fork."""
        self._uses.go_on()

    def leave_to_parent(self) -> None:
        """Let go of the connections, in the child of a fork: they are the parent's."""
        self._uses = _Uses()
        self._engine.dispose(close=False)


class _Uses:
    """How many threads use a store now."""

    def __init__(self) -> None:
        self._count = 0
        self._resting = False
        self._news = threading.Condition()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one use; while a fork is made there is none."""
        with self._news:
            self._news.wait_for(lambda: not self._resting, _WAIT_S)
            self._count += 1
        try:
            yield
        finally:
            with self._news:
                self._count -= 1
                self._news.notify_all()

    def stop(self) -> None:
        """Let no use begin, and wait for those under way, within bounds: the forking thread may have one."""
        with self._news:
            self._resting = True
            self._news.wait_for(lambda: not self._count, _WAIT_S)

    def go_on(self) -> None:
        """Let uses begin again."""
        with self._news:
            self._resting = False
            self._news.notify_all()


def open_store(url: "str | Store | Any") -> Store:
    """Return the store at `url`, migrated; the same object for the same URL while the process lives.

    Args:
        url: `sqlite:///answers.db` (a file, relative to the working directory; four slashes for an
            absolute path) or `postgresql://user@host/database`, which needs `langroute[postgres]`. A
            store that is open already is returned as it is, a `Ledger` gives its own.

    Raises:
        LedgerError: The URL is none of these, the driver is missing, the database cannot be reached, or
            a newer langroute has written it.
    """
    url = getattr(url, "store", url)
    if isinstance(url, Store):
        return url
    checked = _checked(url)
    with _LOCK:
        store = _STORES.get(checked)
        if store is None:
            store = _opened(checked)
            _STORES[checked] = store
    return store


def _opened(url: URL) -> Store:
    store = Store(url)
    try:
        store.migrate()
    except LedgerError as error:
        store.close()
        raise LedgerError(f"the store {store.name} cannot be used: {error}") from None
    except (SQLAlchemyError, TypeError) as error:  # a setting in the URL that the driver does not know
        store.close()
        why = redact(str(error.orig if isinstance(error, DBAPIError) else error)).strip()
    else:
        return store
    # Not chained: the driver's error holds its connection, and that the password.
    raise LedgerError(f"the store {store.name} cannot be opened: {why}")


def _checked(url: Any) -> URL:
    """Return the URL with its driver, its file's path made absolute; messages never repeat what was given."""
    try:
        given = make_url(url)
    except (ArgumentError, ValueError, TypeError):
        raise LedgerError(f"what was given is no URL of a store: write {_ACCEPTED}") from None
    driver = _DRIVERS.get(given.drivername)
    if driver is None:
        raise LedgerError(f"a store cannot be kept in {given.drivername!r}: write {_ACCEPTED}")
    if driver != "sqlite":
        return given.set(drivername=driver)
    if not given.database or given.database == ":memory:" or given.database.startswith("file:"):
        raise LedgerError(f"a store in memory would die with the process: write {_ACCEPTED}")
    return given.set(drivername=driver, database=str(Path(given.database).absolute()))


def _named(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.host or ''}{port}/{url.database or ''}"


def _engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    try:
        engine = create_engine(
            url,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_WAIT_S,
            hide_parameters=True,  # of its errors, which are logged: they would hold a reply's text
            **_ENGINE_SETTINGS[backend],
        )
    except ImportError as error:
        raise LedgerError(
            f"the store {_named(url)} needs a driver that is not installed: pip install 'langroute[postgres]'"
        ) from error
    except (ArgumentError, TypeError, ValueError) as error:
        raise LedgerError(f"the store {_named(url)} cannot be opened: {error}") from None
    if backend == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    last_s = time.monotonic() + _WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > last_s:
                raise
            time.sleep(_PAUSE_S)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")


def _before_fork() -> None:
    for store in list(_ALL):
        store.rest()


def _after_fork_in_parent() -> None:
    for store in list(_ALL):
        store.go_on()


def _after_fork_in_child() -> None:
    global _LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _LOCK = threading.RLock()
    for store in list(_ALL):
        store.leave_to_parent()


def _close_all() -> None:
    for store in list(_STORES.values()):
        store.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
atexit.register(_close_all)


class OnePerStore(Generic[T]):
    """The one object of a kind that this process has for each store, for as long as the store lives.

    Args:
        make: Makes it.
        born: What it does in the child of a fork, which is a process of its own.
        end: What it does when the program ends; what that raises is dropped.
    """

    def __init__(
        self, make: Callable[[Store], T], *, born: Callable[[T], None], end: Callable[[T], None]
    ) -> None:
        self._make, self._born, self._end = make, born, end
        self._found: WeakKeyDictionary[Store, T] = WeakKeyDictionary()
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)
        atexit.register(self._end_all)

    def of(self, store: Store) -> T:
        """Return the object of a store, made at the first call."""
        with self._lock:
            found = self._found.get(store)
            if found is None:
                found = self._found[store] = self._make(store)
            return found

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it
        for found in list(self._found.values()):
            self._born(found)

    def _end_all(self) -> None:
        for found in list(self._found.values()):
            with suppress(Exception):
                self._end(found)
