"""What a routed model's `bind_tools` and `with_structured_output` return; both keep theirs in `for_step`."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableBinding, RunnableConfig, RunnableSerializable
from pydantic import ConfigDict
from typing_extensions import override

from langroute import drive
from langroute.replies import Reply
from langroute.targets import BoundSchema

__all__ = ["RoutedBinding", "RoutedStructure"]


class RoutedBinding(RunnableBinding[LanguageModelInput, AIMessage]):
    """A routed model with tools bound, that keeps them through `for_step`."""

    def for_step(self, step: str, *, documents: Sequence[Any] | None = None) -> Self:
        """Return a copy whose calls are the named step: see `RoutedChatModel.for_step`."""
        model = cast("Any", self.bound).for_step(step, documents=documents)
        return self.model_copy(update={"bound": model})


class RoutedStructure(RunnableSerializable[LanguageModelInput, Any]):
    """Gives the object that the schema asks for, or with `include_raw` what LangChain's own gives."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: Any
    """The `RoutedChatModel` that makes the calls."""
    binding: BoundSchema

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return self._output(drive.run(self._cascade(input, config, kwargs).flow()).reply)

    @override
    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        routed = await drive.arun(self._cascade(input, config, kwargs).flow())
        return self._output(routed.reply)

    def for_step(self, step: str, *, documents: Sequence[Any] | None = None) -> Self:
        """Return a copy whose calls are the named step: see `RoutedChatModel.for_step`."""
        return self.model_copy(update={"model": self.model.for_step(step, documents=documents)})

    def _cascade(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> drive.Cascade:
        if kwargs:
            raise TypeError(
                f"a structured call takes no {', '.join(kwargs)}:"
                " give it to with_structured_output, or to the models in the policy"
            )
        cascade: drive.Cascade = self.model.prepare(input, config, langroute_binding=self.binding)
        return cascade

    def _output(self, reply: Reply) -> Any:
        if self.binding.include_raw:
            return {"raw": reply.message, "parsed": reply.parsed, "parsing_error": reply.parsing_error}
        return reply.parsed
