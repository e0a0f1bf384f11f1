"""A decision model that reads: it chooses the label that a text names, and trusts one calling itself hard."""

import asyncio
import threading
from typing import Any

from langchain_core.decisions import BaseDecisionModel, ClassifierResponse
from pydantic import Field

__all__ = ["Stuck", "Words"]


class Words(BaseDecisionModel):
    """Chooses the first label that the text names, else `default`; a text with `hard` in it is hard."""

    model: str = "words"
    confidence: float = 0.9
    usage: dict[str, int] | None = None
    fails: Any = None
    asked: list[tuple[str, dict[str, Any]]] = Field(default_factory=list)

    @property
    def _provider(self) -> str:
        return "tests"

    def _classify(self, state, questions):
        self.asked.append((state, questions))
        if self.fails is not None:
            raise self.fails
        answers = {key: self.answer(state, question) for key, question in questions.items()}
        return ClassifierResponse(model=self.model, answers=answers, usage=self.usage)

    def answer(self, text: str, question: Any) -> dict[str, Any]:
        if question.type == "noul":
            return {"type": "noul", "noul": 0.9 if "hard" in text else 0.1}
        named = next((label for label in question.criteria if label in text), "default")
        shares = {label: float(label == named) for label in question.criteria}
        return {"type": "choice", "choice": named, "probabilities": shares, "confidence": self.confidence}


class Stuck(Words):
    """Answers when it is let go, which is after everybody has stopped waiting."""

    released: Any = None

    def _classify(self, state, questions):
        self.released.wait(5)
        return super()._classify(state, questions)

    async def _aclassify(self, state, questions):
        await asyncio.sleep(5)
        return super()._classify(state, questions)

    @classmethod
    def make(cls) -> "Stuck":
        return cls(released=threading.Event())
