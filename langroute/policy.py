"""What a person writes: tiers, steps, rules, stakes. Data, never code; `Policy.load` reads and checks it."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
)

from langroute.bindings import scores_of
from langroute.bounds import out_of_bounds
from langroute.checking import check
from langroute.errors import PolicyError, PolicyProblem
from langroute.loading import read
from langroute.problems import problem
from langroute.refusals import from_validation, sound_part
from langroute.rungs import Checks, SomeRungs
from langroute.shapes import (
    Count,
    Day,
    Name,
    Names,
    Positive,
    Seconds,
    Share,
    SomeLanguages,
    SomeNames,
    SomePatterns,
    Text,
    Usd,
    Version,
    Wanted,
    listed,
)
from langroute.trials import CanaryPolicy, ShadowPolicy
from langroute.tuning.named import ScoreModel, paths_from
from langroute.written import (
    ModelSpec,
    PriceSpec,
    StakesLevel,
    StakesPolicy,
    Tier,
    TierPolicy,
    Written,
    named,
)

__all__ = [
    "BudgetPolicy",
    "CanaryPolicy",
    "ClassifyPolicy",
    "DifficultyPolicy",
    "KeyBudgetPolicy",
    "LearnedPolicy",
    "LedgerPolicy",
    "ModelSpec",
    "Policy",
    "PriceSpec",
    "RoutePolicy",
    "RulePolicy",
    "ShadowPolicy",
    "StakesLevel",
    "StakesPolicy",
    "StepPolicy",
    "TierPolicy",
    "When",
    "policy_schema",
]


class DifficultyPolicy(Written):
    """Start above the first rung when the difficulty score of the request reaches `threshold`."""

    threshold: Share
    """Score in [0, 1] from which a request counts as difficult."""


class LearnedPolicy(Written):
    """Start at the first rung that the rungs above would not better by `threshold`, by a learned score."""

    model: ScoreModel
    """File of a score of prompts, as `langroute.tuning.files.save_score` writes it."""
    threshold: Annotated[float, Field(strict=True, ge=-1, le=1, allow_inf_nan=False)]
    """Gain in quality, in [-1, 1], from which it is worth starting higher."""


class RoutePolicy(Written):
    """Routing before there is a reply."""

    difficulty: DifficultyPolicy | None = None
    """Without it, and without `learned`, every request starts at the first rung."""
    learned: LearnedPolicy | None = None
    """A score fitted on what replies of the step's tiers were worth; takes the place of `difficulty`."""


class StepPolicy(Written):
    """How one step is bound to its tiers."""

    cascade: SomeRungs = Field(examples=["large", ["small", "large"]])
    """Tiers, cheapest first. One tier alone is plain routing: nothing is drafted, nothing escalates.

    Before them may stand a plain function: `[{function: answer_by_rule}, small, large]`.
    """
    verify: Checks = ()
    """Checks of the reply, in order; the first that rejects ends the checking."""
    repair: Annotated[Count, Field(le=3)] = 0
    """How often a rejected endpoint is told what was found and called once more, per rung."""
    continue_streams: bool = False
    """Whether a reply that breaks off after part of it was shown is gone on with by the next endpoint."""
    on_exhausted: Literal["best", "raise", "ask"] = "best"
    """What happens when every rung was tried: the best reply there is, an error, or a person's word."""
    blame: Name | None = None
    """Earlier step that answers again a tier higher, in a graph, when a check blames this one's input."""
    nodes: Names = Field(default=(), examples=["rewrite*"])
    """Patterns (`*`, `?`) of LangGraph node names or node paths (`agent/model`) that are this step."""
    route: RoutePolicy = RoutePolicy()
    """When the step starts above its first rung."""
    explore: Annotated[Share, Field(gt=0, le=0.25)] | None = None
    """Chance of each tier of the cascade to be where the step starts: logs can then be judged without bias.

    Never one that boundary, stakes, rules or limits rule out. The record holds the chance as `propensity`.
    """
    deadline_s: Seconds | None = None
    """Seconds that the step's calls and checks have in all; then the best reply there is, or an error."""
    latency_budget_s: Seconds | None = None
    """Seconds the step may take: slower endpoints are passed over, late escalations do not start."""
    boundary: SomeNames | None = None
    """Boundaries that any call made for this step may cross; None allows all."""
    after_tool: dict[Name, Name] = Field(default_factory=dict)
    """Tool name to the tier that reads its result."""
    on_tool_error: Name | None = None
    """Tier to start at when the last tool call failed."""
    stakes: Name | None = None
    """Level of `stakes` that this step always has."""
    expected_output_tokens: Positive = 500
    """Tokens kept free in the context window for the reply, and priced in estimates."""
    failure_cost_usd: Usd | None = None
    """USD that a wrong reply of the step does harm for; `langroute estimate` weighs risks by it."""
    why: Text | None = None
    """Why the step is bound as it is; printed by `langroute check --spec`."""
    reviewed: Day | None = None
    """When a person last looked at this binding."""


