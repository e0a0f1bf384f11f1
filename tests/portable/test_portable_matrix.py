"""Every history that any provider wrote is accepted by every other, as its real integration sends it."""

import copy
import sys
from importlib.util import find_spec

import pytest
from payloads import payload, target
from validators import refusal
from writers import MODELS, WIRES, histories

from langroute import portable

PACKAGES = {
    "openai": "langchain_openai",
    "responses": "langchain_openai",
    "anthropic": "langchain_anthropic",
    "google": "langchain_google_genai",
    "mistral": "langchain_mistralai",
    "bedrock": "langchain_aws",
}
INSTALLED = [wire for wire, package in PACKAGES.items() if find_spec(package)]


def refused(wire, messages):
    """Return why the integration or the provider refuses the messages; None where both accept them."""
    try:
        made = payload(wire, messages)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return refusal(wire, made)


@pytest.mark.parametrize("writer", WIRES)
@pytest.mark.parametrize("wire", INSTALLED)
def test_every_history_of_every_writer_is_accepted(wire, writer):
    found = {
        name: refused(wire, portable(history, to=target(wire))) for name, history in histories(writer).items()
    }
    assert len(found) >= 12
    assert {name: why for name, why in found.items() if why} == {}


@pytest.mark.parametrize("writer", WIRES)
@pytest.mark.parametrize("wire", INSTALLED)
def test_result_is_kept_as_it_is_and_the_history_unchanged(wire, writer):
    for history in histories(writer).values():
        given = copy.deepcopy(history)
        sent = portable(history, to=target(wire))
        assert history == given
        assert portable(sent, to=target(wire)) is sent


@pytest.mark.parametrize("wire", INSTALLED)
def test_what_a_model_wrote_itself_goes_back_to_it_untouched(wire):
    own = histories(wire)
    for name in ("plain", "thinking", "redacted thinking", "cache marks", "picture"):
        assert portable(own[name], to=target(wire)) is own[name], name


@pytest.mark.parametrize("wire", INSTALLED)
def test_thinking_of_another_model_of_the_same_provider_stays_behind(wire):
    sealed = [histories(wire)[name] for name in ("thinking", "redacted thinking")]
    for history in sealed:
        reply = next(message for message in history if message.type == "ai")
        other = reply.model_copy(
            update={"response_metadata": {**reply.response_metadata, "model_name": f"{MODELS[wire]}-next"}}
        )
        sent = portable([other if each is reply else each for each in history], to=target(wire))
        written = next(message for message in sent if message.type == "ai")
        assert refused(wire, sent) is None
        assert written.content == ("Hello." if carries(reply) else reply.content)


def carries(reply):
    """Whether the reply's content holds more than its text."""
    return not isinstance(reply.content, str)


def test_what_is_refused_without_it(capsys):
    counts = {
        wire: {
            writer: sum(refused(wire, history) is not None for history in histories(writer).values())
            for writer in WIRES
        }
        for wire in INSTALLED
    }
    lines = [f"  to {wire:10}" + "".join(f"{n:4}" for n in row.values()) for wire, row in counts.items()]
    head = f"\nrefused without `portable`, of {len(histories('openai'))} histories each: {', '.join(WIRES)}"
    with capsys.disabled():
        sys.stdout.write("\n".join([head, *lines, ""]))
    assert all(count > 0 for row in counts.values() for count in row.values())
