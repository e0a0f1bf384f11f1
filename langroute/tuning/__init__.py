"""Learning from recorded outcomes: scores, thresholds with a stated confidence, what another policy would do.

Read in this order: `outcomes`, `features`, `signals`, `learned` (a score as it is used), `scores` (how it
is fitted); then `guarantee`, `sweep`, `thresholds`, `writing`; then `replay`, `offpolicy`, `whatif`; then
`recorded`, `replayed`, `exploring`, which read a ledger. All but a learned score, which wants
`langroute[learned]`, needs the extra `langroute[tune]`; `import langroute` and calls of a policy without a
learned score ask for neither.
"""
