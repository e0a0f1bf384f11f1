"""What every test may ask for by name."""

from databases import database_url
from hypothesis import HealthCheck, settings

__all__ = ["database_url"]

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
"""Unless another is asked for: how long an example takes says more of the machine than of the code."""

settings.register_profile("mutation", derandomize=True, database=None, deadline=None, max_examples=20)
"""Of `make mutation`: the same few examples for every mutant."""
