"""How replies are judged: which checks run, in which order, what they cost, and when a reply may be shown."""

from typing import Any, ClassVar, Literal

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel
from routed_models import BAD, GOOD, Runs, calls, down, routed

from langroute import RoutedChatModel
from langroute.cascade import Verdict, next_move
from langroute.judging import Judge
from langroute.request import Request
from langroute.testing import Answer, Fault, LoopbackProvider, ScriptedChatModel
from langroute.verifiers.base import Case, Verifier

JUDGE = {"judge": {"tier": "large", "rubric": "Does it name a year?"}}
FINE = {"reason": "it does", "score": 0.9}
POOR = {"reason": "it does not", "score": 0.1}


class Date(BaseModel):
    """A date."""

    year: int


def verdicts(reply: AIMessage, attempt: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = reply.response_metadata["langroute"]["attempts"][attempt]["verdicts"]
    return found


# Order ---------------------------------------------------------------------------------------------------


def test_every_free_check_runs_and_a_model_is_asked_last() -> None:
    verify = [JUDGE, "no_refusal", {"length": {"min_chars": 3}}]
    model = routed({"small-a": GOOD, "large-a": FINE}, cascade=["small"], verify=verify)
    assert [verdict["verifier"] for verdict in verdicts(model.invoke("When?"))] == [
        "no_refusal",
        "length",
        "judge",
    ]


def test_no_model_is_asked_about_a_reply_that_a_free_check_rejects() -> None:
    model = routed({"small-a": BAD, "large-a": FINE}, cascade=["small"], verify=[JUDGE, "no_refusal"])
    model.invoke("When?")
    assert calls(model) == {"small-a": 1, "large-a": 0}


def test_repair_hears_of_everything_that_free_checks_found() -> None:
    verify = ["no_refusal", {"length": {"min_chars": 500}}]
    model = routed({"small-a": [BAD, GOOD]}, verify=verify, repair=1)
    model.invoke("When?")
    told = model.router.endpoints.by_name["small-a"].model.calls[1].messages[-1].text
    assert told.count("\n- ") == 2


# Judges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_judge_decides_and_is_on_the_bill(way: str) -> None:
    model = routed(
        {"small-a": GOOD, "large-a": [POOR, "from large"]}, verify=[{"all_of": [JUDGE]}], cascade=["small"]
    )
    reply = await model.ainvoke("When?") if way == "async" else model.invoke("When?")
    (verdict,) = verdicts(reply)
    assert (verdict["accepted"], verdict["score"]) == (False, 0.1)
    (spend,) = verdict["spend"]
    assert (spend["purpose"], spend["endpoint"]) == ("judge", "large-a")
    record = reply.response_metadata["langroute"]
    assert record["cost_usd"] == pytest.approx(record["attempts"][0]["cost_usd"] + spend["cost_usd"])


@pytest.mark.parametrize("said", [down(), "no grade at all", {"score": 7}], ids=["down", "prose", "nonsense"])
def test_judge_that_gives_no_grade_rejects_and_kills_nothing(said: Any) -> None:
    model = routed({"small-a": GOOD, "large-a": said}, cascade=["small"], verify=[JUDGE])
    reply = model.invoke("When?")
    (verdict,) = verdicts(reply)
    assert (verdict["accepted"], verdict["unsure"]) == (False, True)
    assert reply.text == GOOD


def test_late_judge_rejects_and_the_run_goes_on() -> None:
    with LoopbackProvider({"judge": GOOD}) as provider:
        provider.fail("judge", Fault("hang"))
        judge = {"model": provider.chat_model("judge"), "name": "judge", "timeout_s": 0.1}
        small = ScriptedChatModel(name="small", reply=GOOD)
        tiers = {"small": [small], "large": [judge]}
        model = RoutedChatModel({"tiers": tiers, "default": {"cascade": ["small"], "verify": [JUDGE]}})
        (verdict,) = verdicts(model.invoke("When?"))
    assert (verdict["accepted"], verdict["unsure"]) == (False, True)


def test_unsure_verdict_escalates_without_a_repair() -> None:
    def broken(case: Any) -> bool:
        if case.tier == "small":
            raise OSError("the index is gone")
        return True

    model = routed({"small-a": GOOD, "large-a": GOOD}, verify=[broken], repair=2)
    record = model.invoke("When?").response_metadata["langroute"]
    assert [attempt["why"] for attempt in record["attempts"]] == ["start", "escalation"]


def test_judge_is_another_endpoint_than_the_judged() -> None:
    judge = {"judge": {"tier": "small", "rubric": "Does it name a year?"}}
    model = routed({"small-a": GOOD, "small-b": FINE}, verify=[judge])
    assert verdicts(model.invoke("When?"))[0]["spend"][0]["endpoint"] == "small-b"


def test_only_endpoint_of_a_tier_never_judges_itself() -> None:
    judge = {"judge": {"tier": "small", "rubric": "Does it name a year?"}}
    model = routed({"small-a": GOOD}, verify=[judge])
    (verdict,) = verdicts(model.invoke("When?"))
    assert (verdict["accepted"], verdict["unsure"]) == (False, True)
    assert "no endpoint beside small-a" in verdict["reason"]
    assert calls(model) == {"small-a": 1}


def test_self_rating_asks_the_very_endpoint() -> None:
    model = routed({"small-a": [GOOD, {"certainty": 0.9}]}, verify=[{"self_rated": 0.8}])
    assert verdicts(model.invoke("When?"))[0]["score"] == 0.9


def test_judges_run_is_a_child_of_the_attempt_and_says_its_purpose() -> None:
    runs = Runs()
    model = routed({"small-a": GOOD, "large-a": FINE}, verify=[JUDGE])
    model.invoke("When?", {"callbacks": [runs]})
    attempt, judge = runs.models
    assert judge["metadata"]["langroute_purpose"] == "judge"
    assert judge["metadata"]["langroute_attempt"] == attempt["metadata"]["langroute_attempt"]
    parents = {chain["run_id"]: chain["parent_run_id"] for chain in runs.chains}
    above = [judge["parent_run_id"]]  # the chain that reads the judge's schema lies between
    while parents[above[-1]] is not None:
        above.append(parents[above[-1]])
    assert attempt["parent_run_id"] in above
    assert "nostream" in judge["tags"]


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_model_called_by_a_check_of_ones_own_stands_under_the_attempt(way: str) -> None:
    runs, helper = Runs(), ScriptedChatModel(name="helper", reply="yes")

    def asks(case: Any) -> bool:
        return helper.invoke("Is it good?").text == "yes"

    model = routed({"small-a": GOOD, "large-a": GOOD}, verify=[asks])
    config: Any = {"callbacks": [runs]}
    await model.ainvoke("When?", config) if way == "async" else model.invoke("When?", config)
    assert len(runs.models) == 2
    assert set(runs.parents()) == {runs.chains[0]["run_id"]}


# Always --------------------------------------------------------------------------------------------------

RISKY = {"stakes": {"high": {"tier": "large"}, "tools": {"delete": "high"}}}


def delete(path: str) -> str:
    """Delete a file."""
    return path


def test_risky_call_of_a_low_tier_is_never_returned_not_even_as_the_best() -> None:
    call = Answer(tool_calls=(("delete", {"path": "/"}),))
    model = routed({"small-a": call, "large-a": down()}, policy=RISKY, cascade=["small", "large"])
    with pytest.raises(ExceptionGroup):
        model.bind_tools([delete]).invoke("Clean up.")


def test_risky_tool_that_is_not_called_demands_nothing() -> None:
    model = routed({"small-a": GOOD, "large-a": GOOD}, policy=RISKY)
    reply = model.bind_tools([delete]).invoke("Clean up.")
    assert reply.response_metadata["langroute"]["tier"] == "small"


# Commit points -------------------------------------------------------------------------------------------


def commit(model: RoutedChatModel, **request: Any) -> str:
    asked = Request((), step="answer", **request)
    plan = model.router.plan(asked)
    return Judge(model.router, asked, plan).commit_point(next_move(plan, ()), ())


COMMITS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("nothing can reject it", {}, {}, "start"),
    ("the first words tell", {"verify": ["no_refusal"]}, {}, "prefix"),
    ("the whole reply tells", {"verify": ["citations"]}, {}, "end"),
    ("one check needs the whole reply", {"verify": ["no_refusal", "citations"]}, {}, "end"),
    ("a judge needs the whole reply", {"verify": [JUDGE]}, {}, "end"),
    ("a schema", {}, {"schema": Date}, "end"),
    ("nothing can come instead", {"cascade": ["small"]}, {}, "thought"),
    ("a rejection changes nothing", {"cascade": ["small"], "verify": ["citations"]}, {}, "thought"),
    (
        "a rejection raises",
        {"cascade": ["small"], "verify": ["citations"], "on_exhausted": "raise"},
        {},
        "end",
    ),
    ("a repair may follow", {"cascade": ["small"], "verify": ["citations"], "repair": 1}, {}, "end"),
]


