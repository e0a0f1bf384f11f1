"""A routed step as LangGraph nodes: every escalation, repair, fallback and approval is a branch you can see.

One spec, three forms: `add_routed_step` draws the nodes into your own graph, `routed_step` compiles
them into a graph of their own, and a plain node around `RoutedChatModel` needs nothing from here.
Each node makes one call or one judgement, and the next is where `next_move` says. Plan and attempts
stand in a private channel as plain JSON types, so a resumed run makes the move it would have made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from langroute import drive
from langroute.cascade import Accept, Call, Move, Plan, Stop, next_move
from langroute.decision import StepAnswer
from langroute.effects import Flow
from langroute.errors import FailedCall, RejectedReply
from langroute.following import Cascade, obituary
from langroute.request import Request
from langroute.saved import Saved
from langroute.spec import StepSpec
from langroute.wiring import channel_schema, redirect_edges, state_of

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
) -> None:
    """Draw a routed step into a graph; edges to and from `name` lead into the step and out of it.

    Args:
        builder: The graph; its state may be a TypedDict, a dataclass or a pydantic model.
        name: The step's first node. The others are `name.tier.endpoint`, `name.verify.tier`,
            `name.repair.tier`, `name.approve`, `name.accept` and `name.fail`.
        policy: A `Policy`, a path, a mapping, or a `RoutedChatModel` to share its endpoints.
        step: The step of the policy; `name` when not given.
        prompt: A function of the state, a prompt template, or a format string over the state's keys,
            that gives messages or text; without it the state's `messages` are sent.
        output: State key that gets the reply: `messages` a message, any other its text, or with
            `schema` the object.
        schema: What the reply must be, as for `with_structured_output`.
        tools: Tools to bind.
        documents: Sources that the reply may cite: a function of the state, or a state key.

    Raises:
        PolicyError: The policy cannot work.
    """
    spec = StepSpec.of(name, policy, step, prompt, output, schema, tools, documents)
    _Drawing(builder, spec).draw()


def routed_step(
    step: str,
    policy: Any,
    *,
    state_schema: Any = None,
    **how: Any,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return a routed step as a compiled graph, to be added as one node or called on its own.

    Args:
        step: The step of the policy.
        policy: As in `add_routed_step`, and so are the other keywords.
        state_schema: State of the graph around it; `langgraph.graph.MessagesState` when not given.
        **how: `prompt`, `output`, `schema`, `tools`, `documents`.
    """
    if state_schema is None:
        from langgraph.graph import MessagesState

        state_schema = MessagesState
    builder = StateGraph(state_schema)
    add_routed_step(builder, step, policy, **how)
    builder.add_edge(START, step)
    builder.add_edge(step, END)
    return builder.compile(name=step)


