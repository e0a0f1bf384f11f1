"""What is kept of a decision: every field, whole and readable again, on both databases."""

import json
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from scenes import BAD, GOOD, USAGE, policy, routed
from sqlalchemy import inspect, text
from synthetic import decisions
from tables_described import documentation

from langroute import Ledger, RoutedChatModel, add_routed_step, routed_step
from langroute.ledger.migrations import MIGRATIONS
from langroute.ledger.records import DecisionRecord
from langroute.ledger.rows import COLUMNS, TABLES, row_of
from langroute.ledger.store import Store, _checked
from langroute.testing import ScriptedChatModel, capture_decisions


class About(MessagesState):
    topic: str


DOCS = Path(__file__).parents[2] / "langroute" / "ledger" / "TABLES.md"


@pytest.fixture(params=["sync", "async"])
def ledger(request: pytest.FixtureRequest, database_url: str) -> Iterator[Ledger]:
    with Ledger(database_url, writing=request.param) as opened:
        yield opened


def kept(ledger: Ledger, **wanted: Any) -> list[DecisionRecord]:
    assert ledger.flush(30)
    return list(ledger.decisions(**wanted))


def test_description_of_the_tables_is_that_of_the_records() -> None:
    assert DOCS.read_text() == documentation(), (
        "python tests/ledger/tables_described.py > langroute/ledger/TABLES.md"
    )


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_every_field_is_a_column_and_every_column_a_field(kind: type[Any], database_url: str) -> None:
    with Ledger(database_url) as ledger, ledger.store.statements() as connection:
        found = [column["name"] for column in inspect(connection).get_columns(TABLES[kind])]
    assert tuple(found) == COLUMNS[kind]


def test_escalated_reply_is_kept_with_both_attempts_and_its_whole_bill(ledger: Ledger) -> None:
    before_s = time.time()
    with capture_decisions() as decisions:
        reply = routed(ledger, small=BAD).invoke("When was the cable laid?")
    [record] = kept(ledger)
    assert record.id == reply.response_metadata["langroute"]["call_id"] == decisions[0].call_id
    assert before_s <= record.decided_at_s <= time.time()
    assert (record.step, record.step_source, record.outcome) == ("answer", "said", "accepted")
    assert (record.tier, record.endpoint, record.model) == ("large", "large", "large")
    assert record.cost_usd == pytest.approx(840e-6 + 8_400e-6) == decisions[0].cost_usd
    draft, answer = record.attempts
    assert (draft.why, draft.outcome, draft.returned) == ("start", "rejected", 0)
    assert (answer.why, answer.outcome, answer.returned) == ("escalation", "accepted", 1)
    assert [(a.input_tokens, a.cache_read_tokens, a.output_tokens) for a in (draft, answer)] == [
        (1_000, 400, 100)
    ] * 2
    assert (draft.cost_usd, draft.cost_basis) == (pytest.approx(840e-6), "priced")
    assert draft.verdicts[0]["reason"] == decisions[0].attempts[0].verdicts[0].reason


def test_a_reported_cost_is_kept_as_such_beside_baselines_by_price(ledger: Ledger) -> None:
    said = AIMessage(GOOD, usage_metadata=USAGE, response_metadata={"cost": 0.25})
    routed(ledger, small=[said]).invoke("When was the cable laid?")
    [record] = kept(ledger)
    [attempt] = record.attempts
    assert (attempt.cost_usd, attempt.cost_basis, attempt.input_tokens) == (0.25, "reported", 1_000)
    assert record.baselines == pytest.approx({"small": 840e-6, "large": 8_400e-6})


def test_plan_features_and_digests_are_kept(ledger: Ledger) -> None:
    model = routed(ledger)
    model.invoke("Why and when was the cable laid?")
    [record] = kept(ledger)
    assert record.plan["reasons"] == ["answer is bound to small, then large"]
    assert [rung["tier"] for rung in record.plan["rungs"]] == ["small", "large"]
    assert record.policy == model.policy.digest
    assert 0 < record.difficulty < 1
    assert record.features["reasoning"] == 1.0
    assert len(record.request) == 64


def test_the_template_of_a_prompt_is_known_again_by_its_system_messages(ledger: Ledger) -> None:
    model = routed(ledger)
    for system, question in (("Be brief.", "Why?"), ("Be brief.", "When?"), ("Be exact.", "Why?")):
        model.invoke([("system", system), ("human", question)])
    model.invoke("Why?")
    first, same, other, without = kept(ledger)
    assert first.template == same.template != other.template
    assert (len(first.template), without.template) == (16, None)