@pytest.mark.parametrize(("why", "step", "request_", "wanted"), COMMITS, ids=[case[0] for case in COMMITS])
def test_reply_is_shown_from(why: str, step: dict[str, Any], request_: dict[str, Any], wanted: str) -> None:
    assert commit(routed({"small-a": GOOD, "large-a": GOOD}, **step), **request_) == wanted


def test_risky_tools_hold_a_reply_to_its_end() -> None:
    assert commit(routed({"small-a": GOOD, "large-a": GOOD}, policy=RISKY), tools=(delete,)) == "end"


class Short(Verifier):
    """Says that it reads a prefix, and finds fault with what follows."""

    name: ClassVar[str] = "short"
    reads: ClassVar[Literal["prefix", "reply"]] = "prefix"

    def check(self, case: Case) -> Verdict:
        return self.rejects("too long") if len(case.text) > 400 else self.accepts("short")


def test_rejection_after_the_commit_point_is_noted_and_changes_nothing() -> None:
    long = "The log says that the cable was laid in 1866. " * 10
    model = routed({"small-a": long, "large-a": GOOD}, verify=[Short()])
    chunks: list[Any] = list(model.stream("When?"))
    reply = sum(chunks[1:], chunks[0])
    (verdict,) = verdicts(reply)
    assert (reply.text, verdict["accepted"]) == (long, True)
    assert verdict["reason"].startswith("found when the reply was already shown")
    assert model.invoke("When?").text == GOOD, "not streamed, the reply can still be replaced"


def test_failing_prefix_check_leaves_the_judgement_to_the_whole_reply() -> None:
    model = routed({"small-a": f"{BAD} " * 30, "large-a": GOOD}, verify=["no_refusal"])
    assert "".join(chunk.text for chunk in model.stream("When?")) == GOOD


def test_best_of_rejected_replies_is_the_one_with_most_checks_passed() -> None:
    def never(case: Any) -> Verdict:
        return Verdict("never", accepted=False, reason="no")

    model = routed({"small-a": GOOD, "large-a": BAD}, verify=["no_refusal", never])
    record = model.invoke("When?").response_metadata["langroute"]
    assert (record["outcome"], record["endpoint"]) == ("best", "small-a")
