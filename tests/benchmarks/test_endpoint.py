"""Is an endpoint that cannot be measured, or that costs what nobody allowed, refused before anything is measured?"""

from __future__ import annotations

import pytest

from benchmarks.endpoint import check_endpoint
from benchmarks.server import figures, serving
from synth_actors.errors import ConfigError


def refusal(text: str, budget_usd: float | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        check_endpoint(text, budget_usd)
    return str(refused.value)


@pytest.mark.parametrize("text", ["anthropic:claude-haiku-4-5", "openai:gpt-4o-mini"])
def test_what_costs_money_needs_a_budget_and_says_how_to_give_it(text: str) -> None:
    assert (
        refusal(text) == f"--endpoint {text}: its calls cost money; say how much it may be, such as --budget-usd 0.50"
    )


def test_a_key_that_is_missing_is_said_even_with_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "no API key" in refusal("openai:gpt-4o-mini", 0.5)


def test_one_call_shows_that_it_answers_and_costs_nothing_anybody_knows_of() -> None:
    with serving(latency=0.0) as url:
        assert check_endpoint(f"openai:m@{url}/v1", None) is None
        assert figures(url)["accepted"] == 1


def test_a_budget_where_nobody_knows_a_price_is_refused_without_a_call() -> None:
    with serving(latency=0.0) as url:
        text = f"openai:m@{url}/v1"
        assert refusal(text, 1.0) == (f"--endpoint {text}: nobody knows what its calls cost; leave out --budget-usd 1")
        assert figures(url)["accepted"] == 0


def test_an_endpoint_that_fails_is_refused_with_what_it_said() -> None:
    with serving(latency=0.0, fail=1.0) as url:
        assert refusal(f"openai:m@{url}/v1").startswith("--endpoint openai:m: a first call failed: ")


def test_where_nobody_listens_is_said_when_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.endpoint.OUTAGE_PATIENCE_S", 0.1)
    with serving(latency=0.0) as url:
        pass
    assert "a first call failed: " in refusal(f"openai:m@{url}/v1")