TEMPLATES = (
    ("About {topic}.", "On {topic}."),
    (ChatPromptTemplate([("human", "About {topic}.")]), ChatPromptTemplate([("human", "On {topic}.")])),
    (PromptTemplate.from_template("About {topic}."), PromptTemplate.from_template("On {topic}.")),
)


@pytest.mark.parametrize("prompts", TEMPLATES, ids=["format string", "chat template", "template"])
def test_the_template_of_a_drawn_step_is_its_prompt_whatever_fills_it(
    prompts: Any, database_url: str
) -> None:
    with Ledger(database_url) as ledger:
        for prompt in prompts:
            step = routed_step("answer", routed(ledger), prompt=prompt, state_schema=About)
            for topic in ("cables", "ships"):
                step.invoke({"topic": topic})
        found = [record.template for record in kept(ledger)]
    assert found[0] == found[1] != found[2] == found[3]
    assert None not in found


def test_the_digest_of_the_checks_changes_with_their_settings(database_url: str) -> None:
    with Ledger(database_url) as ledger:
        for verify in (
            ["no_refusal"],
            ["no_refusal"],
            [{"length": {"max_chars": 500}}],
            [{"length": {"max_chars": 600}}],
        ):
            routed(ledger, step={"verify": verify}).invoke("Hi")
        found = [record.checks for record in kept(ledger)]
    assert found[0] == found[1]
    assert len({*found}) == 3


def test_an_older_ledger_is_brought_forward_with_what_it_holds(database_url: str) -> None:
    older = Store(_checked(database_url))
    older.migrate(MIGRATIONS[:4])
    columns = [name for name in COLUMNS[DecisionRecord] if name not in ("template", "checks")]
    [made] = decisions(1)
    row = dict(zip(COLUMNS[DecisionRecord], row_of(made), strict=True))
    marks = ", ".join(f":{name}" for name in columns)
    with older.transaction() as connection:
        asked = f"INSERT INTO langroute_decisions ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
        connection.execute(text(asked), {name: row[name] for name in columns})
    older.close()
    with Ledger(database_url) as ledger:
        [record] = ledger.decisions()
    assert (record.id, record.template, record.checks) == (made.id, None, None)


def test_baselines_are_the_same_tokens_and_cache_at_the_price_of_each_tier(ledger: Ledger) -> None:
    routed(ledger).invoke("Hi")
    [record] = kept(ledger)
    assert record.baselines == {"small": pytest.approx(840e-6), "large": pytest.approx(8_400e-6)}
    assert list(record.baselines) == ["small", "large"]
    assert record.top_usd == record.baselines["large"]


def test_baseline_of_a_tier_is_that_of_its_first_endpoint_with_a_known_price(ledger: Ledger) -> None:
    unpriced, top = ScriptedChatModel(name="unpriced", reply=GOOD), policy()["tiers"]["large"]["models"][0]
    tiers = policy()["tiers"] | {"large": {"models": [unpriced, top]}, "none": {"models": [unpriced]}}
    RoutedChatModel(policy(tiers=tiers), ledger=ledger).for_step("answer").invoke("Hi")
    [record] = kept(ledger)
    assert record.baselines == pytest.approx({"small": 840e-6, "large": 8_400e-6, "none": None})


def test_failed_decision_is_kept_and_has_nothing_to_save(ledger: Ledger) -> None:
    down = [ConnectionError("down")] * 2
    with pytest.raises(ExceptionGroup):
        routed(ledger, small=down, large=down).invoke("Hi")
    [record] = kept(ledger)
    assert (record.outcome, record.tier, record.top_usd) == ("failed", None, 0.0)
    assert [attempt.failure_kind for attempt in record.attempts] == ["connection"] * 2
    assert record.attempts[0].failure["remedy"] == "next_endpoint"


async def test_decisions_of_an_event_loop_are_kept(ledger: Ledger) -> None:
    reply = await routed(ledger).ainvoke("Hi")
    assert [record.id for record in kept(ledger)] == [reply.response_metadata["langroute"]["call_id"]]


