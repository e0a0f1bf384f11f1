"""A model that is asked without its `invoke` is asked the same: all that reaches it and its callbacks."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda

from langroute import direct
from langroute.targets import Target

RUN, PARENT = UUID(int=7), UUID(int=9)
PROMPT = (HumanMessage("Hello", id="1"),)


class Heard(BaseCallbackHandler):
    """Writes down everything that a handler is told, but for ids that are made anew."""

    run_inline = True

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def told(*args: Any, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
            known = run_id if run_id == RUN else None
            self.events.append((name, repr(args), known, parent_run_id is not None, repr(kwargs)))

        return told


class Asked(BaseChatModel):
    """Writes down what `_generate` is called with."""

    asked: list[Any]

    @property
    def _llm_type(self) -> str:
        return "asked"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.asked.append((type(messages), repr(messages), stop, sorted(kwargs.items()), type(run_manager)))
        return ChatResult(generations=[ChatGeneration(message=AIMessage("good", id="2"))])


CONFIGS: dict[str, Any] = {
    "nothing": lambda _: {},
    "no callbacks": lambda _: {"tags": ["a"], "metadata": {"b": 1}, "run_name": "c", "run_id": RUN},
    "a list": lambda heard: {"callbacks": [heard], "tags": ["a"], "metadata": {"b": 1}},
    "a name": lambda heard: {"callbacks": [heard], "run_name": "c", "run_id": RUN, "recursion_limit": 3},
    "a manager": lambda heard: {"callbacks": manager(heard), "metadata": {"b": 1}},
    "configurable": lambda heard: {"callbacks": [heard], "configurable": {"model": "m", "thread_id": "t"}},
    "an unknown key": lambda heard: {"callbacks": [heard], "model": "m", "metadata": {"b": 1}},
    "none of it": lambda heard: {"callbacks": [heard], "tags": None, "metadata": None, "run_name": None},
}
KWARGS: list[dict[str, Any]] = [{}, {"stop": ["x"], "temperature": 0.5}]


def manager(heard: Heard) -> CallbackManager:
    return CallbackManager(
        [heard],
        [heard],
        parent_run_id=PARENT,
        tags=["own"],
        inheritable_tags=["passed on"],
        metadata={"own": 1},
        inheritable_metadata={"passed on": 1},
    )


def asked_by(ask: Any, config: Any, *, inside: bool) -> Any:
    """Return what model and handler are told when `ask` is called, `inside` another run or not."""
    heard, model = Heard(), Asked(asked=[], metadata={"the model's": 1}, tags=["the model's"])
    given = CONFIGS[config](heard)
    before = repr(given)
    if inside:
        around = {"callbacks": [heard], "tags": ["around"], "metadata": {"m": 1}, "run_name": "outer"}
        reply = RunnableLambda(lambda _: ask(model, given)).invoke(
            "", {**around, "configurable": {"model": "n"}}
        )
    else:
        reply = ask(model, given)
    assert repr(given) == before
    assert bool(heard.events) == (inside or "callbacks" in given)
    return reply, model.asked, heard.events


@pytest.mark.parametrize("kwargs", KWARGS)
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside a run"])
@pytest.mark.parametrize("config", CONFIGS)
def test_all_that_reaches_model_and_callbacks_is_as_invoke_passes_it(config, inside, kwargs):
    def invoked(model: Any, given: Any) -> Any:
        return model.invoke(list(PROMPT), given, **kwargs)

    def called(model: Any, given: Any) -> Any:
        return direct.call(Target(model, kwargs), PROMPT, given)

    assert asked_by(called, config, inside=inside) == asked_by(invoked, config, inside=inside)


@pytest.mark.parametrize("kwargs", KWARGS)
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside a run"])
@pytest.mark.parametrize("config", CONFIGS)
def test_all_that_reaches_model_and_callbacks_is_as_ainvoke_passes_it(config, inside, kwargs):
    def invoked(model: Any, given: Any) -> Any:
        return asyncio.run(model.ainvoke(list(PROMPT), given, **kwargs))

    def called(model: Any, given: Any) -> Any:
        return asyncio.run(direct.acall(Target(model, kwargs), PROMPT, given))

    assert asked_by(called, config, inside=inside) == asked_by(invoked, config, inside=inside)


def test_host_is_the_one_that_is_known():
    # A host whose `invoke` does more is invoked; then `direct` can go, or learn what is new.
    assert direct._KNOWN


class Own(Asked):
    def invoke(self, *_: Any, **__: Any) -> AIMessage:
        return AIMessage("its own")

    async def ainvoke(self, *_: Any, **__: Any) -> AIMessage:
        return AIMessage("its own")


class OwnPrompt(Asked):
    def generate_prompt(self, prompts: Any, *_: Any, **__: Any) -> Any:
        return super().generate_prompt(prompts, ["its own"])

    async def agenerate_prompt(self, prompts: Any, *_: Any, **__: Any) -> Any:
        return await super().agenerate_prompt(prompts, ["its own"])


class OwnInput(Asked):
    def _convert_input(self, model_input: Any) -> Any:
        return super()._convert_input("its own")


def replies(model: Any) -> list[Any]:
    target = Target(model, {})
    return [direct.call(target, PROMPT, {}), asyncio.run(direct.acall(target, PROMPT, {}))]


def test_model_with_an_invoke_of_its_own_is_invoked():
    assert [reply.text for reply in replies(Own(asked=[]))] == ["its own", "its own"]


@pytest.mark.parametrize("kind", [OwnInput, OwnPrompt])
def test_model_that_reads_its_input_in_its_own_way_is_invoked(kind):
    model = kind(asked=[])
    replies(model)
    assert ["its own" in repr(told) for told in model.asked] == [True, True]


def test_chain_is_invoked():
    chain = RunnableLambda(lambda prompt: prompt.to_messages()[0].text)
    assert replies(chain) == ["Hello", "Hello"]


def test_host_that_is_not_known_is_invoked(monkeypatch):
    monkeypatch.setattr(direct, "_KNOWN", False)
    model = Asked(asked=[])
    replies(model)
    assert len(model.asked) == 2


def test_host_whose_invoke_somebody_replaced_is_invoked(monkeypatch):
    invoke, told = BaseChatModel.invoke, []

    def listening(model: Any, *args: Any, **kwargs: Any) -> Any:
        told.append(model)
        return invoke(model, *args, **kwargs)

    monkeypatch.setattr(BaseChatModel, "invoke", listening)
    model = Asked(asked=[])
    direct.call(Target(model, {}), PROMPT, {})
    assert told == [model]
