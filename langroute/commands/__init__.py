"""The commands of `langroute`, one module a subject; `langroute.cli` names them."""
