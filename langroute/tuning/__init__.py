"""Learning from recorded outcomes: scores, thresholds with a stated confidence, what another policy would do.

Read in this order: `outcomes`, `features`, `signals`, `learned` (a score as it is used), `scores` (how it
is fitted), `training`; then `guarantee`, `sweep`, `thresholds`, `writing`; then `replay`, `offpolicy`,
`whatif`; then from a ledger to a tuned policy: `recorded`, `dials`, `comparing`, `tuned`, `replaying`;
and `replayed`, `exploring` for the report. All but a learned score, which wants `langroute[learned]`, needs
the extra `langroute[tune]`; `import langroute` and calls of a policy without a learned score ask for neither.
"""