class When(Written):
    """Conditions of a rule: all that are given must hold, any item of a list suffices."""

    step: SomeNames | None = None
    """Steps the rule is for."""
    metadata: dict[Name, Wanted] | None = Field(default=None, examples=[{"user_tier": ["gold", "platinum"]}])
    """Key to the value, or the list of values, that the config's metadata must have: tenant, risk."""
    keywords: SomeNames | None = None
    """Words or phrases, any case, in the head and tail (2,000 characters each) of the prompt."""
    patterns: SomePatterns | None = None
    """Regular expressions, searched where keywords are."""
    min_tokens: Count | None = None
    """Fewest estimated input tokens."""
    max_tokens: Count | None = None
    """Most estimated input tokens."""
    min_documents: Count | None = None
    """Fewest documents in the prompt."""
    max_documents: Count | None = None
    """Most documents in the prompt."""
    tools: SomeNames | None = None
    """Names (patterns allowed) of tools that are bound."""
    language: SomeLanguages | None = None
    """Two-letter codes, see `langroute.verifiers.language`."""
    intent: SomeNames | None = None
    """Names in `intents`: the nearest of the examples decides, through the embeddings given from Python."""


class RulePolicy(Written):
    """One routing rule; the first whose conditions hold says at which tier the step starts."""

    name: Name | None = None
    """What reasons and `langroute check` call it."""
    when: When
    """Conditions; `{}` always holds."""
    start: Name
    """Tier at which the step starts."""


class ClassifyPolicy(Written):
    """How a step is told that nobody said, declared or showed; tried in this order."""

    keywords: dict[Name, SomeNames] = Field(default_factory=dict)
    """Step to words or phrases; the step with most hits wins, a tie is no answer."""
    examples: dict[Name, SomeNames] = Field(default_factory=dict)
    """Step to example prompts, compared through the embeddings given from Python."""
    min_similarity: Share = 0.5
    """Cosine similarity in [0, 1] that the nearest example must reach."""
    model: Name | None = None
    """Tier whose first endpoint is asked, with structured output."""
    timeout_s: Annotated[Seconds, Field(le=60)] = 2.0
    """Seconds the classifier has; after them the step goes to its safe tier."""


_Limit = Annotated[Usd, Field(le=1_000_000)]


class KeyBudgetPolicy(Written):
    """What the calls of one value of a metadata key may cost: one tenant, one user."""

    per_day_usd: _Limit
    """USD that each value may spend in a UTC day; calls without the key share one account."""


class BudgetPolicy(Written):
    """Limits on money: a call starts only where its worst case fits into all of them."""

    per_call_usd: _Limit | None = None
    """USD that one call may cost at worst."""
    per_run_usd: _Limit | None = None
    """USD of one run: an invocation of a graph with all its nodes, else one call of the chat model."""
    per_thread_usd: _Limit | None = None
    """USD of one thread (`thread_id`) in all its runs; a call without one belongs to none."""
    per_day_usd: _Limit | None = None
    """USD of all calls in a UTC day."""
    keys: dict[Name, KeyBudgetPolicy] = Field(
        default_factory=dict, examples=[{"tenant": {"per_day_usd": 5.0}}]
    )
    """Key of the config's metadata, as `tenant` or `user`, to the limits of each of its values."""
    approve_above_usd: Usd | None = None
    """An escalation expected to cost more needs a person's approval."""


class LedgerPolicy(Written):
    """What the ledger keeps beside the decisions themselves, where there is one."""

    text: Literal["off", "digest", "redacted", "full"] = "off"
    """What is kept of prompts and replies: nothing, their SHA-256, the text without what looks like a
    secret, or the text as it is."""
    keys: Names = Field(default=(), examples=[["tenant", "user"]])
    """Keys of the config's metadata that are kept with a decision, beside those of `budget.keys`."""
    keep_days: Annotated[Positive, Field(le=36_500)] | None = None
    """Days after which decisions are deleted; None keeps them."""


def _top_tier_alone(written: dict[str, Any]) -> StepPolicy:
    """Return the binding of the default where none is written: when in doubt, the capable tier."""
    return StepPolicy(cascade=list(written["tiers"])[-1])


