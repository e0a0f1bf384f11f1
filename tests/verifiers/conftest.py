"""What the tests of verifiers share: a builder of cases, and a second model with answers written down."""

from collections.abc import Generator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langroute.cascade import Verdict
from langroute.cost import Spend, Usage
from langroute.effects import Io, run
from langroute.request import Document, Request
from langroute.verifiers import Case, Opinion, Verifier


class SecondModel:
    """Answers what it was told to, as a real flow, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, prompt: Any, **settings: Any) -> Generator[Any, Any, Opinion]:
        self.asked.append({"prompt": prompt, **settings})
        return self._flow(settings)

    def _flow(self, settings: dict[str, Any]) -> Generator[Any, Any, Opinion]:
        answer = self.answers.pop(0)

        async def wait() -> Any:
            return answer

        said = yield Io(lambda: answer, wait)
        spend = Spend(settings["purpose"], "small/one", Usage(10, 2), 0.001)
        if isinstance(said, dict):
            return Opinion(AIMessage(""), settings["schema"].model_validate(said), spend)
        return Opinion(said if isinstance(said, AIMessage) else AIMessage(said), None, spend)


def build_case(
    reply: str | AIMessage = "",
    *,
    question: str = "",
    messages: list[Any] | None = None,
    documents: dict[str, str] | None = None,
    ask: Any = None,
    parsed: Any = None,
    parsing_error: BaseException | None = None,
    **request: Any,
) -> Case:
    given = None if documents is None else tuple(Document(key, text) for key, text in documents.items())
    conversation = tuple(messages if messages is not None else [HumanMessage(question)])
    return Case(
        request=Request(conversation, given_documents=given, **request),
        reply=AIMessage(reply) if isinstance(reply, str) else reply,
        tier="small",
        endpoint="small/one",
        ask=ask or SecondModel(),
        parsed=parsed,
        parsing_error=parsing_error,
    )


def judge(verifier: Verifier, case: Case) -> Verdict:
    return run(verifier.judge(case))


@pytest.fixture
def second_model() -> type[SecondModel]:
    return SecondModel


@pytest.fixture
def verdict() -> Any:
    """Return a function that builds a case of what it is given and returns the verifier's verdict on it."""

    def of(verifier: Verifier, *args: Any, **kwargs: Any) -> Verdict:
        return judge(verifier, build_case(*args, **kwargs))

    return of


@pytest.fixture
def case_of() -> Any:
    return build_case
