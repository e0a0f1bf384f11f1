"""`RoutedChatModel`: a chat model that is whichever endpoint the policy chooses for the step at hand.

Its public surface is transparent: the endpoint's own model makes the run, so that names, prices,
caches, limits and token counts are the real ones. It makes no LLM run of its own.
"""

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, Self, cast

from langchain_core.callbacks import Callbacks
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs
from pydantic import Field
from typing_extensions import override

from langroute import drive
from langroute.arms import Arms
from langroute.events import aevent_stream, event_stream
from langroute.policy import Policy
from langroute.request import EMPTY, Document, as_documents, made_request
from langroute.router import Router
from langroute.steps import metadata_of
from langroute.streams import CHUNKS
from langroute.structured import RoutedBinding, RoutedStructure
from langroute.targets import BoundSchema, BoundTools, openai_tool

__all__ = ["RoutedChatModel"]

_FORWARDED = frozenset(
    {"cache", "custom_get_token_ids", "disable_streaming", "output_version", "rate_limiter"}
)
"""Settings of a chat model that, set on the routed one, hold for every endpoint's model."""


_HOSTS_OWN = frozenset({"lc_versions"})
"""Metadata that the host gives every model."""


class RoutedChatModel(BaseChatModel):
    """A chat model that routes each call by a policy; everything LangChain does with a chat model works.

    Each reply says in `response_metadata["langroute"]` which step, tier and model answered and why:
    see `langroute.decision.Decision.as_dict`.

    Args:
        policy: A `Policy`, a path to a YAML, TOML or JSON file, or a mapping.
        embeddings: LangChain `Embeddings`, for intents and example-based classification.
        embeddings_boundary: Where those run, as the policy's boundaries are named.
        classifier: A decision model (`langchain_core.decisions`, core 1.8 and newer) that names the step.
        difficulty_classifier: One that scores the difficulty for steps with a threshold.
        classifiers_boundary: Where the two run.
        ledger: Where budgets and breakers are kept for all processes, as `langroute.router.Router` takes it.
        functions: Name to function, for the `{function: name}` of the policy: as `Router` takes them.

    Raises:
        PolicyError: The policy cannot work; every problem is listed.
        EndpointError: A client cannot be built: the message names the missing variable or package.

    Example:
        ```python
        model = RoutedChatModel("langroute.yaml")
        reply = model.for_step("extraction").invoke("Extract the date: due 3 May 2026.")
        reply.response_metadata["langroute"]["tier"]
        ```
    """

    policy: Policy = Field(exclude=True, repr=False)
    step: str | None = None
    """The step that every call is, as `for_step` said; None lets each call be recognised."""
    documents: tuple[Document, ...] | None = Field(default=None, exclude=True, repr=False)
    embeddings: Embeddings | None = Field(default=None, exclude=True, repr=False)
    embeddings_boundary: str = "hosted"
    classifier: Any = Field(default=None, exclude=True, repr=False)
    difficulty_classifier: Any = Field(default=None, exclude=True, repr=False)
    classifiers_boundary: str = "hosted"
    ledger: Any = Field(default=None, exclude=True, repr=False)
    functions: Mapping[str, Any] | None = Field(default=None, exclude=True, repr=False)

    def __init__(self, policy: Policy | str | Path | Mapping[str, Any], **kwargs: Any) -> None:
        unknown = sorted(kwargs.keys() - type(self).model_fields.keys())
        if unknown:
            warnings.warn(
                f"RoutedChatModel ignores {', '.join(unknown)}: settings belong to the models in the policy",
                stacklevel=2,
            )
        kwargs["policy"] = Policy.load(policy)
        super().__init__(**kwargs)
        self.arms.connect()  # in a validator pydantic would wrap a PolicyError

    @property
    def router(self) -> Router:
        """The router that this model and its copies share; a copy with another policy gets its own."""
        return self.arms.main

    @property
    def arms(self) -> Arms:
        """The router, and that of the policy's canary."""
        bound: Arms | None = self.__dict__.get("_bound")
        if bound is None or bound.main.policy is not self.policy:
            bound = Arms.of(
                self.policy,
                embeddings=self.embeddings,
                embeddings_boundary=self.embeddings_boundary,
                classifier=self.classifier,
                difficulty_classifier=self.difficulty_classifier,
                classifiers_boundary=self.classifiers_boundary,
                ledger=self.ledger,
                functions=self.functions,
            )
            self.__dict__["_bound"] = bound
        return bound

    def for_step(self, step: str, *, documents: Sequence[Any] | None = None) -> Self:
        """Return a copy whose calls are the named step; the copy shares everything else.

        Args:
            step: A step of the policy; one that the policy does not name gets its default binding.
            documents: Sources that replies may cite: LangChain documents, strings, or mappings with
                `id` and `text`. Without them the prompt's `<document id=…>` blocks count.
        """
        given = as_documents(documents) if documents is not None else None
        return self.model_copy(update={"step": step, "documents": given})

    # Calls -------------------------------------------------------------------------------------------

    @override
    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        return drive.run(self.prepare(input, config, stop, **kwargs).flow()).reply.message

    @override
    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        routed = await drive.arun(self.prepare(input, config, stop, **kwargs).flow())
        return routed.reply.message

    @override
    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        yield from drive.stream(self.prepare(input, config, stop, **kwargs), CHUNKS)

    @override
    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        async with aclosing(drive.astream(self.prepare(input, config, stop, **kwargs), CHUNKS)) as chunks:
            async for chunk in chunks:
                yield chunk

    @override
    def stream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2", "v3"] = "v2",
        **kwargs: Any,
    ) -> Any:
        if version != "v3":
            return super().stream_events(input, config, version=version, **kwargs)
        return event_stream(self.prepare(input, config, **kwargs))

    @override
    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2", "v3"] = "v2",
        **kwargs: Any,
    ) -> Any:
        if version != "v3":
            return super().astream_events(input, config, version=version, **kwargs)
        return aevent_stream(self.prepare(input, config, **kwargs))

    @override
    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        configs = _configs(len(messages), callbacks, tags, metadata, run_name, run_id)
        each = zip(messages, configs, strict=True)
        replies = [self.invoke(conversation, config, stop=stop, **kwargs) for conversation, config in each]
        return LLMResult(generations=[[ChatGeneration(message=reply)] for reply in replies])

    @override
    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        configs = _configs(len(messages), callbacks, tags, metadata, run_name, run_id)
        each = zip(messages, configs, strict=True)
        calls = [self.ainvoke(conversation, config, stop=stop, **kwargs) for conversation, config in each]
        return LLMResult(
            generations=[[ChatGeneration(message=reply)] for reply in await asyncio.gather(*calls)]
        )

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        config: RunnableConfig = {"callbacks": run_manager.handlers} if run_manager else {}
        reply = self.invoke(messages, config, stop=stop, **kwargs)
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def prepare(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> drive.Cascade:
        """Return the cascade of one call, ready for one of the drivers in `langroute.drive`."""
        config = config or {}
        if own := self._own_config:
            config = merge_configs(own, config)
        metadata = metadata_of(config)
        router, call_id = self.arms.draw(config, metadata)
        binding, tools = None, ()
        if kwargs:
            binding = kwargs.pop("langroute_binding", None)
            tools = tuple(kwargs.get("tools", ()))
        if isinstance(binding, BoundTools):
            tools = tuple(binding.tools)
            kwargs.pop("tools", None)
            if kwargs.get("tool_choice") == binding.kwargs.get("tool_choice"):
                kwargs.pop("tool_choice", None)
        if stop is not None:
            kwargs["stop"] = stop
        request = made_request(
            _messages(self, input),
            step=self.step or metadata.get("langroute_step"),
            metadata=metadata,
            tools=tools,
            schema=binding.schema if isinstance(binding, BoundSchema) else None,
            given_documents=self.documents,
            kwargs=kwargs,
            binding=binding,
            overrides=self._overrides,
            purse=router.purse(config, metadata),
        )
        return drive.Cascade(router, request, config, call_id)

    @property
    def _own_config(self) -> RunnableConfig | None:
        """Tags, metadata and callbacks that were set on the routed model itself; None without any."""
        metadata = self.metadata or {}
        if metadata.keys() <= _HOSTS_OWN and not (self.tags or self.callbacks):
            return None
        own = {name: value for name, value in metadata.items() if name not in _HOSTS_OWN}
        return {"tags": self.tags or [], "metadata": own, "callbacks": self.callbacks}

    @property
    def _overrides(self) -> Mapping[str, Any]:
        """Settings of the routed model that hold for every endpoint's model."""
        if _FORWARDED.isdisjoint(self.__pydantic_fields_set__):
            return EMPTY
        return {name: getattr(self, name) for name in sorted(self.__pydantic_fields_set__ & _FORWARDED)}

    # Tools and schemas -------------------------------------------------------------------------------

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | Any],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools bound; each endpoint gets them unconverted."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        binding = BoundTools(tuple(tools), kwargs)
        shown = {"tools": [openai_tool(tool) for tool in tools], **kwargs}
        given: dict[str, Any] = {name: shown[name] for name in ("tools", "tool_choice") if name in shown}
        return RoutedBinding(bound=self, kwargs={**given, "langroute_binding": binding}, config={})

    @override
    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that gives an object of `schema`; a reply without one is rejected.

        Raises (when invoked):
            AllAttemptsFailed: No endpoint gave an object, and `include_raw` is off.
        """
        return RoutedStructure(model=self, binding=BoundSchema(schema, kwargs, include_raw=include_raw))

    # What the host reads of a model ------------------------------------------------------------------

    @property
    @override
    def _llm_type(self) -> str:
        return "langroute"

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {"policy": self.policy.digest, "step": self.step, **self._primary._identifying_params}  # noqa: SLF001

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self._primary._get_ls_params(stop=stop, **kwargs)  # noqa: SLF001 - the host's hook, delegated

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        """Return what every endpoint can do: a capability that one lacks is none."""
        return self.router.endpoints.shared_profile()

    @override
    def get_token_ids(self, text: str) -> list[int]:
        return self._primary.get_token_ids(text)

    @override
    def get_num_tokens(self, text: str) -> int:
        return self._primary.get_num_tokens(text)

    @override
    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        return self._primary.get_num_tokens_from_messages(messages, tools)

    @property
    def _primary(self) -> BaseChatModel:
        """The model that stands for this one where the host wants a single name."""
        model: BaseChatModel = self.router.primary(self.step).model
        return model.model_copy(update=dict(self._overrides)) if self._overrides else model


def _messages(model: BaseChatModel, given: LanguageModelInput) -> tuple[BaseMessage, ...]:
    """Return the conversation; the host's conversion only where there is something to convert."""
    if isinstance(given, str):
        return (HumanMessage(given),)
    if isinstance(given, list) and all(isinstance(message, BaseMessage) for message in given):
        return tuple(given)
    return tuple(model._convert_input(given).to_messages())  # noqa: SLF001 - the host's own conversion


def _configs(
    count: int, callbacks: Callbacks, tags: Any, metadata: Any, run_name: Any, run_id: Any
) -> list[RunnableConfig]:
    """Return the config of each of several calls; a run id may be used once, so it is the first's."""
    given = {"callbacks": callbacks, "tags": tags, "metadata": metadata, "run_name": run_name}
    shared = cast("RunnableConfig", {key: value for key, value in given.items() if value is not None})
    if run_id is None:
        return [shared] * count
    return [{**shared, "run_id": run_id} if number == 0 else shared for number in range(count)]
