"""The store: what URLs it takes, how it is brought forward, how many processes open it at once."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from traceback import format_exception
from typing import Any

import pytest
from databases import SERVER, fresh_url
from sqlalchemy import inspect, text

from langroute.errors import LedgerError
from langroute.ledger import Store, open_store
from langroute.ledger.migrations import MIGRATIONS
from langroute.ledger.store import _prepare_sqlite

TABLES = {
    *("langroute_answers", "langroute_budgets", "langroute_migrations", "langroute_owners"),
    *("langroute_reservations", "langroute_decisions", "langroute_attempts", "langroute_feedback"),
    "langroute_breakers",
    "langroute_shadows",
}
ANOTHER = ("CREATE TABLE of_tomorrow (id INTEGER PRIMARY KEY)",)
OPENING = """
import sys
from langroute.ledger import open_store
sys.stdout.write("ready\\n"), sys.stdout.flush()
sys.stdin.readline()
sys.stdout.write(open_store(sys.argv[1]).name)
"""


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


def tables(store: Store) -> set[str]:
    with store.statements() as connection:
        return set(inspect(connection).get_table_names())


def seen(store: Store) -> list[int]:
    with store.statements() as connection:
        return list(connection.scalars(text("SELECT number FROM langroute_migrations ORDER BY number")))


def test_empty_store_gets_every_table_once(store: Store) -> None:
    assert tables(store) == TABLES
    store.migrate()
    assert seen(store) == list(range(1, len(MIGRATIONS) + 1))


def test_older_store_is_brought_forward_and_keeps_its_rows(store: Store) -> None:
    with store.statements() as connection:
        connection.execute(text("INSERT INTO langroute_answers VALUES ('a', 't', 1.0, '{}')"))
    store.migrate([*MIGRATIONS, ANOTHER])
    assert "of_tomorrow" in tables(store)
    assert seen(store) == list(range(1, len(MIGRATIONS) + 2))
    with store.statements() as connection:
        assert connection.scalar(text("SELECT id FROM langroute_answers")) == "a"


def test_newer_store_is_refused_and_left_as_it_is(database_url: str) -> None:
    newer = open_store(database_url)
    newer.migrate([*MIGRATIONS, ANOTHER])
    before = (tables(newer), seen(newer))
    newer.close()
    last = len(MIGRATIONS)
    with pytest.raises(
        LedgerError, match=rf"newer langroute \(schema {last + 1}, this one knows {last}\); upgrade"
    ) as caught:
        open_store(database_url)
    assert newer.name in str(caught.value)
    untouched = Store(newer._url)
    assert (tables(untouched), seen(untouched)) == before
    untouched.close()


def test_migration_that_breaks_leaves_nothing_behind(store: Store) -> None:
    before = (tables(store), seen(store))
    with pytest.raises(Exception, match="no_such_table"):
        store.migrate([*MIGRATIONS, (*ANOTHER, "INSERT INTO no_such_table VALUES (1)")])
    assert (tables(store), seen(store)) == before


def test_eight_processes_open_an_empty_store_at_once(database_url: str) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * 8, ended
    store = open_store(database_url)
    assert seen(store) == list(range(1, len(MIGRATIONS) + 1))
    store.close()


def test_row_that_was_committed_is_there_after_the_process_is_killed(database_url: str) -> None:
    code = (
        "import os, signal, sys; from sqlalchemy import text; from langroute.ledger import open_store\n"
        "with open_store(sys.argv[1]).statements() as connection:\n"
        """    connection.execute(text("INSERT INTO langroute_answers VALUES ('a', 't', 1.0, '{}')"))\n"""
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, database_url], check=False, timeout=300)
    assert killed.returncode == -9
    store = open_store(database_url)
    with store.statements() as connection:
        assert connection.scalar(text("SELECT count(*) FROM langroute_answers")) == 1
    store.close()


def test_sqlite_logs_ahead_waits_for_locks_and_syncs_every_commit(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}")
    with store.statements() as connection:
        told = {name: connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")}
        told |= {name: connection.scalar(text(f"PRAGMA {name}")) for name in ("foreign_keys", "busy_timeout")}
    store.close()
    assert told == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_transaction_is_undone_as_a_whole(store: Store) -> None:
    def half() -> None:
        with store.transaction() as connection:
            connection.execute(text("INSERT INTO langroute_answers VALUES ('a', 't', 1.0, '{}')"))
            raise KeyError

    with pytest.raises(KeyError):
        half()
    with store.statements() as connection:
        assert connection.scalar(text("SELECT count(*) FROM langroute_answers")) == 0


def test_one_url_is_one_store_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///a.db")
    assert open_store(f"sqlite:///{tmp_path / 'a.db'}") is store
    assert open_store(store) is store
    assert open_store("sqlite:///b.db") is not store
    open_store("sqlite:///b.db").close()
    store.close()


def test_child_of_a_fork_has_connections_of_its_own(tmp_path: Path) -> None:
    code = (
        "import os, sys; from langroute.ledger import open_store; from sqlalchemy import text\n"
        "def session():\n"
        "    with open_store(sys.argv[1]).statements() as own:\n"
        "        return own.scalar(text('SELECT pg_backend_pid()'))\n"
        "parents = session(); child = os.fork()\n"
        "if child == 0: os._exit(int(session() == parents))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), session() == parents)\n"
    )
    with fresh_url("postgresql", tmp_path) as url:
        ran = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert (ran.stdout.split(), ran.stderr) == (["0", "True"], "")


class Awaited(sqlite3.Connection):
    """A connection for which another one lets go of its lock, at the third statement."""

    other: sqlite3.Connection
    statements = 0

    def execute(self, *args: Any) -> Any:
        self.statements += 1
        if self.statements == 3:
            self.other.rollback()
        return super().execute(*args)


def test_change_to_wal_is_tried_again_while_another_process_holds_the_file(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("CREATE TABLE a (b)")
    other.execute("BEGIN EXCLUSIVE")
    connection = sqlite3.connect(tmp_path / "a.db", timeout=0.0, factory=Awaited)
    connection.other = other
    _prepare_sqlite(connection, None)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    other.close()


# What is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "answers.db",
        "",
        None,
        7,
        "mysql://u:hunter2@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:a?mode=memory&uri=true",
        "postgresql://u:hunter2@host:port/db",
        "postgresql+asyncpg://u:hunter2@host/db",
    ],
)
def test_bad_url_is_refused_with_what_is_accepted_and_without_a_password(url: object) -> None:
    with pytest.raises(LedgerError, match=r"sqlite:///answers\.db") as caught:
        open_store(url)
    assert "postgresql://user@host/database" in str(caught.value)
    assert "hunter2" not in "".join(format_exception(caught.value))


def test_unreachable_server_is_named_without_its_password() -> None:
    url = "postgresql://someone:hunter2@127.0.0.1:1/db"
    with pytest.raises(LedgerError, match=r"postgresql://127.0.0.1:1/db cannot be opened") as caught:
        open_store(url)
    assert "hunter2" not in "".join(format_exception(caught.value))


@pytest.mark.parametrize(
    ("kind", "setting"), [("sqlite", "?timeout=soon"), ("postgresql", "&no_such_setting=1")]
)
def test_setting_that_the_driver_does_not_take_is_told(kind: str, setting: str, tmp_path: Path) -> None:
    with fresh_url(kind, tmp_path) as url, pytest.raises(LedgerError, match="cannot be opened: "):
        open_store(url + setting)


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"absent/a.db cannot be opened: unable to open database file"):
        open_store(f"sqlite:///{tmp_path}/absent/a.db")


def test_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("a letter to a friend, which is no database\n" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        open_store(f"sqlite:///{tmp_path / 'a.db'}")
    assert (tmp_path / "a.db").read_text().startswith("a letter")


def test_store_that_could_not_be_opened_is_opened_when_it_can_be(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/later/a.db"
    with pytest.raises(LedgerError):
        open_store(url)
    (tmp_path / "later").mkdir()
    open_store(url).close()


def test_missing_driver_is_answered_with_the_line_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from langroute.ledger import open_store\n"
        f"open_store({SERVER!r})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "LedgerError" in ran.stderr
    assert "pip install 'langroute[postgres]'" in ran.stderr


def test_locked_store_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}?timeout=0.01")
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Exception, match="database is locked"), store.transaction():
        pass
    other.close()
    store.close()
