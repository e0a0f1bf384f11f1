"""The plan of a step: what is weighed before the first call, one file a weighing.

Reading order: `plan` (the order of the weighings), `limits`, `stakes`, `rules` (with `words` and
`intent`), `difficulty`, `money`; `classify` tells a step that nobody said, declared or showed.
"""
