"""What a ledger keeps: a decision, its attempts, its shadows, and what was said of it, field by field.

Every field is a column of the table of the same name, in this order; TABLES.md is generated from here.
JSON columns hold text in the database, and here plain Python values or langroute's own records. Money is in
USD, an unknown cost is None and never 0, times are in seconds, moments in Unix seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langroute.cost import total_usd

__all__ = ["AttemptRecord", "DecisionRecord", "FeedbackRecord", "ShadowRecord"]

Json = Any
"""A column that holds JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One model call made for a step: a row of `langroute_attempts`."""

    decision: str
    """Id of its decision."""
    number: int
    """Position among the decision's attempts, from 0."""
    mark: int
    """Microseconds that the call took; with `number` it tells an attempt from one that a resumed run made
    in its place, so that both stay on the bill."""
    decided_at_s: float
    """Unix seconds at which its decision was finished."""
    step: str
    """Step of its decision."""
    tier: str
    """Tier that was called."""
    endpoint: str
    """Endpoint that was called, by its name in the policy."""
    model: str | None
    """The model's name as the provider reports it; None where no reply came."""
    why: str
    """`start`, `escalation` (a reply was rejected), `fallback` (a call failed), `repair`, `retry` or
    `continuation`."""
    outcome: str
    """`accepted`, `rejected`, `failed` or `cancelled`."""
    returned: int
    """1 for the attempt whose reply was returned, else 0."""
    failure_kind: str | None
    """Kind of failure as `langroute.failures` names it; None where a reply came and was read."""
    failure: Json
    """The whole failure (`kind`, `remedy`, `message`, `usable`, `retry_after_s`); None without one."""
    input_tokens: int | None
    """Tokens of the prompt, cached ones included; None where nobody knows."""
    output_tokens: int | None
    """Tokens of the reply, reasoning included."""
    cache_read_tokens: int | None
    """Tokens of the prompt that the provider had cached."""
    cache_write_tokens: int | None
    """Tokens of the prompt that the provider cached for later."""
    reasoning_tokens: int | None
    """Tokens of the reply that were thought and not shown."""
    cost_usd: float | None
    """USD of the call itself; 0 where the provider did no work, None where unknown."""
    cost_basis: str
    """How the cost is known: `reported` (the provider's own word), `priced` (the usage that it reported, by
    price), `estimated` from the texts' length, `cached` (LangChain's own cache answered), or `unknown`."""
    checks_usd: float | None
    """USD of the calls that its verifiers made (judges, second opinions); None where one is unknown."""
    latency_s: float
    """Seconds of the call."""
    judged_s: float
    """Seconds that the verifiers took."""
    first_token_s: float | None
    """Seconds to the first content of a streamed reply; None where it was not streamed."""
    verdicts: Json
    """What each verifier said, in order: `verifier`, `accepted`, `reason`, `score` in [0, 1] or None,
    `usable`, `unsure`, `blames_input`, and `spend`, the calls it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRecord:
    """How good somebody found a decision, a run or a thread: a row of `langroute_feedback`."""

    id: str
    """Its own id; the same feedback given twice under one id stands once."""
    given_at_s: float
    """Unix seconds at which it was given."""
    decision: str | None
    """The decision it is about; None where it is about a run or a thread."""
    run: str | None
    """The run it is about, and so every decision in it."""
    thread: str | None
    """The thread it is about, and so every decision in it."""
    score: float
    """In [0, 1]: 0 is wrong, 1 is right."""
    source: str
    """Who says so: `user`, `judge`, `test`, `langsmith`, or a name of your own."""
    comment: str | None
    """What else was said."""
    propensity: float | None
    """How likely the decision was to be drawn for it (`langroute label`), in (0, 1]; None where the feedback
    came by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRecord:
    """What the top tier says to what a cheaper one had answered: a row of `langroute_shadows`."""

    id: str
    """Its own id."""
    decision: str
    """The decision whose reply was shadowed."""
    made_at_s: float
    """Unix seconds at which it was finished."""
    step: str
    """Step of its decision."""
    tier: str
    """Tier of the reply that was returned."""
    endpoint: str
    """Its endpoint."""
    strong_tier: str
    """The top tier, which was asked as well."""
    strong_endpoint: str | None
    """Its endpoint; None where none was called."""
    propensity: float
    """How likely the reply was to be shadowed: the policy's `share`."""
    compared_by: str
    """`exact` or `judge`."""
    outcome: str
    """`compared`, `failed` (the call or the judge), `unpaid` (over its budget), `unavailable` (no endpoint
    may be called, or the call cannot be made again) or `dropped` (too many waited, or the program ended)."""
    verdict: str | None
    """`good` (the cheap reply is right, or equal), `misrouted` (it is not, and the top tier's is), `neither`
    (both are wrong) or `unsure` (the judge says otherwise when the two change places); None where nothing was
    compared."""
    reason: str
    """Why, in a sentence without any text of the replies."""
    call_usd: float | None
    """USD of the top tier's call; 0 without one, None where unknown."""
    judge_usd: float | None
    """USD of the judge's calls; 0 without any, None where one is unknown."""
    latency_s: float
    """Seconds of the top tier's call."""
    reply: Json
    """The top tier's reply, as much of it as `text_kept` of the decision says."""

    @property
    def cost_usd(self) -> float | None:
        """USD of everything; None where a part is unknown."""
        return total_usd((self.call_usd, self.judge_usd))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One step's finished decision: a row of `langroute_decisions`, with its attempts."""

    id: str
    """Call id, as in the reply's `response_metadata["langroute"]["call_id"]`."""
    decided_at_s: float
    """Unix seconds at which it was finished."""
    step: str
    """The step it is."""
    step_source: str
    """How that is known: `said`, `declared`, `seen`, `classified` or `default`."""
    step_reason: str
    """The same in a sentence."""
    mismatch: str | None
    """The step that the call's shape suggests, where the declared one differs."""
    outcome: str
    """`accepted`, `best` (of rejected replies), `exhausted`, `failed`, `stopped`, `cancelled`, `ask` or
    `blamed`."""
    tier: str | None
    """Tier of the reply that was returned; None where none was."""
    endpoint: str | None
    """Its endpoint."""
    model: str | None
    """Its model, as the provider reports it."""
    policy: str
    """Digest of the policy that decided."""
    thread: str | None
    """Thread of the conversation (`thread_id`); None where there is none. An id of more than 512 characters,
    or one that is no UTF-8, is kept as `=` and its SHA-256."""
    run: str | None
    """Run it belongs to: what the metadata says as `langroute_run`, else the `run_id` that a graph or the
    call was given, else an id made for one invocation of a graph; None for a call on its own."""
    node: str | None
    """Path of the LangGraph node, `outer/inner`; None outside a graph."""
    keys: Json
    """Metadata whose keys the policy names under `budget.keys` or `ledger.keys`: tenant, user."""
    request: str | None
    """SHA-256 of the prompt's roles and texts; None where the prompt was not at hand."""
    difficulty: float | None
    """Difficulty score of the request in [0, 1]; None where the prompt was not at hand."""
    features: Json
    """What the score is made of: feature to its value; features that add nothing are left out."""
    plan: Json
    """The plan: its rungs with what each endpoint was expected to cost and take, its limits, its reasons, and
    beside a canary its `arm` (`main` or `canary`) and `arm_propensity`."""
    spend: Json
    """Calls made beside the attempts (classifiers): `purpose`, `endpoint`, `usage`, `cost_usd`."""
    spend_usd: float | None
    """USD of the calls in `spend` alone, a part of what the decision cost; 0 without any, None where one is
    unknown. The whole is `cost_usd` of an exported row."""
    latency_s: float
    """Seconds spent in the attempts and in judging them."""
    top_usd: float | None
    """Estimated USD of the top tier everywhere: the returned reply's tokens and prompt cache at the price of
    the first endpoint of the policy's top tier that has a known one, accepted at once; 0 where no reply was
    returned, None where unknown."""
    baselines: Json
    """The same for every tier of the policy, cheapest first: tier to USD or None."""
    text_kept: str
    """What is kept of the texts, as the policy says: `off`, `digest`, `redacted` or `full`."""
    prompt: Json
    """The prompt: None, its SHA-256, or its messages, each `role` and `text`."""
    reply: Json
    """The returned reply: None, its SHA-256, or its `text` and `tool_calls`."""
    template: str | None = None
    """First 16 hex digits of the SHA-256 of what the prompt is made from: of the `prompt=` of a step drawn in
    a graph, where that is a text or a prompt template, else of the system messages; None without either."""
    checks: str | None = None
    """Twelve hex digits that change with the step's verifiers and their settings; None where that was not
    kept yet."""
    attempts: Sequence[AttemptRecord] = field(default=(), metadata={"column": False})
    """The attempts, in order."""
    feedback: Sequence[FeedbackRecord] = field(default=(), metadata={"column": False})
    """What was said of it, of its run or of its thread, oldest first."""
    shadows: Sequence[ShadowRecord] = field(default=(), metadata={"column": False})
    """What the top tier was asked as well, to measure."""

    @property
    def cost_usd(self) -> float | None:
        """USD of everything: attempts, drafts, judges, classifiers, shadows; None if a part is unknown."""
        own = (cost for attempt in self.attempts for cost in (attempt.cost_usd, attempt.checks_usd))
        return total_usd((self.spend_usd, *own, *(shadow.cost_usd for shadow in self.shadows)))

    @property
    def cost_basis(self) -> str:
        """How `cost_usd` is known: `unknown`, or as the least sure of the attempts that cost something is.

        The least sure first: `estimated`, `priced`, `reported`; `cached` where LangChain's cache answered.
        """
        if self.cost_usd is None:
            return "unknown"
        found = {each.cost_basis for each in self.attempts if each.cost_usd or each.cost_basis == "cached"}
        return next((basis for basis in _LEAST_SURE_FIRST if basis in found), "priced")


_LEAST_SURE_FIRST = ("unknown", "estimated", "priced", "reported", "cached")
