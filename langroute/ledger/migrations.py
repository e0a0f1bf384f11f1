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
    (
        # 3: decisions, their attempts, and feedback; the columns are described in `langroute.ledger.records`.
        """
        CREATE TABLE langroute_decisions (
            id TEXT PRIMARY KEY,
            decided_at_s DOUBLE PRECISION NOT NULL,
            step TEXT NOT NULL,
            step_source TEXT NOT NULL,
            step_reason TEXT NOT NULL,
            mismatch TEXT,
            outcome TEXT NOT NULL,
            tier TEXT,
            endpoint TEXT,
            model TEXT,
            policy TEXT NOT NULL,
            thread TEXT,
            run TEXT,
            node TEXT,
            keys TEXT,
            request TEXT,
            difficulty DOUBLE PRECISION,
            features TEXT,
            plan TEXT NOT NULL,
            spend TEXT,
            spend_usd DOUBLE PRECISION,
            latency_s DOUBLE PRECISION NOT NULL,
            top_usd DOUBLE PRECISION,
            baselines TEXT,
            text_kept TEXT NOT NULL,
            prompt TEXT,
            reply TEXT
        )
        """,
        "CREATE INDEX langroute_decisions_moment ON langroute_decisions (decided_at_s, id)",
        "CREATE INDEX langroute_decisions_step ON langroute_decisions (step, decided_at_s)",
        "CREATE INDEX langroute_decisions_thread ON langroute_decisions (thread, decided_at_s)",
        "CREATE INDEX langroute_decisions_run ON langroute_decisions (run)",
        """
        CREATE TABLE langroute_attempts (
            decision TEXT NOT NULL,
            number INTEGER NOT NULL,
            mark BIGINT NOT NULL,
            decided_at_s DOUBLE PRECISION NOT NULL,
            step TEXT NOT NULL,
            tier TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            model TEXT,
            why TEXT NOT NULL,
            outcome TEXT NOT NULL,
            returned INTEGER NOT NULL,
            failure_kind TEXT,
            failure TEXT,
            input_tokens BIGINT,
            output_tokens BIGINT,
            cache_read_tokens BIGINT,
            cache_write_tokens BIGINT,
            reasoning_tokens BIGINT,
            cost_usd DOUBLE PRECISION,
            cost_basis TEXT NOT NULL,
            checks_usd DOUBLE PRECISION,
            latency_s DOUBLE PRECISION NOT NULL,
            judged_s DOUBLE PRECISION NOT NULL,
            first_token_s DOUBLE PRECISION,
            verdicts TEXT,
            PRIMARY KEY (decision, number, mark)
        )
        """,
        "CREATE INDEX langroute_attempts_step ON langroute_attempts (step, decided_at_s)",
        "CREATE INDEX langroute_attempts_endpoint ON langroute_attempts (endpoint, decided_at_s)",
        """
        CREATE TABLE langroute_feedback (
            id TEXT PRIMARY KEY,
            given_at_s DOUBLE PRECISION NOT NULL,
            decision TEXT,
            run TEXT,
            thread TEXT,
            score DOUBLE PRECISION NOT NULL,
            source TEXT NOT NULL,
            comment TEXT
        )
        """,
        "CREATE INDEX langroute_feedback_decision ON langroute_feedback (decision)",
        "CREATE INDEX langroute_feedback_run ON langroute_feedback (run)",
        "CREATE INDEX langroute_feedback_thread ON langroute_feedback (thread)",
    ),
    (
        # 4: circuit breakers, and which process has the probe of one that is half open.
        """
        CREATE TABLE langroute_breakers (
            id TEXT PRIMARY KEY,
            endpoint TEXT NOT NULL,
            changed_ms BIGINT NOT NULL,
            is_open INTEGER NOT NULL,
            open_until_ms BIGINT NOT NULL,
            held_until_ms BIGINT NOT NULL,
            times_opened INTEGER NOT NULL,
            cause TEXT NOT NULL,
            probe_by TEXT NOT NULL,
            probe_until_ms BIGINT NOT NULL,
            wanted_ms BIGINT NOT NULL
        )
        """,
    ),
    (
        # 5: how likely a decision was to be drawn for a label.
        "ALTER TABLE langroute_feedback ADD COLUMN propensity DOUBLE PRECISION",
    ),
    (
        # 6: what a prompt is made from, and what its reply was checked by.
        "ALTER TABLE langroute_decisions ADD COLUMN template TEXT",
        "ALTER TABLE langroute_decisions ADD COLUMN checks TEXT",
    ),
    (
        # 7: what the top tier says to what a cheaper one had answered.
        """
        CREATE TABLE langroute_shadows (
            id TEXT PRIMARY KEY,
            decision TEXT NOT NULL,
            made_at_s DOUBLE PRECISION NOT NULL,
            step TEXT NOT NULL,
            tier TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            strong_tier TEXT NOT NULL,
            strong_endpoint TEXT,
            propensity DOUBLE PRECISION NOT NULL,
            compared_by TEXT NOT NULL,
            outcome TEXT NOT NULL,
            verdict TEXT,
            reason TEXT NOT NULL,
            call_usd DOUBLE PRECISION,
            judge_usd DOUBLE PRECISION,
            latency_s DOUBLE PRECISION NOT NULL,
            reply TEXT
        )
        """,
        "CREATE INDEX langroute_shadows_decision ON langroute_shadows (decision)",
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
