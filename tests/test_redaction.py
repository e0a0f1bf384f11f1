"""What must never leave in a message, and what must stay readable."""

import pytest

from langroute.redaction import redact


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF0123456789",
        "sk-ant-api03-abcDEF0123456789",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "gsk_abcDEF0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "hf_abcDEFghiJKL",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_a_key_is_taken_out_wherever_it_stands(secret):
    told = redact(f"the key {secret} was refused ({secret})")

    assert secret not in told
    assert told.startswith("the key [redacted] was refused")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def-ghi", "abc.def"),
        ("authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ('{"api_key": "hunter22", "model": "m"}', "hunter22"),
        ("x-api-key: hunter22", "hunter22"),
        ("GET http://host/v1?key=hunter22&x=1", "hunter22"),
        ("http://user:hunter22@proxy:8080/v1", "hunter22"),
        ("password = hunter22", "hunter22"),
    ],
)
def test_a_secret_is_known_by_what_stands_before_it(text, secret):
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "Error code: 429 - Rate limit reached for gpt-5-nano-2025-08-07 on tokens per min (TPM): Limit 30000",
        "The model `gpt-5` does not exist or you do not have access to it.",
        "set the environment variable OPENAI_API_KEY",
        "[Errno 111] Connection refused by http://127.0.0.1:8000/v1/chat/completions",
        "max_tokens: 4096 is more than key limits allow",
    ],
)
def test_an_ordinary_message_stays_as_it_is(text):
    assert redact(text) == text
