"""Learning from recorded outcomes: scores, thresholds with a stated confidence, what another policy would do.

Read in this order: `outcomes`, `features`, `signals`, `learned` (a score as it is used), `scores` (how it
is fitted), `training`; then `guarantee`, `sweep`, `thresholds`, `writing`; then `replay`, `offpolicy`,
`whatif`; then from a ledger to a tuned policy: `recorded`, `dials`, `sides`, `tuned`, `replaying`;
`replayed`, `exploring` for the report; `metrics`, `benching` for a score; `estimate` for a worksheet.
A learned score in use wants `langroute[learned]`, the report's explorer `langroute[report]`, the rest
`langroute[tune]`; `import langroute` and calls of a policy without a learned score ask for none of them.
"""
