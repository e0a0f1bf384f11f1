"""The tuning example finds a policy that is cheaper, and as good on requests that it has not seen."""

import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from langroute import Policy

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's own settings end with it."""
    before = dict(os.environ)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("environment")
def test_the_tuned_policy_is_cheaper_at_the_same_quality(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(EXAMPLES / "tuning.py"))["main"]
    assert main(["--requests", "400", "--floor", "0.9", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    before, after = (re.search(rf"{name}: \$([\d.]+), ([\d.]+)% right", out) for name in ("before", "after"))
    assert before is not None
    assert after is not None
    assert float(after[1]) < 0.9 * float(before[1])
    assert float(after[2]) >= 0.9 * float(before[2])
    route = Policy.load(tmp_path / "after.yaml").step("sums").route.difficulty
    assert route is not None
    assert 0 < route.threshold < 1
    assert "# Sums in words" in (tmp_path / "after.yaml").read_text()
