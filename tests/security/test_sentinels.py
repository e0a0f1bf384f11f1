"""No secret, and no text of a prompt, shows anywhere but where it is meant to be."""

import base64
import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import FakeEmbeddings
from pydantic import SecretStr
from routed_models import shown
from scene import (
    ARGUMENT,
    HEADER,
    HOLDS_TEXT,
    KEY,
    PROMPT,
    PROXY_PASSWORD,
    SECRETS,
    SINKS,
    TEXTS,
    URL_PASSWORD,
    Scene,
    locals_of,
    played,
    printed,
    told,
    written,
)

from langroute import Policy, PolicyError, RoutedChatModel
from langroute.errors import AllAttemptsFailed, EndpointError, LedgerError
from langroute.ledger import open_store
from langroute.policy import ModelSpec
from langroute.redaction import unquoted, unveiled
from langroute.testing import ScriptedChatModel, capture_decisions


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with played(f"sqlite:///{tmp_path_factory.mktemp('store') / 'answers.db'}") as made:
        yield made


@pytest.mark.parametrize("sink", SINKS)
def test_no_secret_shows(scene: Scene, sink: str) -> None:
    said = str(SINKS[sink](scene))
    assert said or sink in ("log of langroute", "warnings")
    assert [name for name, secret in SECRETS.items() if secret in said] == []


@pytest.mark.parametrize("sink", [sink for sink in SINKS if sink != "logs of everybody, DEBUG"])
def test_no_text_of_a_call_shows(scene: Scene, sink: str) -> None:
    said = str(SINKS[sink](scene))
    assert {name for name, word in TEXTS.items() if word in said} <= HOLDS_TEXT.get(sink, set())


def test_the_secrets_do_reach_the_provider(scene: Scene) -> None:
    asked = scene.provider.requests[0]
    assert asked.headers["x-team"] == HEADER
    assert PROMPT in str(asked.body)
    assert ARGUMENT in str(asked.body)


def test_what_is_searched_for_would_be_found(scene: Scene) -> None:
    assert TEXTS["prompt"] in SINKS["state of the graph"](scene)
    assert TEXTS["reply"] in SINKS["decision"](scene)
    assert KEY in str(scene.echoed.exceptions[0])


# On the wire ---------------------------------------------------------------------------------------------


class Taken:
    """A server that takes requests down, head and all, and refuses them."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.says = ""
        """Body of its refusals."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self.heads.append(connection.recv(65_536).decode("latin-1"))
                    head = f"HTTP/1.1 503 No\r\ncontent-length: {len(self.says)}\r\nconnection: close\r\n\r\n"
                    connection.sendall((head + self.says).encode())

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Taken]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Taken()
    yield server
    server.close()


def _basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"