class Policy(Written):
    """Everything that decides where a call goes. Read it from a file with `Policy.load`.

    Raises:
        PolicyError: Something is wrong; every problem is listed.

    Example:
        >>> policy = Policy(tiers={"small": "openai:gpt-5-nano", "large": "openai:gpt-5"})
        >>> policy.step("anything").cascade
        ('large',)
    """

    version: Version = 1
    """Version of this format."""
    tiers: dict[Name, Tier] = Field(
        min_length=1, max_length=50, examples=[{"small": "openai:gpt-5-nano", "large": ["openai:gpt-5"]}]
    )
    """Cheapest first: the order in the file is the order of the tiers."""
    steps: dict[Name, StepPolicy] = Field(default_factory=dict, max_length=500)
    """Step name to its binding."""
    default: StepPolicy = Field(default_factory=_top_tier_alone)
    """Binding of every step that `steps` does not name; the top tier alone where it is left out."""
    rules: Annotated[tuple[RulePolicy, ...], Field(max_length=500)] = ()
    """Where a step starts; the first rule whose conditions hold decides."""
    intents: dict[Name, SomeNames] = Field(default_factory=dict)
    """Intent name to example prompts."""
    stakes: StakesPolicy = StakesPolicy()
    """What levels of stakes demand, and which tools carry one."""
    classify: ClassifyPolicy = ClassifyPolicy()
    """How to tell a step that nobody said."""
    budget: BudgetPolicy = BudgetPolicy()
    """What calls may cost."""
    ledger: LedgerPolicy = LedgerPolicy()
    """What the ledger keeps."""
    review_every_days: Annotated[Positive, Field(le=3_650)] | None = None
    """Days after which a step's `reviewed` is too old for `langroute drift`; None never is."""
    shadow: Annotated[
        tuple[ShadowPolicy, ...],
        BeforeValidator(listed, json_schema_input_type=ShadowPolicy | tuple[ShadowPolicy, ...]),
    ] = Field(default=(), max_length=100, examples=[{"step": "synthesis", "share": 0.02}])
    """Steps whose cheap replies the top tier is asked for as well, now and then, to measure misroutes."""
    canary: CanaryPolicy | None = None
    """Another policy, through which a share of all threads goes."""
    cache_margin: Annotated[Usd, Field(le=10)] = 0.1
    """Share by which another endpoint must be cheaper before a conversation leaves its cached prefix."""

    def __init__(self, /, **written: Any) -> None:
        if problems := out_of_bounds(written) or self._validated(written) or check(self):
            del written  # a traceback may be shown with its locals, and what is wrong may be a secret
            raise PolicyError(problems)

    def _validated(self, written: dict[str, Any]) -> list[PolicyProblem]:
        # pydantic's own error quotes values as they are, keys too: it is neither raised nor chained.
        try:
            super().__init__(**written)
        except ValidationError as error:
            problems = from_validation(error, written, policy_schema())
            rest = sound_part(written, error)
        else:
            return []
        with suppress(ValidationError):
            super().__init__(**rest)
            problems += check(self)
        return problems

    @classmethod
    def load(cls, source: "str | Path | Mapping[str, Any] | Policy") -> "Policy":
        """Return the checked policy that a file or a mapping holds.

        Args:
            source: Path to a `.yaml`, `.yml`, `.toml` or `.json` file, a mapping of the same form, or a
                policy, which is returned as it is.

        Raises:
            PolicyError: The file cannot be read, or the policy cannot work; every problem is listed.
        """
        if isinstance(source, Policy):
            return source
        if not isinstance(source, str | Path | Mapping):
            remedy = "Pass a path, a mapping or a Policy."
            raise PolicyError([problem((), source, "not something a policy can be read from", remedy)])
        origin = "policy" if isinstance(source, Mapping) else str(source)
        folder = Path() if isinstance(source, Mapping) else Path(source).parent
        source = source if isinstance(source, Mapping) else read(Path(source))
        try:
            with paths_from(folder):
                return cls(**{str(key): value for key, value in source.items()})
        except PolicyError as error:
            problems = error.problems
        del source  # as above
        raise PolicyError(problems, origin)

    @field_validator("tiers")
    @classmethod
    def _name_endpoints(cls, tiers: dict[str, TierPolicy]) -> dict[str, TierPolicy]:
        """Name every model string that has no name: itself, and `#2` and so on where it stands again."""
        return named(tiers)

    @property
    def tier_order(self) -> tuple[str, ...]:
        """The tiers' names, cheapest first."""
        return tuple(self.tiers)

    def step(self, name: str) -> StepPolicy:
        """Return the binding of a step; the default where the policy does not name it."""
        return self.steps.get(name, self.default)

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that change with anything in the policy or its scores, but the values of headers.

        Chat models count by class and name.
        """
        order = [list(self.tiers), list(self.steps)]  # order is meaning here, and sorted away below
        order += [[named.score.digest] for _, named in scores_of(self)]
        order += [[self.canary.policy.policy.digest]] if self.canary is not None else []
        canonical = json.dumps([order, self.model_dump(mode="json")], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


@cache
def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what may be written; it cannot see unknown names."""
    schema = Policy.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
