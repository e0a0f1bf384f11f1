"""A routed step as LangGraph nodes: every escalation, repair, fallback and approval is a branch you can see.

One spec, three forms: `add_routed_step` draws the nodes into your own graph, `routed_step` compiles
them into a graph of their own, and a plain node around `RoutedChatModel` needs nothing from here.
Each node makes one call or one judgement, and the next is where `next_move` says. Plan and attempts
stand in a private channel as plain JSON types, so a resumed run makes the move it would have made.
A step whose input is blamed leads back to the step that gave it: see `langroute.upstream`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from langroute import drive
from langroute.admission import penniless
from langroute.cascade import Accept, Call, Move, Plan, Redo, Stop, next_move
from langroute.decision import StepAnswer
from langroute.effects import Flow
from langroute.endings import obituary
from langroute.errors import FailedCall, NoEndpointAvailable, RejectedReply
from langroute.following import Cascade
from langroute.once import made_once
from langroute.request import Request
from langroute.runs import shown_already
from langroute.saved import Mark, Saved
from langroute.spec import StepSpec
from langroute.upstream import above, blamers, blaming, with_blame
from langroute.ways import ways
from langroute.wiring import (
    Work,
    as_one,
    carries_messages,
    channel_schema,
    output_schema,
    state_of,
    steps_drawn,
)

__all__ = ["add_routed_step", "route_node", "routed_step", "tier_edge"]


def add_routed_step(
    builder: StateGraph[Any, Any, Any, Any],
    name: str,
    policy: Any,
    *,
    step: str | None = None,
    prompt: Any = None,
    output: str = "messages",
    schema: Any = None,
    tools: Sequence[Any] = (),
    documents: Any = None,
    answer_store: Any = None,
    functions: Any = None,
) -> None:
    """Draw a routed step into a graph; edges to and from `name` lead into the step and out of it.

    Args:
        builder: The graph; its state may be a TypedDict, a dataclass or a pydantic model.
        name: The step's first node. The others are `name.tier.endpoint`, `name.verify.tier`,
            `name.repair.tier`, `name.approve`, `name.accept` and `name.fail`.
        policy: A `Policy`, a path, a mapping, or a `RoutedChatModel` to share its endpoints.
        step: The step of the policy; when not given the one called `name`, or whose `nodes` match it.
        prompt: A function of the state, a prompt template, or a format string over the state's keys,
            that gives messages or text; without it the state's `messages` are sent.
        output: State key that gets the reply: `messages` a message (of an object, its JSON), any other
            the text, or with `schema` the object.
        schema: What the reply must be, as for `with_structured_output`.
        tools: Tools to bind.
        documents: Sources that the reply may cite: a function of the state, or a state key.
        answer_store: A URL as `langroute.ledger.open_store` takes it, or what that returned. Every reply is
            committed there before its node returns, for a week, so that a run that is killed and resumed
            does not pay for it again; off when not given, and without effect in a run without a thread.
        functions: As in `RoutedChatModel`; a `RoutedChatModel` that is given as the policy has its own.

    Raises:
        PolicyError: The policy cannot work.
        ValueError: Tools and a schema are both given; the state has no key `output`, or none of those that
            prompt or documents are read from; or the policy lets the step `blame` one that is not drawn into
            the builder before it, once.
        LedgerError: The answer store cannot be opened.
    """
    spec = StepSpec.of(name, policy, step, prompt, output, schema, tools, documents, answer_store, functions)
    _Drawing(builder, blaming(builder, spec.into(builder.state_schema))).draw()


def routed_step(
    step: str,
    policy: Any,
    *,
    state_schema: Any = None,
    **how: Any,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return a routed step as a compiled graph, to be added as one node or called on its own.

    It gives the state's `output` key and nothing else, so that several may run side by side (`Send`).

    Args:
        step: The step of the policy.
        policy: As in `add_routed_step`, and so are the other keywords.
        state_schema: State of the graph around it; `langgraph.graph.MessagesState` when not given.
        **how: `prompt`, `output`, `schema`, `tools`, `documents`, `answer_store`, `functions`.
    """
    if state_schema is None:
        from langgraph.graph import MessagesState

        state_schema = MessagesState
    output = output_schema(state_schema, how.get("output", "messages"))
    builder = StateGraph(state_schema, output_schema=output)
    _Drawing(builder, StepSpec.of(step, policy, step, **how).into(state_schema)).draw()
    return builder.add_edge(START, step).add_edge(step, END).compile(name=step)


