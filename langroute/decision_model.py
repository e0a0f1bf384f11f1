"""`RoutedDecisionModel`: a policy as a decision model of LangChain's, for code that asks one.

Importing this module needs langchain-core 1.8 or newer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import Field
from typing_extensions import override

from langroute.budget import Purse, Reservation, Room
from langroute.cascade import Plan
from langroute.decision import StepAnswer
from langroute.drive import arun, run
from langroute.effects import Flow
from langroute.errors import BudgetExceeded
from langroute.explain import without_calls
from langroute.policy import Policy
from langroute.registering import stand_ins
from langroute.request import Request
from langroute.router import Router
from langroute.routing.questions import host_decisions
from langroute.steps import metadata_of

__all__ = ["RoutedDecisionModel"]

_host = host_decisions()
_Base: Any = _host.BaseDecisionModel


class RoutedDecisionModel(_Base):  # type: ignore[misc]  # older cores do not have it
    """Answers which step a call is, or to which tier it goes, as the policy decides; it calls nothing.

    It answers every `Choice` whose labels are tiers or steps. Of tiers it chooses the one where the plan
    starts: where that is not among the labels the next above it, else the highest. Of steps it chooses the
    call's, or `default` where the policy or the labels do not have it. The confidence is 1, and 0 where
    the policy was unsure or no label is high enough; the choice is then the most capable that there is.

    As nothing is called, a small model that the policy asks for the step counts as failed, which leaves the
    policy unsure, and what needs embeddings is passed over. Nothing is spent either: a tier whose calls no
    longer fit into the policy's budget is left out, by what the ledger says that others have spent.

    Args:
        policy: A `Policy`, a path to a YAML, TOML or JSON file, or a mapping.
        ledger: Where the budgets that it looks at are kept, as `langroute.router.Router` takes it. Without it
            nothing was ever spent, and only a limit that one call alone would pass leaves a tier out.

    Raises:
        PolicyError: The policy cannot work; every problem is listed.

    Example:
        ```python
        choices = {"small": ModelChoice("openai:gpt-5-nano", "…"), "large": ModelChoice("openai:gpt-5", "…")}
        router = ModelRouterMiddleware(
            choices=choices, instructions="Choose a tier.", classifier=RoutedDecisionModel("langroute.yaml")
        )
        ```
    """

    model: str = "langroute"
    policy: Policy = Field(exclude=True, repr=False)
    ledger: Any = Field(default=None, exclude=True, repr=False)

    def __init__(self, policy: Policy | str | Path | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(policy=Policy.load(policy), **kwargs)

    @property
    def _provider(self) -> str:
        return "langroute"

    @cached_property
    def _router(self) -> Router:
        return Router(self.policy, ledger=self.ledger, functions=stand_ins(self.policy))

    @override
    def _classify(self, state: Any, questions: Mapping[str, Any]) -> Any:
        """Answer every question; what the config's metadata says of the step counts as for any call.

        Raises:
            ValueError: A question is no `Choice` between the policy's tiers or steps.
            NoEndpointAvailable: Nothing of the step's plan may be called for this prompt.
            BudgetExceeded: No call of the step fits into what is left of a budget.
            LedgerError: The ledger cannot be opened.
        """
        purse = self._purse
        return self._answered(state, questions, None if purse is None else run(purse.look()))

    @override
    async def _aclassify(self, state: Any, questions: Mapping[str, Any]) -> Any:
        """Answer in the running event loop: there is nothing to wait for but a ledger."""
        purse = self._purse
        return self._answered(state, questions, None if purse is None else await arun(purse.look()))

    @property
    def _purse(self) -> Purse | None:
        return self._router.purse({}, metadata_of(None))

    def _answered(self, state: Any, questions: Mapping[str, Any], room: Room | None) -> Any:
        purse = None if room is None else cast("Purse", _Glance(room))
        request = Request(_messages(state), metadata=metadata_of(None), purse=purse)
        answer, plan = without_calls(self._router.decide(request))
        answers = {key: self._answer(key, asked, answer, plan) for key, asked in questions.items()}
        return _host.ClassifierResponse(model=self.model, answers=answers)

    def _answer(self, key: str, question: Any, answer: StepAnswer, plan: Plan) -> Any:
        labels = list(question.criteria) if question.type == "choice" else []
        offered = sorted({*labels} & {*self.policy.tiers}, key=self._router.rank)
        sure = not answer.unsure
        if offered:
            start = self._router.rank(plan.start)
            high_enough = [tier for tier in offered if self._router.rank(tier) >= start]
            chosen = high_enough[0] if high_enough else offered[-1]
            sure = sure and bool(high_enough)
        else:
            chosen = answer.step if answer.step in labels else "default"
        if chosen not in labels:
            raise ValueError(
                f"question {key!r} cannot be answered by a policy: it is no choice between its tiers"
                f" ({', '.join(self.policy.tiers)}), and its labels have neither {answer.step}, the step"
                " that this call is, nor default"
            )
        shares = {label: float(label == chosen) if sure else 1 / len(labels) for label in labels}
        return _host.ChoiceAnswer(type="choice", choice=chosen, probabilities=shares, confidence=float(sure))


@dataclass(frozen=True, slots=True)
class _Glance:
    """What a purse held when it was looked into: a decision on its own spends nothing."""

    room: Room

    def look(self) -> Flow[Room]:
        return self.room
        yield  # makes this a flow

    def reserve(self, worst_usd: float | None) -> Flow[Reservation]:  # noqa: ARG002 - as a purse's
        raise BudgetExceeded("a decision on its own calls nothing", "decision")
        yield  # as above


def _messages(state: Any) -> tuple[BaseMessage, ...]:
    """Return the messages of a state, or of its `messages`; any other structure becomes its JSON text."""
    said = state["messages"] if isinstance(state, Mapping) and "messages" in state else state
    if isinstance(said, BaseMessage):
        return (said,)
    if isinstance(said, Sequence) and said and all(isinstance(item, BaseMessage) for item in said):
        return tuple(said)
    text = state if isinstance(state, str) else json.dumps(state, ensure_ascii=False, default=str)
    return (HumanMessage(text),)
