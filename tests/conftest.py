"""What every test may ask for by name."""

from databases import database_url
from hypothesis import settings

__all__ = ["database_url"]

settings.register_profile("mutation", derandomize=True, database=None, deadline=None, max_examples=20)
"""Of `make mutation`: the same few examples for every mutant."""
