"""What a policy says of models: each endpoint with its price and limits, the tiers they form, and stakes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_serializer,
    model_validator,
)
from typing_extensions import override

from langroute.redaction import veiled
from langroute.shapes import (
    Flag,
    Model,
    ModelString,
    Name,
    Positive,
    Seconds,
    Usd,
    as_model,
    as_tier,
    free_name,
    levels_schema,
    listed,
    model_shown,
)

__all__ = ["ModelSpec", "PriceSpec", "StakesLevel", "StakesPolicy", "Tier", "TierPolicy", "Written", "named"]


class Written(BaseModel):
    """Base of everything in a policy: unknown keys are refused, values never change."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


class PriceSpec(Written):
    """A price that overrides the price list, in USD per million tokens."""

    input: Usd
    """Price of input tokens."""
    output: Usd
    """Price of output tokens, reasoning included."""
    cache_read: Usd | None = None
    """Without it, a cached token costs what an input token costs."""
    cache_write: Usd | None = None
    """Without it, a token written to the cache costs what an input token costs."""


class ModelSpec(Written):
    """One endpoint: a model at a provider, with what the policy says about it."""

    model: Model
    """`provider:model` as LangChain writes it; from Python, a chat model may stand in its place."""
    name: Name | None = None
    """What the log calls it; in a policy the model string where none is given, `#2` and so on for equals."""
    settings: Annotated[dict[str, Any], AfterValidator(veiled)] = Field(
        default_factory=dict, examples=[{"temperature": 0}]
    )
    """Arguments of the chat model: `base_url`, `temperature`, `reasoning_effort`; never a key.

    The values of `default_headers` are `SecretStr`s once they are read: nothing shows or dumps them.
    """
    price: PriceSpec | None = None
    """Overrides the price list."""
    timeout_s: Seconds | None = None
    """Seconds after which a call has failed."""
    expected_s: Seconds | None = None
    """Seconds a whole reply usually takes; weighed against a step's `latency_budget_s`."""
    context_tokens: Positive | None = None
    """Context window; overrides the model's own profile."""
    capabilities: dict[Literal["tools", "structured_output", "images", "audio", "files"], Flag] = Field(
        default_factory=dict
    )
    """What the model can do; overrides the model's own profile."""
    omits_finish_reason: bool = False
    """True for a server that ends whole replies without a finish reason; else such a reply counts as cut."""
    boundary: Name = "hosted"
    """Where it runs: `local`, `hosted` or a label of your own; a step may forbid some."""

    @override
    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, model_shown(value) if name == "model" else value


_OneModel = Annotated[ModelSpec, BeforeValidator(as_model, json_schema_input_type=ModelString | ModelSpec)]
_Models = Annotated[tuple[_OneModel, ...], Field(min_length=1, max_length=50)]


class TierPolicy(Written):
    """A rung of capability: an ordered chain of endpoints, the first preferred, the rest its fallbacks."""

    models: Annotated[_Models, BeforeValidator(listed, json_schema_input_type=_OneModel | _Models)]
    """Endpoints, the first preferred; the next is called when a call fails."""


Tier = Annotated[
    TierPolicy, BeforeValidator(as_tier, json_schema_input_type=ModelString | _Models | TierPolicy)
]


class StakesLevel(Written):
    """What a level of stakes demands."""

    tier: Name
    """Lowest tier that may answer."""


class StakesPolicy(Written):
    """Levels of stakes, and the tools that carry one; in a file every key but `tools` is a level."""

    model_config = ConfigDict(json_schema_extra=levels_schema)

    levels: dict[Name, StakesLevel] = Field(default_factory=dict)
    """Level to what it demands."""
    tools: dict[Name, Name] = Field(default_factory=dict)
    """Tool name to level: the tool is only ever called by the tier its level demands, or one above."""

    @model_validator(mode="before")
    @classmethod
    def _from_written(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "levels" in value:
            return value
        levels = {key: level for key, level in value.items() if key != "tools"}
        return {"levels": levels, **{key: value[key] for key in value if key == "tools"}}

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        return {**self.levels, "tools": self.tools}


def named(tiers: Mapping[str, TierPolicy]) -> dict[str, TierPolicy]:
    """Return the tiers, every nameless model string named: itself, `#2` and so on where it stands again."""
    counts = Counter(spec.name for tier in tiers.values() for spec in tier.models if spec.name is not None)
    return {
        name: tier.model_copy(update={"models": tuple(_with_name(spec, counts) for spec in tier.models)})
        for name, tier in tiers.items()
    }


def _with_name(spec: ModelSpec, counts: Counter[str]) -> ModelSpec:
    if spec.name is not None or not isinstance(spec.model, str):
        return spec
    return spec.model_copy(update={"name": free_name(spec.model, counts)})
