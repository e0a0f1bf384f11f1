"""A tuned policy is the person's own file with another number in it, and beside it what that rests on."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from simulated import WORLDS

from langroute import Policy, PolicyError
from langroute.loading import read
from langroute.tuning.thresholds import tune
from langroute.tuning.writing import Change, write_tuned

DAY = date(2026, 11, 20)
AT = ("steps", "synthesis", "route", "difficulty", "threshold")
WRITTEN = """\
# Ours; ask Kim before changing anything.
version: 1
tiers: {small: "openai:gpt-5-nano", large: "openai:gpt-5"}
steps:
  synthesis:
    cascade: [small, large]   # both are approved
    route: {difficulty: {threshold: 0.42}}   # a guess
    verify:
      - no_refusal
      - confidence: {min: 0.7}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "langroute.yaml"
    path.write_text(WRITTEN)
    return path


def test_the_number_changes_and_every_other_character_stays(policy: Path, tmp_path: Path) -> None:
    told = write_tuned(policy, tmp_path / "tuned.yaml", [Change(AT, 0.515, "saves 31 %")], day=DAY)
    assert "comments are kept" in told
    lines = (tmp_path / "tuned.yaml").read_text().splitlines()
    said = "    # tuned 2026-11-20, steps.synthesis.route.difficulty.threshold = 0.515: saves 31 %"
    assert lines.pop(lines.index(said)) == said
    assert lines == WRITTEN.replace("0.42", "0.515").splitlines()
    assert Policy.load(tmp_path / "tuned.yaml").step("synthesis").route.difficulty.threshold == 0.515
    assert policy.read_text() == WRITTEN


def test_a_verifier_in_a_list_is_found_and_a_second_tuning_replaces_the_first_reason(policy: Path) -> None:
    at = ("steps", "synthesis", "verify", 1, "confidence", "min")
    write_tuned(policy, policy, [Change(at, 0.8, "first")], day=DAY, overwrite=True)
    write_tuned(policy, policy, [Change(at, 0.9, "second"), Change(AT, 0.5, "x")], day=DAY, overwrite=True)
    text = policy.read_text()
    assert "first" not in text
    assert "confidence: {min: 0.9}" in text
    assert text.count("# tuned") == 2


def test_the_evidence_of_a_tuning_stands_beside_its_number(policy: Path, tmp_path: Path) -> None:
    drawn = WORLDS["steep"].draw(1000, np.random.default_rng(1))
    drawn["score"] = 1 - drawn["score"]
    tuning = tune(**drawn, kind="route", floor=0.95)
    write_tuned(policy, tmp_path / "new.yaml", [Change(AT, tuning.threshold, tuning.evidence)], day=DAY)
    text = (tmp_path / "new.yaml").read_text()
    assert "with 90% confidence; 1,000 rows" in text
    assert Policy.load(tmp_path / "new.yaml").step("synthesis").route.difficulty.threshold == tuning.threshold


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_from_json_and_toml_a_yaml_file_is_made_and_that_is_said(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"policy{suffix}"
    tiers = {"small": "openai:gpt-5-nano", "large": "openai:gpt-5"}
    if suffix == ".json":
        step = {"cascade": ["small", "large"], "route": {"difficulty": {"threshold": 0.4}}}
        source.write_text(json.dumps({"tiers": tiers, "steps": {"synthesis": step}}))
    else:
        source.write_text(
            '# lost\n[tiers]\nsmall = "openai:gpt-5-nano"\nlarge = "openai:gpt-5"\n[steps.synthesis]\n'
            'cascade = ["small", "large"]\nroute = {difficulty = {threshold = 0.4}}\n'
        )
    told = write_tuned(source, tmp_path / "tuned.yaml", [Change(AT, 0.5, "saves 31 %")], day=DAY)
    assert "are not carried over" in told
    assert "saves 31 %" in (tmp_path / "tuned.yaml").read_text()
    assert read(tmp_path / "tuned.yaml")["steps"]["synthesis"]["route"]["difficulty"]["threshold"] == 0.5


def test_a_reason_never_lands_inside_a_text_of_several_lines(policy: Path, tmp_path: Path) -> None:
    step = "{why: 'two\n    lines', cascade: [small, large], route: {difficulty: {threshold: 0.42}}}"
    policy.write_text(WRITTEN.partition("steps:")[0] + f"steps:\n  synthesis: {step}\n")
    write_tuned(policy, tmp_path / "tuned.yaml", [Change(AT, 0.5, "saves")], day=DAY)
    assert Policy.load(tmp_path / "tuned.yaml").step("synthesis").why == "two lines"
    assert (tmp_path / "tuned.yaml").read_text().splitlines()[-1].startswith("# tuned")


def test_a_number_that_two_places_share_is_changed_in_one(policy: Path, tmp_path: Path) -> None:
    shared = WRITTEN.replace("{difficulty: {threshold: 0.42}}", "&hard {difficulty: {threshold: 0.42}}")
    policy.write_text(shared + "  extraction: {cascade: [small, large], route: *hard}\n")
    told = write_tuned(policy, tmp_path / "tuned.yaml", [Change(AT, 0.5, "saves")], day=DAY)
    tuned = Policy.load(tmp_path / "tuned.yaml")
    assert tuned.step("synthesis").route.difficulty.threshold == 0.5
    assert tuned.step("extraction").route.difficulty.threshold == 0.42
    assert "not carried over" in told


def test_evidence_cannot_write_policy(policy: Path, tmp_path: Path) -> None:
    write_tuned(policy, tmp_path / "tuned.yaml", [Change(AT, 0.5, "a\nbudget: {per_day_usd: 1}")], day=DAY)
    assert "budget" not in read(tmp_path / "tuned.yaml")


def test_what_cannot_be_written_is_said_and_nothing_is(policy: Path, tmp_path: Path) -> None:
    target = tmp_path / "tuned.yaml"
    with pytest.raises(ValueError, match="stands nowhere"):
        write_tuned(policy, target, [Change(("steps", "planning", "repair"), 1, "x")], day=DAY)
    with pytest.raises(PolicyError, match="threshold"):
        write_tuned(policy, target, [Change(AT, 7.0, "x")], day=DAY)
    with pytest.raises(ValueError, match=r"tuned\.yaml"):
        write_tuned(policy, tmp_path / "tuned.toml", [], day=DAY)
    assert not target.exists()
    with pytest.raises(FileExistsError, match="overwrite"):
        write_tuned(policy, policy, [], day=DAY)
