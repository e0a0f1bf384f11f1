"""What the ledger says, for people: tables in a terminal, and one HTML page.

In reading order: `data` (everything a report says), `explorer` (what other thresholds come to), `statistics`
(on what it rests), `figures` (from decisions to data, in one pass), `wording`, then the two ways to show it:
`tables` and `page`.
"""
