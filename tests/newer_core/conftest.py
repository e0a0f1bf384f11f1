"""Tests that need langchain-core 1.8; on an older core `tests/test_newer_core.py` runs them elsewhere."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("langchain_core.decisions") else ["*.py"]