@pytest.mark.parametrize("said", ["off", "digest", "redacted", "full"])
def test_texts_are_kept_as_the_policy_says(said: str, ledger: Ledger) -> None:
    secret = "sk-" + "a1" * 16  # nobody's key
    routed(ledger, ledger={"text": said}).invoke(f"My key is {secret}.")
    [record] = kept(ledger)
    assert record.text_kept == said
    shown = json.dumps([record.prompt, record.reply])
    assert (secret in shown) == (said == "full")
    assert (GOOD in shown) == (said in ("redacted", "full"))
    if said == "redacted":
        assert record.prompt == [{"role": "human", "text": "My key is [redacted]."}]
    if said == "digest":
        assert (record.prompt, len(record.reply)) == (record.request, 64)
    if said == "off":
        assert (record.prompt, record.reply) == (None, None)


def test_texts_are_off_by_default_in_every_table(ledger: Ledger) -> None:
    routed(ledger).invoke("Zanzibar")
    kept(ledger)
    with ledger.store.statements() as connection:
        for table in TABLES.values():
            for row in connection.execute(text(f"SELECT * FROM {table}")):  # noqa: S608 - our own names
                assert "Zanzibar" not in str(row)
                assert GOOD not in str(row)


# Whose it was --------------------------------------------------------------------------------------------


def graph_of(ledger: Ledger, form: str) -> Any:
    model = routed(ledger)
    builder = StateGraph(MessagesState)
    if form == "drawn":
        add_routed_step(builder, "answer", model)
    else:
        builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("form", ["drawn", "node"])
def test_run_thread_and_node_of_a_graph_are_kept(form: str, ledger: Ledger) -> None:
    run = uuid4()
    graph = graph_of(ledger, form)
    config = {"run_id": run, "configurable": {"thread_id": "t-1"}}
    graph.invoke({"messages": "Hi"}, config)
    [record] = kept(ledger)
    assert (record.thread, record.run, record.node) == ("t-1", str(run), "answer")
    assert record.request is not None
    assert record.outcome == "accepted"


@pytest.mark.parametrize("form", ["drawn", "node"])
def test_invocation_without_a_run_id_is_one_run_and_the_next_another(form: str, ledger: Ledger) -> None:
    graph = graph_of(ledger, form)
    for _ in range(2):
        graph.invoke({"messages": "Hi"}, {"configurable": {"thread_id": "t"}})
    runs = [record.run for record in kept(ledger, thread="t")]
    assert None not in runs
    assert len(set(runs)) == 2


def test_run_and_keys_are_what_the_metadata_says(ledger: Ledger) -> None:
    model = routed(ledger, ledger={"keys": ["tenant"]})
    model.invoke("Hi", {"metadata": {"langroute_run": "r-1", "tenant": "acme", "other": "kept out"}})
    [record] = kept(ledger, run="r-1")
    assert record.keys == {"tenant": "acme"}


# One line ------------------------------------------------------------------------------------------------


def test_environment_names_the_ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGROUTE_LEDGER", database_url)
    reply = routed(None).invoke("Hi")
    with Ledger(database_url) as ledger:
        [record] = kept(ledger)
    assert record.id == reply.response_metadata["langroute"]["call_id"]


def test_a_path_names_a_sqlite_file(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a.db") as ledger:
        routed(ledger).invoke("Hi")
        assert len(kept(ledger)) == 1
    assert (tmp_path / "a.db").is_file()


def test_fields_that_a_filter_has_are_fields_of_the_record() -> None:
    from langroute.ledger.reading import Filter

    names = {field.name for field in fields(Filter)} - {"since_s", "until_s", "scored"}
    assert names <= set(COLUMNS[DecisionRecord])


def test_filters_give_what_they_say_and_time_runs_forward(ledger: Ledger) -> None:
    model = routed(ledger, small=[BAD, GOOD, GOOD])
    for number in range(3):
        model.invoke("Hi", {"metadata": {"thread_id": f"t-{number}"}})
    records = kept(ledger)
    assert [record.thread for record in records] == ["t-0", "t-1", "t-2"]
    middle = records[1]
    assert kept(ledger, tier="large") == records[:1]
    assert kept(ledger, thread="t-1") == kept(ledger, id=middle.id) == [middle]
    assert kept(ledger, since_s=middle.decided_at_s) == records[1:]
    assert kept(ledger, until_s=middle.decided_at_s) == records[:1]
    assert kept(ledger, step="other") == []
