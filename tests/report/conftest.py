"""What the report's tests share: decisions made once, and what they come to."""

import pytest
from made_decisions import decisions
from made_ledger import write_ledger

from langroute.report.figures import Figures


@pytest.fixture(scope="session")
def made():
    """Four thousand decisions with their labels, oldest first."""
    return list(decisions(4_000))


@pytest.fixture(scope="session")
def data(made):
    """What they come to."""
    figures = Figures("made.db")
    for record, label in made:
        figures.add(record, label)
    return figures.data()


@pytest.fixture(scope="session")
def ledger(made, tmp_path_factory):
    """The URL of a ledger that holds them."""
    return write_ledger(tmp_path_factory.mktemp("ledger") / "made.db", made)
