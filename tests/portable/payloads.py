"""The messages of a request as LangChain's real integrations make them, offline."""

import functools
import warnings

from langchain_core.language_models import BaseChatModel
from writers import MODELS

__all__ = ["payload", "target"]


def payload(wire, messages):
    """Return what the integration would send; it raises where it refuses the messages itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _MAKERS[wire](target(wire), [message.model_copy(deep=True) for message in messages])


@functools.cache
def target(wire) -> BaseChatModel:
    """Return the chat model that is called."""
    name = MODELS[wire]
    match wire:
        case "openai" | "responses":
            from langchain_openai import ChatOpenAI

            return ChatOpenAI(model=name, api_key="none", use_responses_api=wire == "responses")
        case "anthropic":
            from langchain_anthropic import ChatAnthropic

            return ChatAnthropic(model=name, api_key="none", max_tokens=100)
        case "google":
            from langchain_google_genai import ChatGoogleGenerativeAI

            return ChatGoogleGenerativeAI(model=name, api_key="none")
        case "mistral":
            from langchain_mistralai import ChatMistralAI

            return ChatMistralAI(model=name, api_key="none")
    from langchain_aws import ChatBedrockConverse

    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    return ChatBedrockConverse(model=name, region_name="us-east-1", **keys)


def _openai(model, messages):
    return model._get_request_payload(messages)


def _google(model, messages):
    request = model._prepare_request(messages)
    system = request["config"].system_instruction
    return {
        "system_instruction": system and system.model_dump(mode="json", exclude_none=True),
        "contents": [each.model_dump(mode="json", exclude_none=True) for each in request["contents"]],
    }


def _mistral(model, messages):
    return {"messages": model._create_message_dicts(messages, None)[0]}


def _bedrock(model, messages):
    from langchain_aws.chat_models.bedrock_converse import _messages_to_bedrock

    made, system = _messages_to_bedrock(messages, model_id=model.model_id, provider=model.provider)
    return {"messages": made, "system": system}


_MAKERS = {
    "openai": _openai,
    "responses": _openai,
    "anthropic": _openai,
    "google": _google,
    "mistral": _mistral,
    "bedrock": _bedrock,
}
