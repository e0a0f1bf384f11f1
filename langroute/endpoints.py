"""From policy to chat models: every model a policy names, what it can do, what it costs, where it runs."""

import threading
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from types import MappingProxyType
from typing import Any, cast

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from langroute.building import address, build, credential, placeholder, secrets, split, wired
from langroute.cost import CostBasis, Price, Usage, reported_usd, usage_of
from langroute.errors import EndpointError
from langroute.functions import FunctionModel, Functions
from langroute.given import ls_params, unwrapped, warn_of_retries
from langroute.histories import Callee, callee_of
from langroute.policy import ModelSpec, Policy, PriceSpec
from langroute.prices import PolicyPrice, PriceSource, listed_prices
from langroute.registering import functions_of
from langroute.request import EMPTY, Request
from langroute.twins import beside_the_loop

__all__ = ["OUTPUT_LIMITS", "Endpoint", "Endpoints", "from_cache"]

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
"""How integrations call the caller's own limit of a reply's tokens."""

_PROFILE_KEYS = MappingProxyType(
    {
        "tools": "tool_calling",
        "structured_output": "structured_output",
        "images": "image_inputs",
        "audio": "audio_inputs",
        "files": "pdf_inputs",
    }
)
"""Our capability to LangChain's profile key."""

_BLOCKS = MappingProxyType(
    {
        "image": "images",
        "image_url": "images",
        "input_image": "images",
        "audio": "audio",
        "input_audio": "audio",
        "file": "files",
        "input_file": "files",
        "document": "files",
    }
)
"""Type of a content block, LangChain's, OpenAI's or Anthropic's, to the capability it needs."""


_KINDS = frozenset({"images", "audio", "files"})
"""Capabilities that the content of a message may need."""


