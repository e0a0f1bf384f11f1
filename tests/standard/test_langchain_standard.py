"""LangChain's standard suites on `RoutedChatModel` over the loopback provider, everything switched on."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langroute import RoutedChatModel
from langroute.testing import LoopbackProvider
from langroute.testing.standins import large, small

POLICY = {
    "tiers": {
        "small": {"models": [{"model": "openai:standin-small", "settings": {"logprobs": True}}]},
        "large": {"models": ["openai:standin-large"]},
    },
    "steps": {"answer": {"cascade": ["small", "large"], "verify": ["not_empty", "tool_calls"], "repair": 1}},
    "default": {"cascade": ["large"]},
}


@pytest.fixture(scope="module", autouse=True)
def provider() -> Iterator[LoopbackProvider]:
    models = {"standin-small": small, "standin-large": large, "standin-other": large}
    with LoopbackProvider(models) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", running.base_url)
        patch.setenv("OPENAI_API_KEY", "loopback")
        yield running


class _Routed:
    """What both suites are told about the model."""

    @property
    def chat_model_class(self) -> type[RoutedChatModel]:
        return RoutedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"policy": POLICY, "step": "answer"}

    @property
    def model_override_value(self) -> str:
        return "standin-other"

    @property
    def supports_json_mode(self) -> bool:
        return True


# The suites construct models with settings such as `temperature`; ours belong in the policy, and it says so.
@pytest.mark.filterwarnings("ignore:RoutedChatModel ignores")
class TestRoutedChatModelUnit(_Routed, ChatModelUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "from-env"}, self.chat_model_params, {"step": "answer"}


@pytest.mark.filterwarnings("ignore:RoutedChatModel ignores")
# langchain-openai warns that it reads a pydantic v1 schema by function calling.
@pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema")
class TestRoutedChatModelIntegration(_Routed, ChatModelIntegrationTests):
    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        details = ["cache_read_input", "reasoning_output"]
        return {"invoke": details, "stream": details}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._twice(stream=stream)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._twice(stream=stream)

    def _twice(self, *, stream: bool) -> AIMessage:
        """Ask the same long question twice, so that its prefix is in the provider's cache."""
        model = RoutedChatModel(**self.chat_model_params)
        prompt = "The cable was laid in 1866. " * 100 + "When was the cable laid?"
        for _ in range(2):
            chunks: list[Any] = list(model.stream(prompt)) if stream else [model.invoke(prompt)]
        return sum(chunks[1:], chunks[0])


def test_suites_never_leave_the_machine() -> None:
    assert os.environ["OPENAI_BASE_URL"].startswith("http://127.0.0.1:")
