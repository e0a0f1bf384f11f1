"""What outlives a process: one store, on SQLite or PostgreSQL, and the tables in it.

In reading order: `store` (opening it), `migrations` (every table, in one list), `answers` (replies that a
killed run need not pay for again), `budgets` (what all processes may spend together), `breakers` and
`fleet` (whom none of them calls for now); `records` (what is kept of a decision), `rows`, `writer`,
`reading`, `costs`, `feedback`, `export`, `pruning`, and `ledger`, which is all of these to a caller. This
package alone imports sqlalchemy, and nothing imports it before a store is asked for.
"""

from langroute.ledger.store import Store, open_store

__all__ = ["Store", "open_store"]