class Endpoint:
    """One model at one provider, with its settings, price, limits and boundary.

    Nothing is built when the endpoint is made: the chat model comes at its first use, from any thread.

    Args:
        spec: What the policy says about the model.
        tier: Name of the tier it belongs to.
        name: What the log calls it; without one the policy's name, else the model string.

    Raises:
        EndpointError: The object that stands for the model is no chat model.
    """

    bound_kwargs: Mapping[str, Any]
    """Arguments bound to a model that was given as `model.bind(...)`; every call must pass them on."""
    bound_config: RunnableConfig | None
    """Config of a model that was given as `model.with_config(...)`; the call's own is merged over it."""

    def __init__(self, spec: ModelSpec, tier: str, name: str | None = None) -> None:
        self.spec = spec
        self.tier = tier
        self._given, self.bound_kwargs, self.bound_config = unwrapped(spec.model)
        self.name = name or _plain_name(spec, self._given, self.bound_kwargs)
        self.boundary = spec.boundary
        self.is_function = isinstance(self._given, FunctionModel)
        """Whether a plain function answers: in this process, at no cost, and by no one's credential."""
        self.timeout_s = spec.timeout_s
        self.expected_s = spec.expected_s
        self.wired = wired(spec.model, spec.settings)
        """Whether its calls go through langroute's own HTTP clients, which keep to an attempt's limits."""
        self.unbound: Any = None
        """What is called where nothing is bound to it; kept by `langroute.targets`."""
        self._lock = threading.Lock()
        self._model = None if self._given is None else self._counted(self._given)
        if self._given is not None:
            warn_of_retries(self.name, self._given)

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, tier={self.tier!r}, boundary={self.boundary!r})"

    @property
    def model(self) -> BaseChatModel:
        """The chat model itself, built at first access, without what was bound to it.

        Raises:
            EndpointError: A key or a package is missing, or the settings do not fit the model.
        """
        if self._model is None:
            with self._lock:
                if self._model is None:
                    built = build(self.name, str(self.spec.model), self.spec.settings, self.timeout_s)
                    self._model = self._counted(built)
        return self._model

    def _counted(self, model: BaseChatModel) -> BaseChatModel:
        """Return a model whose late calls are counted, also where it has no async methods."""
        return beside_the_loop(model, lambda: self.name)

    @cached_property
    def identity(self) -> str:
        """Name and a digest of address and credential: the same in every process that makes the same calls.

        Raises:
            EndpointError: As `model`.
        """
        settings = self.spec.settings
        known = address(self.model, self.provider, EMPTY), address(self._given, self.provider, settings)
        where = "\0".join(dict.fromkeys(filter(None, known)))
        return f"{self.name}@{credential(self.model, where, settings)}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message of a failure may show: values of headers, keys, passwords; never kept."""
        return secrets(self._model, self.provider, self.spec.settings)

    @cached_property
    def provider(self) -> str:
        """LangChain's name of the provider; "" where the model does not say."""
        if self._given is None:
            return split(str(self.spec.model))[0]
        return str(ls_params(self._given, self.bound_kwargs).get("ls_provider") or "")

    @cached_property
    def model_name(self) -> str:
        """The provider's name of the model."""
        if self._given is None:
            return split(str(self.spec.model))[1]
        named = ls_params(self._given, self.bound_kwargs).get("ls_model_name")
        return str(named or type(self._given).__name__)

    @cached_property
    def callee(self) -> Callee:
        """Who it is to a conversation that travels."""
        return callee_of(self)

    @cached_property
    def capabilities(self) -> Mapping[str, bool]:
        """What is known of the model: the policy's word, else its profile; a missing key is unknown."""
        can = {ours: bool(self._profile[key]) for ours, key in _PROFILE_KEYS.items() if key in self._profile}
        return can | {str(ours): word for ours, word in self.spec.capabilities.items()}

    @cached_property
    def context_tokens(self) -> int | None:
        """Context window in tokens: the policy's word, else the profile's; None where unknown."""
        return self.spec.context_tokens or self._profile.get("max_input_tokens")

    def lacks(self, request: Request) -> str | None:
        """Return in one line why the model cannot serve `request`; None where nothing known is against it."""
        cannot = self._cannot
        if not cannot:
            return None
        if request.tools and "tools" in cannot:
            return f"{self.name} cannot call tools"
        if request.schema is not None and cannot >= {"structured_output", "tools"}:
            return f"{self.name} can give no structured output"
        missing = sorted(cannot & _kinds(request.messages)) if cannot & _KINDS else ()
        return f"{self.name} cannot read {' and '.join(missing)}" if missing else None

    @cached_property
    def _cannot(self) -> frozenset[str]:
        """What the model is known not to do."""
        return frozenset(kind for kind, word in self.capabilities.items() if not word)

    def too_small(self, request: Request, output_tokens: int) -> str | None:
        """Return why the window is too small for `request` and a reply of `output_tokens`, else None."""
        window = self.context_tokens
        if window is None:
            return None
        needed = request.estimated_tokens + output_tokens
        if needed <= window:
            return None
        return f"{self.name} holds {window:,} tokens and the call needs about {needed:,}"

    def price(self, input_tokens: int = 0) -> Price | None:
        """Return the price now of a call with a prompt of `input_tokens`; None where it is unknown."""
        source = self._prices
        if isinstance(source, PolicyPrice):
            return source.price  # whatever the hour: no clock is read
        return None if source is None else source.at(input_tokens, datetime.now(UTC))

    def expected_usd(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float | None:
        """Return what a call is expected to cost in USD; None where the price is unknown.

        Args:
            input_tokens: Tokens of the whole prompt.
            output_tokens: Tokens of the expected reply.
            cached_tokens: How many of the prompt's tokens the provider's prompt cache is expected to hold.
        """
        price = self.price(input_tokens)
        return None if price is None else price.cost_usd(Usage(input_tokens, output_tokens, cached_tokens))

    def cost_of(self, message: AIMessage) -> tuple[Usage | None, float | None, CostBasis]:
        """Return what a reply used, what it cost in USD, and how that is known.

        A reply out of LangChain's own cache cost 0, whatever usage it carries. What the provider says that it
        cost counts before any price. Else a reply without usage, as many servers stream it, or with one
        that can be none, is unknown, never 0.
        """
        metadata = message.usage_metadata or EMPTY
        usage = usage_of(metadata)
        if metadata.get("total_cost") == 0:  # as `from_cache`
            return usage, 0.0, "cached"
        if usage is not None and not (usage.input_tokens or usage.output_tokens):
            usage = None
        if (reported := reported_usd(message.response_metadata)) is not None:
            return usage, reported, "reported"
        if usage is None:
            return None, None, "unknown"
        source = self._prices
        if isinstance(source, PolicyPrice):
            return usage, source.price.cost_usd(usage), "priced"  # it covers every kind of token
        price = self.price(usage.input_tokens)
        if source is None or price is None or not source.covers(metadata.get("input_token_details") or EMPTY):
            return usage, None, "unknown"
        return usage, price.cost_usd(usage), "priced"

    @cached_property
    def _prices(self) -> PriceSource | None:
        stated = self.spec.price
        if stated is not None:
            return PolicyPrice(Price(stated.input, stated.output, stated.cache_read, stated.cache_write))
        if not self.provider:
            return None
        base_url = address(self._given, self.provider, self.spec.settings)
        return listed_prices(self.provider, self.model_name, base_url)

    @cached_property
    def output_tokens(self) -> int | None:
        """Most tokens of one reply: as it was set up, else by the model's profile; None where unknown."""
        for source in (self.bound_kwargs, self.spec.settings, vars(self._described or object)):
            if said := [source[key] for key in OUTPUT_LIMITS if source.get(key)]:
                return int(max(said))
        return self._profile.get("max_output_tokens")

    @cached_property
    def _profile(self) -> Mapping[str, Any]:
        """LangChain's facts about the model, empty where there are none."""
        return (self._described and self._described.profile) or EMPTY

    @cached_property
    def _described(self) -> BaseChatModel | None:
        """The model, or one that stands for it: without a key where possible, None where not."""
        try:
            return self._model or placeholder(str(self.spec.model)) or self.model
        except EndpointError:
            return None


class Endpoints:
    """Every endpoint of a policy, by name and by tier.

    Args:
        policy: A checked policy.
        functions: What was registered from Python; a function that is not among them cannot be called.
    """

    def __init__(self, policy: Policy, functions: Functions = EMPTY) -> None:
        self.by_name: dict[str, Endpoint] = {}
        """Endpoints by name; a model used a second time is `openai:m#2`."""
        tiers: dict[str, list[Endpoint]] = {name: [] for name in policy.tiers}
        for tier, written in policy.tiers.items():
            for spec in written.models:
                endpoint = Endpoint(spec, tier)
                endpoint.name = self._unique(endpoint.name)
                self.by_name[endpoint.name] = endpoint
                tiers[tier].append(endpoint)
        for name, endpoint_name in functions_of(policy).items():
            self.by_name[endpoint_name] = _of_function(name, endpoint_name, functions.get(name))
            tiers[name] = [self.by_name[endpoint_name]]
        self._tiers = {name: tuple(endpoints) for name, endpoints in tiers.items()}

    def tier(self, name: str) -> tuple[Endpoint, ...]:
        """Return the endpoints of a tier, the preferred first; a function is a tier of its own name."""
        return self._tiers[name]

    def allowed(self, tier: str, boundary: Collection[str] | None) -> tuple[Endpoint, ...]:
        """Return the endpoints of a tier that run inside one of the boundaries, as functions always do."""
        every = self._tiers[tier]
        return tuple(e for e in every if boundary is None or e.boundary in boundary or e.is_function)

    def shared_profile(self) -> ModelProfile | None:
        """Return what every model can do, in LangChain's words: a capability that one lacks is none.

        Flags are joined by "and", limits by the smallest; None where one model's profile is unknown.
        """
        profiles = [endpoint.model.profile for endpoint in self.by_name.values() if not endpoint.is_function]
        if not all(profiles):
            return None
        known: list[dict[str, Any]] = [dict(profile) for profile in profiles if profile]
        shared: dict[str, Any] = {}
        for key in sorted(set.intersection(*(set(profile) for profile in known))):
            values = [profile[key] for profile in known]
            if all(isinstance(value, bool) for value in values):
                shared[key] = all(values)
            elif all(isinstance(value, int) for value in values):
                shared[key] = min(values)
        return cast("ModelProfile", shared)

    def connect(self) -> None:
        """Build every client now, so that what is missing is known before the first call.

        Raises:
            EndpointError: Clients cannot be built; the message has a line for each of them.
        """
        problems = []
        for endpoint in self.by_name.values():
            try:
                _ = endpoint.model
            except EndpointError as error:
                problems.append(str(error))
        if problems:
            raise EndpointError("\n".join(problems))

    def _unique(self, name: str) -> str:
        if name not in self.by_name:
            return name
        return next(new for n in count(2) if (new := f"{name}#{n}") not in self.by_name)


def _of_function(name: str, endpoint: str, function: Callable[..., Any] | None) -> Endpoint:
    """Return the endpoint of a plain function."""
    model = FunctionModel(name=name, function=function)
    free = PriceSpec(input=0.0, output=0.0)
    return Endpoint(ModelSpec(model=model, name=endpoint, price=free, boundary="local"), name)


def from_cache(message: AIMessage) -> bool:
    """Whether LangChain's own cache gave the reply; its token counts are those of the first answer."""
    return (message.usage_metadata or EMPTY).get("total_cost") == 0


def _plain_name(spec: ModelSpec, given: BaseChatModel | None, bound: Mapping[str, Any]) -> str:
    if spec.name:
        return spec.name
    if given is None:
        return str(spec.model)
    params = ls_params(given, bound)
    parts = (params.get("ls_provider"), params.get("ls_model_name"))
    return ":".join(str(part) for part in parts if part) or type(given).__name__


def _kinds(messages: Collection[BaseMessage]) -> set[str]:
    """Return the capabilities that the messages' content blocks need beyond text."""
    return {
        _BLOCKS[block["type"]]
        for message in messages
        if not isinstance(message.content, str)
        for block in message.content
        if isinstance(block, dict) and block.get("type") in _BLOCKS
    }