async def _refused(model: RoutedChatModel, mode: str) -> AllAttemptsFailed:
    with pytest.raises(AllAttemptsFailed) as raised:
        await shown(model, mode, PROMPT)
    return raised.value


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_password_in_the_servers_address_is_sent_and_shown_nowhere(
    taken: Taken, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://svc:{URL_PASSWORD}%40@{taken.address}/v1")
    model = RoutedChatModel(written()).for_step("failing")

    error = await _refused(model, mode)

    head = taken.heads[0]
    assert head.startswith("POST /v1/chat/completions")
    assert _basic(f"svc:{URL_PASSWORD}@") in head
    assert f"x-team: {HEADER}" in head.lower()
    assert URL_PASSWORD not in told(error) + locals_of(error)


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_password_of_the_proxy_is_sent_and_shown_nowhere(
    taken: Taken, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("OPENAI_PROXY", f"http://us:{PROXY_PASSWORD}@{taken.address}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.invalid/v1")
    model = RoutedChatModel(written()).for_step("failing")

    error = await _refused(model, mode)

    assert taken.heads[0].startswith("POST http://models.invalid/v1/chat/completions")
    assert _basic(f"us:{PROXY_PASSWORD}") in taken.heads[0]
    said = repr([(e.model, e.model.model_dump()) for e in model.router.endpoints.by_name.values()])
    assert PROXY_PASSWORD not in said + told(error) + locals_of(error)


def test_endpoints_that_differ_in_a_header_or_a_user_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def identity(team: str, user: str) -> str:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://{user}@models.invalid/v1")
        settings = {"default_headers": {"X-Team": team}}
        policy = {"tiers": {"small": {"models": [{"model": "openai:m", "settings": settings}]}}}
        model = RoutedChatModel(policy)
        return str(model.router.health()["openai:m"]["identity"])

    assert identity("blue", "a:b") == identity("blue", "a:b")
    assert len({identity("blue", "a:b"), identity("red", "a:b"), identity("blue", "a:c")}) == 3


# Who is asked which step a call is ------------------------------------------------------------------------


class Quoting(FakeEmbeddings):
    """Quotes its key and the prompt as it fails."""

    size: int = 2
    key: SecretStr = SecretStr(KEY)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise RuntimeError(f"{self.key.get_secret_value()} may not ask {texts}")


def test_a_classifier_that_fails_quotes_neither_secret_nor_prompt(
    taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://svc:{URL_PASSWORD}@{taken.address}/v1")
    taken.says = f"No {HEADER} and no svc:{URL_PASSWORD} may ask '{PROMPT}'."
    headed = {**MODEL, "settings": {"default_headers": HEADERS}}
    policy = {
        "tiers": {"small": {"models": [ScriptedChatModel(reply="Yes.")]}, "large": {"models": [headed]}},
        "steps": {"answer": {"cascade": ["small"]}},
        "default": {"cascade": ["small"]},
        "classify": {"model": "large", "examples": {"answer": ["Why?"]}},
    }
    with capture_decisions() as decisions:
        RoutedChatModel(policy, embeddings=Quoting()).invoke(PROMPT)
    said = repr(decisions[0])
    assert said.count("gave no answer") >= 2
    assert [word for word in (*SECRETS.values(), TEXTS["prompt"]) if word in said] == []


# Wrong right at the secret -------------------------------------------------------------------------------

MODEL = {"model": "openai:m"}
HEADERS = {"X-Team": HEADER}
WRONG: dict[str, Any] = {
    "a key as a setting": {**MODEL, "settings": {"api_key": KEY}},
    "a key as a header": {**MODEL, "settings": {"default_headers": {"Authorization": f"Bearer {KEY}"}}},
    "a key in a name": {**MODEL, "name": KEY, "boundary": 5},
    "a password in the address": {**MODEL, "settings": {"base_url": f"http://a:{URL_PASSWORD}@h/v1"}},
    "a password with signs in it": {**MODEL, "settings": {"base_url": f"http://a:x/{URL_PASSWORD}@y@h/v1"}},
    "a password of a proxy": {**MODEL, "settings": {"openai_proxy": f"http://a:{PROXY_PASSWORD}@h"}},
    "headers that are no setting": {**MODEL, "default_headers": HEADERS},
    "headers as pairs": {**MODEL, "extra_headers": [["X-Team", HEADER]]},
    "headers with a model that is none": {"model": "m", "settings": {"default_headers": HEADERS}},
    "headers of settings in a list": {**MODEL, "settings": [{"default_headers": HEADERS}]},
    "headers beside an unknown key": {**MODEL, "settings": {"default_headers": HEADERS}, "colour": "red"},
    "a dump read again": ModelSpec(**MODEL, settings={"default_headers": HEADERS}).model_dump(mode="json"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_policy_that_is_wrong_at_a_secret_does_not_show_it(tmp_path: Any, wrong: Any) -> None:
    policy = {"tiers": {"small": {"models": [wrong]}}}
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy))
    for given in (policy, path):
        with pytest.raises(PolicyError) as raised:
            Policy.load(given)
        said = told(raised.value) + locals_of(raised.value)
        assert [name for name, secret in SECRETS.items() if secret in said] == []
    for command in (["check", "POLICY"], ["check", "POLICY", "--json"], ["explain", "POLICY", "Hello"]):
        said = printed(*command, policy=policy, folder=tmp_path)
        assert "tiers.small" in said
        assert [name for name, secret in SECRETS.items() if secret in said] == []


@pytest.mark.parametrize(
    "command",
    [
        ["check", "POLICY", "--spec"],
        ["check", "POLICY", "--spec", "--json"],
        ["explain", "POLICY", PROMPT],
        ["explain", "POLICY", PROMPT, "--json"],
        ["schema"],
    ],
)
def test_the_command_line_shows_no_secret_of_a_policy(tmp_path: Any, command: list[str]) -> None:
    policy = written()
    policy["tiers"]["small"][0]["settings"]["default_header"] = {"X-Team": HEADER}  # misspelt: warned of
    said = printed(*command, policy=policy, folder=tmp_path)
    assert len(said) > 100
    assert [word for word in (HEADER, TEXTS["prompt"]) if word in said] == []


def test_a_model_that_cannot_be_built_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://svc:{URL_PASSWORD}@h/v1")
    policy = written()
    policy["tiers"]["small"][0]["settings"] = {"default_headers": HEADERS, "n": 0}
    with pytest.raises(EndpointError) as raised:
        RoutedChatModel(policy)
    said = told(raised.value) + locals_of(raised.value).replace(repr(policy), "")
    assert [name for name, secret in SECRETS.items() if secret in said] == []


@pytest.mark.parametrize("ending", ["", "?no_such_setting=1"])
def test_a_store_that_cannot_be_opened_does_not_show_its_password(ending: str) -> None:
    password = "sentineldbpass"  # noqa: S105 - what is searched for
    with pytest.raises(LedgerError) as raised:
        open_store(f"postgresql://svc:{password}@127.0.0.1:1/answers{ending}")
    assert "127.0.0.1:1/answers" in str(raised.value)
    assert password not in told(raised.value)


# What a given model is -----------------------------------------------------------------------------------


def test_a_given_models_headers_do_not_show_in_the_policys_repr_or_json(scene: Scene) -> None:
    given = scene.provider.chat_model("small", default_headers=HEADERS)
    policy = Policy(tiers={"small": {"models": [given]}})
    model = RoutedChatModel(policy)
    said = repr(policy) + policy.model_dump_json() + repr(model) + repr(model.router.endpoints.by_name)
    assert "ChatOpenAI:small" in said
    assert HEADER not in said


# Digests and quotations ----------------------------------------------------------------------------------


def test_the_digest_counts_the_names_of_headers_and_not_their_values() -> None:
    def digest(**headers: str) -> str:
        settings = {"default_headers": headers}
        return Policy(tiers={"small": {"models": [{**MODEL, "settings": settings}]}}).digest

    assert digest(team="blue") == digest(team="red")
    assert digest(team="blue") != digest(tenant="blue")


def test_a_dump_in_python_can_be_read_again_with_its_headers() -> None:
    settings = {"default_headers": HEADERS, "http_socket_options": [(1, 2, 3)]}
    policy = Policy(tiers={"small": {"models": [{**MODEL, "settings": settings}]}})
    again = Policy.load(policy.model_dump())
    assert again == policy
    assert unveiled(again.tiers["small"].models[0].settings) == settings


def test_a_short_quotation_stays_and_a_longer_one_is_taken_out() -> None:
    prompt = f"Some words.\n\n{PROMPT}"
    assert unquoted(f"cannot serve '{PROMPT[:20]}'", [prompt]) == f"cannot serve '{PROMPT[:20]}'"
    assert unquoted(f"cannot serve '{PROMPT}' now", [prompt]) == "cannot serve '[…]' now"
    assert unquoted(f"'{PROMPT}', '{PROMPT}'", [prompt]) == "'[…]', '[…]'"
    assert unquoted(f"{PROMPT}", []) == PROMPT


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_quotation_is_found_wherever_it_begins(at: int) -> None:
    message = f"{'x' * at}{PROMPT[5:40]}{'y' * 7}"
    assert re.fullmatch(r"x*\[…\]y*", unquoted(message, ["a" * 10_000, PROMPT]))
