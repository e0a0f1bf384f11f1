"""Every table of the store, as numbered migrations: older stores are brought forward, newer ones refused."""

from collections.abc import Sequence

from sqlalchemy import Connection, inspect, text

from langroute.errors import LedgerError

__all__ = ["MIGRATIONS", "migrate", "version_of"]

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # 1: replies of a graph's calls, so that a killed run need not pay twice.
        """
        CREATE TABLE langroute_answers (
            id TEXT PRIMARY KEY,
            thread TEXT NOT NULL,
            kept_at_s DOUBLE PRECISION NOT NULL,
            reply TEXT NOT NULL
        )
        """,
        "CREATE INDEX langroute_answers_kept_at_s ON langroute_answers (kept_at_s)",
    ),
    (
        # 2: budgets, in pico-dollars; what is reserved, by whom, and until when that one is taken to live.
        """
        CREATE TABLE langroute_budgets (
            account TEXT PRIMARY KEY,
            spent_pico BIGINT NOT NULL,
            held_pico BIGINT NOT NULL,
            used_on TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE langroute_reservations (
            id TEXT NOT NULL,
            account TEXT NOT NULL,
            owner TEXT NOT NULL,
            held_pico BIGINT NOT NULL,
            freed_pico BIGINT NOT NULL,
            PRIMARY KEY (id, account)
        )
        """,
        "CREATE TABLE langroute_owners (owner TEXT PRIMARY KEY, until_ms BIGINT NOT NULL)",
    ),
)
"""Each a list of statements that SQLite and PostgreSQL both take; one that was released is never changed."""


def version_of(connection: Connection) -> int:
    """Return the number of the last migration the store has seen, 0 for an empty one."""
    if not inspect(connection).has_table("langroute_migrations"):
        return 0
    return connection.scalar(text("SELECT max(number) FROM langroute_migrations")) or 0


def migrate(connection: Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring a store forward, inside a transaction that no other process can be in.

    Raises:
        LedgerError: The store has seen more migrations than there are here; it is left as it is.
    """
    seen = version_of(connection)
    if seen > len(migrations):
        raise LedgerError(
            f"it was written by a newer langroute (schema {seen}, this one knows {len(migrations)});"
            " upgrade langroute, or name another store"
        )
    if seen == 0:
        connection.execute(text("CREATE TABLE langroute_migrations (number INTEGER PRIMARY KEY)"))
    for number, statements in enumerate(migrations[seen:], start=seen + 1):
        for statement in statements:
            connection.execute(text(statement))
        connection.execute(text("INSERT INTO langroute_migrations VALUES (:number)"), {"number": number})
