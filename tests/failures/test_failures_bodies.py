"""Real error bodies, raised as their clients raise them, are told for what they are."""

from pathlib import Path

import pytest
import yaml
from raising import raised

from langroute.failures import KINDS, classify
from langroute.testing import LoopbackProvider

GROUPS = yaml.safe_load((Path(__file__).parent / "bodies.yaml").read_text())
CASES = [
    pytest.param(group["wire"], case, id=f"{group['provider']}-{case.get('status', '')}-{number}")
    for group in GROUPS
    for number, case in enumerate(group["errors"])
]


@pytest.fixture(scope="module")
def provider():
    with LoopbackProvider({"m": "Hello."}) as running:
        yield running


@pytest.mark.parametrize(("wire", "case"), CASES)
def test_an_error_body_is_told_for_what_it_is(provider, wire, case):
    failure = classify(raised(provider, wire, case))

    assert failure.kind == case["kind"], failure.message
    assert failure.remedy == case.get("remedy", "next_endpoint")
    assert failure.retry_after_s == pytest.approx(case.get("retry_after_s"))


def test_the_table_is_as_large_as_promised_and_names_kinds_that_exist():
    cases = [case for group in GROUPS for case in group["errors"]]

    assert len(cases) >= 120
    assert {case["kind"] for case in cases} <= set(KINDS)
    assert {case["source"] for case in cases} == {"code", "docs", "issues"}
