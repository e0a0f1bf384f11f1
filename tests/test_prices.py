"""What the price list says: for a length, at a moment, from a provider."""

from datetime import UTC, datetime

import pytest

from langroute.prices import listed_prices

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_long_prompt_pays_its_band_for_all_tokens():
    prices = listed_prices("anthropic", "claude-sonnet-4-5")

    assert prices.at(200_000, NOW).input == 3.0
    assert prices.at(200_001, NOW).input == 6.0
    assert prices.at(200_001, NOW).cache_read == pytest.approx(0.6)


def test_a_price_that_changes_by_the_hour_is_that_of_the_hour():
    prices = listed_prices("deepseek", "deepseek-chat")
    day, night = (datetime(2025, 6, 1, hour, tzinfo=UTC) for hour in (12, 20))

    assert prices.at(100, night).input < prices.at(100, day).input


def test_a_price_that_tokens_alone_cannot_pay_is_unknown():
    assert listed_prices("perplexity", "sonar").at(100, NOW) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-haiku-4-5"),
        ("azure", "gpt-5"),
        ("azure_openai", "gpt-5"),
        ("bedrock_converse", "anthropic.claude-opus-4-5-20251101-v1:0"),
        ("google_genai", "gemini-2.5-pro"),
        ("google_vertexai", "gemini-2.5-pro"),
        ("groq", "llama-3.3-70b-versatile"),
        ("mistralai", "mistral-small-latest"),
        ("openai", "gpt-5-nano"),
        ("xai", "grok-4"),
    ],
)
def test_langchains_names_of_providers_are_understood(provider, model):
    price = listed_prices(provider, model).at(1_000, NOW)

    assert price.input > 0
    assert price.output > 0


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "no-such"), ("nosuch", "gpt-5"), ("ollama", "llama3")]
)
def test_a_model_that_is_not_listed_has_no_price(provider, model):
    assert listed_prices(provider, model) is None