def route_node(
    policy: Any, *, step: str | None = None, prompt: Any = None, output: str = "route"
) -> RunnableLambda[Any, dict[str, Any]]:
    """Return a node for a graph of your own: it decides, calls nothing, and writes down the binding.

    Args:
        policy: As in `add_routed_step`.
        step: The step of the policy; without it, it is told from the node and the prompt.
        prompt: As in `add_routed_step`.
        output: State key that gets `{"step", "source", "tier", "endpoint", "reason"}`.
    """
    spec = StepSpec.of("route", policy, step, prompt, output, None, (), None)
    if step is None:
        spec = replace(spec, step=None)

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
        self._node(nodes.start, self._start, dict.fromkeys(nodes.calls, "planned"))
        for tier, endpoints in nodes.endpoints.items():
            for node in (*endpoints.values(), *nodes.repairs(tier)):
                self._node(node, self._call, self._after_call(node, tier))
            if self.spec.judged:
                self._node(nodes.verify(tier), self._verify, self._after_verdict(tier))
        if nodes.asks:
            self._node(nodes.approve, self._approve, self._after_approval())
        self._node(nodes.accept, self._accept, {})
        self._node(nodes.fail, self._fail, {})
        redirect_edges(self.builder, nodes.start, nodes.accept)

    def _after_call(self, node: str, tier: str) -> dict[str, str]:
        """Return where a call's node may lead, each with its label."""
        nodes = self.spec.nodes
        came = {nodes.verify(tier): "answered"} if self.spec.judged else {nodes.accept: "accepted"}
        others = {other: "failed" for other in nodes.calls if nodes.may_follow(node, tier, other)}
        best = {nodes.accept: "failed"} if self.spec.judged else {}
        return {**others, nodes.fail: "failed", **best, **nodes.asking("failed"), **came}

    def _after_verdict(self, tier: str) -> dict[str, str]:
        nodes = self.spec.nodes
        above = {other: "rejected" for other in nodes.calls if nodes.is_above(tier, other)}
        repair = dict.fromkeys(nodes.repairs(tier), "rejected")
        return {
            **repair,
            **above,
            nodes.fail: "rejected",
            **nodes.asking("rejected"),
            nodes.accept: "accepted",
        }

    def _after_approval(self) -> dict[str, str]:
        nodes = self.spec.nodes
        return {**dict.fromkeys(nodes.calls, "approved"), nodes.accept: "refused", nodes.fail: "refused"}

    def _node(self, node: str, work: Any, destinations: Mapping[str, str]) -> None:
        """Add a node that runs `work`, a flow over the state, in sync and async runs alike."""
        spec, state_schema = self.spec, self.builder.state_schema

        def run(values: Mapping[str, Any], config: RunnableConfig) -> Any:
            return drive.run(work(_Visit(spec, state_of(state_schema, values, spec.channel), values, config)))

        async def arun(values: Mapping[str, Any], config: RunnableConfig) -> Any:
            return await drive.arun(
                work(_Visit(spec, state_of(state_schema, values, spec.channel), values, config))
            )

        self.builder.add_node(
            node,
            RunnableLambda(run, arun, name=f"langroute {node}"),
            input_schema=channel_schema(state_schema, spec.channel),
            destinations=dict(destinations),
        )

    def _start(self, visit: "_Visit") -> Flow[Command[Any]]:
        """Find the step and plan it."""
        cascade = visit.cascade(Saved())
        answer, plan = yield from cascade.decide()
        return visit.go(Saved(cascade.call_id, answer, plan))

    def _call(self, visit: "_Visit") -> Flow[Command[Any]]:
        """Make the call that led here."""
        saved = visit.saved
        cascade = visit.cascade(saved)
        judge = cascade.judged_by(saved.plan)
        answered = yield from cascade.make(judge, saved.plan, cast("Call", saved.move))
        visit.spec.keep(cascade, len(saved.attempts))
        if answered is None:
            if next_move(saved.plan, cascade.attempts) == Stop("stopped"):
                raise cascade.last_error(saved.step_answer, saved.plan)
            return visit.go(saved.tried(cascade))
        if visit.spec.judged:
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
        yield from cascade.judge(cascade.judged_by(saved.plan), answered)
        return visit.go(saved.tried(cascade))

    def _approve(self, visit: "_Visit") -> Flow[Command[Any]]:
        """Ask a person, and go where the answer leads."""
        saved = visit.saved
        answer = interrupt(saved.question())
        while (move := saved.answer_to(answer)) is None:
            answer = interrupt(saved.question(refused=answer))
        return visit.follow(saved, move)
        yield  # pragma: no cover - makes this a flow; nothing is waited for

    def _accept(self, visit: "_Visit") -> Flow[dict[str, Any]]:
        """Hand the accepted reply over to the state."""
        saved = visit.saved
        accept, cascade = cast("Accept", saved.move), visit.ended(saved)
        decision = cascade.decision(
            saved.step_answer, saved.plan, "best" if accept.best else "accepted", accept.attempt
        )
        return visit.spec.hand_over(cascade, decision, visit.config)
        yield  # pragma: no cover - as above

    def _fail(self, visit: "_Visit") -> Flow[None]:
        """Raise what every attempt came to."""
        saved = visit.saved
        cascade = visit.ended(saved)
        errors = [
            RejectedReply(attempt.account) if attempt.failure is None else FailedCall(attempt.account)
            for attempt in saved.attempts
        ]
        error = obituary(saved.plan, saved.attempts, errors)
        visit.spec.forget(cascade.call_id)
        cascade.report(error, saved.step_answer, saved.plan)
        raise error
        yield  # pragma: no cover - as above


@dataclass(frozen=True)
class _Visit:
    """One node's run: the state as the person wrote it, and what the step has saved in its channel."""

    spec: StepSpec
    state: Any
    values: Mapping[str, Any]
    config: RunnableConfig

    @property
    def saved(self) -> Saved:
        return Saved.load(self.values[self.spec.channel], self.spec.schema)

    def cascade(self, saved: Saved) -> Cascade:
        """Return the step's cascade, as far as it has come."""
        return saved.resume(self.spec.prepare(self.state, self.config))

    def ended(self, saved: Saved) -> Cascade:
        """Return the step's cascade when nothing is called any more: the prompt is not made again."""
        return saved.resume(Cascade(self.spec.model.router, Request(()), self.config))

    def go(self, saved: Saved) -> Command[Any]:
        """Return the way on, as `next_move` says."""
        return self.follow(saved, next_move(saved.plan, saved.attempts))

    def follow(self, saved: Saved, move: Move) -> Command[Any]:
        nodes = self.spec.nodes
        return Command(update={self.spec.channel: saved.moving(move).plain()}, goto=nodes.of_move(move))