def route_node(
    policy: Any, *, step: str | None = None, prompt: Any = None, output: str = "route", functions: Any = None
) -> RunnableLambda[Any, dict[str, Any]]:
    """Return a node for a graph of your own: it decides, calls nothing, and writes down the binding.

    Args:
        policy: As in `add_routed_step`.
        step: The step of the policy; without it, it is told from the node and the prompt.
        prompt: As in `add_routed_step`.
        output: State key that gets `{"step", "source", "tier", "endpoint", "reason"}`.
        functions: As in `add_routed_step`.
    """
    spec = replace(StepSpec.of("route", policy, step, prompt, output, functions=functions), step=step)

    def decided(made: tuple[StepAnswer, Plan]) -> dict[str, Any]:
        answer, plan = made
        first = plan.rungs[0]
        return {
            output: {
                "step": answer.step,
                "source": answer.source,
                "tier": first.tier,
                "endpoint": first.choices[0].endpoint,
                "reason": "; ".join(plan.reasons),
            }
        }

    def run(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return decided(drive.run(spec.prepare(state, config).decide()))

    async def arun(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return decided(await drive.arun(spec.prepare(state, config).decide()))

    return RunnableLambda(run, arun, name="langroute route")


def tier_edge(key: str = "route") -> Callable[[Any], str]:
    """Return the edge function that branches on the tier a `route_node` wrote under `key`.

    Use it as `builder.add_conditional_edges("route", tier_edge(), {"small": "draft", "large": "think"})`.
    """

    def tier(state: Any) -> str:
        written = state[key] if isinstance(state, Mapping) else getattr(state, key)
        return str(written["tier"])

    return tier


@dataclass(frozen=True)
class _Drawing:
    """One step on its way into a builder."""

    builder: StateGraph[Any, Any, Any, Any]
    spec: StepSpec

    def draw(self) -> None:
        """Add the nodes, and lead edges that leave the step out of its last node."""
        nodes = self.spec.nodes
        self._node(nodes.start, self._start)
        for tier, endpoints in nodes.endpoints.items():
            for node in (*endpoints.values(), *nodes.repairs(tier)):
                self._node(node, self._call)
            if tier in nodes.judged:
                self._node(nodes.verify(tier), self._verify)
        # The limit is the whole policy's, and a step of one tier never escalates past it.
        if nodes.asks and (len(nodes.endpoints) > 1 or nodes.approve in self._ways):
            self._node(nodes.approve, self._approve)
        self._node(nodes.accept, self._accept)
        self._node(nodes.fail, self._fail)
        steps_drawn(self.builder).append(self.spec)
        if self.spec.earlier is not None:
            for node, ends in self._ways_of(self.spec.earlier, blamed=True).items():
                self.builder.nodes[node].ends = dict(ends)
        as_one(self.builder, nodes.start, nodes.accept, self.spec.channel)

    @cached_property
    def _ways(self) -> Mapping[str, Mapping[str, str]]:
        """Where each node may lead, with the labels; `fail` raises, so the graph ends there."""
        return {**self._ways_of(self.spec), self.spec.nodes.fail: {END: "raised"}}

    def _ways_of(self, spec: StepSpec, *, blamed: bool = False) -> Mapping[str, Mapping[str, str]]:
        asked = not isinstance(spec.prompt, str) and carries_messages(self.builder.state_schema)
        return ways(spec, conversing=spec.prompt is None or asked, blamed=blamed)

    def _node(self, node: str, work: Any) -> None:
        """Add a node that runs `work`, a flow over the state, in sync and async runs alike."""
        spec, state_schema = self.spec, self.builder.state_schema

        def visit(values: Mapping[str, Any], config: RunnableConfig) -> Flow[Any]:
            flow: Flow[Any] = work(_Visit(spec.in_arm(values, config), state_schema, values, config))
            return flow

        self.builder.add_node(
            node,
            Work(visit, f"langroute {node}"),
            input_schema=channel_schema(state_schema, *spec.channels),
            destinations=dict(self._ways.get(node, {})),
        )

    def _start(self, visit: "_Visit") -> Flow[Command[Any]]:
        """Find the step and plan it; a blamed step that can do no better lets stand what it gave before."""
        began = Mark.read(visit.values.get(visit.spec.channel)).terms
        cascade = visit.cascade(Saved(began=began))
        try:
            answer, plan = yield from cascade.decide()
        except NoEndpointAvailable:
            if began.blamed is None:
                raise
            return visit.stand(began)
        higher = plan if began.blamed is None else above(visit.spec, plan, began)
        if higher is None:
            return visit.stand(began)
        if visit.spec.blame is not None:
            higher = with_blame(self.builder, visit.spec, higher, began, visit.values)
        return visit.go(Saved(cascade.call_id, answer, higher, began=began, began_at_s=cascade.began_at_s))

    def _call(self, visit: "_Visit") -> Flow[Command[Any]]:
        """Make the call that led here."""
        saved = visit.saved
        cascade = visit.cascade(saved)
        cascade.adopt(visit.spec.kept(saved.call_id, len(saved.attempts) - 1))
        judge = cascade.judged_by(saved.plan)
        making = made_once(visit.spec, saved, cascade, judge, visit.config)
        answered = yield from visit.watch(cascade, saved, making)
        if answered is None:
            if visit.must_raise(saved.tried(cascade)):
                raise cascade.last_error(saved.step_answer, saved.plan)
            return visit.go(saved.tried(cascade))
        if answered.move.tier in visit.spec.nodes.judged:
            return Command(
                update={visit.spec.channel: saved.answered(answered).plain()},
                goto=visit.spec.nodes.verify(answered.move.tier),
            )
        yield from cascade.judge(judge, answered)
        return visit.go(saved.tried(cascade))

    def _verify(self, visit: "_Visit") -> Flow[Command[Any]]:
        """Judge the reply that came."""
        saved = visit.saved
        cascade = visit.cascade(saved)
        cascade.adopt(visit.spec.kept(saved.call_id, len(saved.attempts)))
        answered = saved.pending_answer(visit.spec.schema, visit.config)
        yield from visit.watch(cascade, saved, cascade.judge(cascade.judged_by(saved.plan), answered))
        return visit.go(saved.tried(cascade))

    def _approve(self, visit: "_Visit") -> Flow[Command[Any]]:
        """Ask a person, and go where the answer leads; a call that is dearer by now is asked for anew."""
        saved = visit.saved
        by_name = visit.spec.model.router.endpoints.by_name
        models = {name: endpoint.model_name for name, endpoint in by_name.items()}
        answer = interrupt(saved.question(models))
        while (move := saved.answer_to(answer)) is None:
            answer = interrupt(saved.question(models, refused=answer))
        if isinstance(move, Call) and move.endpoint in by_name:
            now_usd = visit.cascade(saved).expected_usd(move, saved.plan.step)
            move = saved.dearer(move, now_usd) or move
        return visit.follow(saved, move)
        yield  # pragma: no cover - makes this a flow; nothing is waited for

    def _accept(self, visit: "_Visit") -> Flow[dict[str, Any]]:
        """Hand the accepted reply over to the state, if it has one: an earlier one may stand."""
        if Mark.stands_in(visit.values[visit.spec.channel]):
            return {}
        saved = visit.saved
        accept, cascade = cast("Accept", saved.move), visit.ended(saved)
        outcome = "best" if accept.best else "accepted"
        decision = cascade.decision(saved.step_answer, saved.plan, outcome, accept.attempt)
        update = yield from visit.spec.hand_over(cascade, decision, visit.config)
        return visit.marked(update, saved) if blamers(self.builder, self.spec) else update

    def _fail(self, visit: "_Visit") -> Flow[None]:
        """Raise what every attempt came to."""
        saved = visit.saved
        cascade = visit.ended(saved)
        errors = [(RejectedReply if a.failure is None else FailedCall)(a.account) for a in saved.attempts]
        error = obituary(saved.plan, saved.attempts, errors)
        visit.spec.forget(cascade.call_id)
        cascade.report(error, saved.step_answer, saved.plan)
        raise error
        yield  # pragma: no cover - as above


@dataclass(frozen=True)
class _Visit:
    """One node's run: the state as the person wrote it, and what the step has saved in its channel."""

    spec: StepSpec
    state_schema: Any
    values: Mapping[str, Any] = field(repr=False)
    config: RunnableConfig = field(repr=False)

    @property
    def saved(self) -> Saved:
        return Saved.load(self.values[self.spec.channel], self.spec.schema)

    def cascade(self, saved: Saved) -> Cascade:
        """Return the step's cascade, as far as it has come; a blamed step does not read its own reply."""
        values, before = self.values, saved.began.message_id
        if before is not None:
            values = {**values, "messages": [m for m in values["messages"] if m.id != before]}
        state = state_of(self.state_schema, values, *self.spec.channels)
        return saved.resume(self.spec.prepare(state, self.config))

    def ended(self, saved: Saved) -> Cascade:
        """Return the step's cascade when nothing more is called; only a ledger wants the prompt again."""
        if self.spec.model.router.keeper is not None:
            with suppress(Exception):
                return self.cascade(saved)
        return saved.resume(Cascade(self.spec.model.router, Request(()), self.config))

    def watch(self, cascade: Cascade, saved: Saved, work: Flow[Any]) -> Flow[Any]:
        """Do a call or a judgement; a decision ended from outside is told of, and anew if it is resumed."""
        try:
            return (yield from work)
        except BaseException as error:
            if not isinstance(error, GraphInterrupt):  # an interrupt ends nothing: the run stands still there
                cascade.report(error, saved.step_answer, saved.plan)
            raise

    def go(self, saved: Saved) -> Command[Any]:
        """Return the way on, as `next_move` says."""
        return self.follow(saved, next_move(saved.plan, saved.attempts))

    def follow(self, saved: Saved, move: Move) -> Command[Any]:
        """Return the way to what `move` says."""
        if isinstance(move, Redo):
            return self._go_back(saved)
        if isinstance(move, Stop) and saved.began.blamed is not None:
            self._tell(saved, move.reason)
            return self.stand(saved.left(saved.began.message_id))
        update = {self.spec.channel: saved.moving(move).plain()}
        return Command(update=update, goto=self.spec.nodes.of_move(move))

    def must_raise(self, saved: Saved) -> bool:
        """Whether the last call's own error ends the run; not where a reply stands and none was shown."""
        last, move = saved.attempts[-1], next_move(saved.plan, saved.attempts)
        if penniless(saved.attempts) and isinstance(move, Stop):
            return saved.began.blamed is None
        if move != Stop("stopped"):
            return False
        shown = last.failure is not None and last.failure.remedy in ("raise", "continue")
        return saved.began.blamed is None or shown

    def stand(self, mark: Mark) -> Command[Any]:
        """Return the way on for a blamed step that gives nothing new."""
        update = {self.spec.channel: replace(mark, blamed=None).plain()}
        return Command(update=update, goto=self.spec.nodes.accept)

    def _go_back(self, saved: Saved) -> Command[Any]:
        """Return the way to the step that is blamed; what this visit has cost is told of here."""
        self._tell(saved, "blamed")
        earlier = cast("StepSpec", self.spec.earlier)
        given = Mark.read(self.values.get(earlier.channel))
        found = next(v.reason for v in saved.attempts[-1].verdicts if v.blames_input and not v.accepted)
        order = replace(given, blamed=f"{saved.plan.step} blames its input ({found})")
        own = replace(saved.began, went_back=saved.call_id)
        update = {self.spec.channel: own.plain(), earlier.channel: order.plain()}
        return Command(update=update, goto=earlier.nodes.start)

    def _tell(self, saved: Saved, outcome: str) -> None:
        """Tell of a visit that ends without a reply."""
        cascade = self.ended(saved)
        cascade.tell(cascade.decision(saved.step_answer, saved.plan, outcome))
        self.spec.forget(saved.call_id)

    def marked(self, update: dict[str, Any], saved: Saved) -> dict[str, Any]:
        """Return the update with the mark that a step which may be blamed leaves.

        A better message takes the place of the one it gave before, where the state's reducer goes by ids.
        """
        if self.spec.output != "messages":
            return {**update, self.spec.channel: saved.left().plain()}
        (message,) = update["messages"]
        if (before := saved.began.message_id) is not None:
            message = message.model_copy(update={"id": before})
            shown_already(self.config, before)
        return {"messages": [message], self.spec.channel: saved.left(message.id).plain()}
