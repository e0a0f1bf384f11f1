"""What every test may ask for by name."""

from databases import database_url
from hypothesis import HealthCheck, settings
from late_calls import all_calls_end, let_go

__all__ = ["all_calls_end", "database_url", "let_go"]

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
"""Unless another is asked for: how long an example takes says more of the machine than of the code."""

settings.register_profile("mutation", derandomize=True, database=None, deadline=None, max_examples=20)
"""Of `make mutation`: the same few examples for every mutant."""
