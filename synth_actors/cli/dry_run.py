"""What would a run ask for, and what might it cost?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson
from pydantic import SecretStr

from synth_actors.cli.settings import check_access
from synth_actors.config import Endpoint
from synth_actors.datasets.jobs.prepared import Prepared
from synth_actors.datasets.size import tokens_of_text
from synth_actors.providers.access import MissingKeyError
from synth_actors.providers.prices import price_of


def plan_text(prepared: Prepared, notes: Sequence[str] = ()) -> str:
    """The plan for a person: requests, tokens, dollars, the first prompt."""
    plan = prepared.making.plan
    job = plan.job
    first = plan.request(plan.rows_of(0), 0, {})
    sent = (first.system or "") + (first.prompt or "") + orjson.dumps(first.output_schema.json_schema()).decode()
    tokens_in, tokens_out = plan.requests * tokens_of_text(sent), job.count * plan.row_tokens
    lines = [
        "The plan; nothing was sent and no file was written.",
        f"  rows       {job.count} to {prepared.target}, seed {job.seed}",
        f"  requests   {plan.requests} of up to {job.rows_per_request} rows, max_tokens {first.max_tokens} each",
        f"  tokens     about {tokens_in:,} in and {tokens_out:,} out, when every row is right at once",
        *(f"  endpoint   {line}" for line in _endpoints(prepared, tokens_in, tokens_out)),
        *(f"  note       {note}" for note in notes),
        "The first request:",
        *("  | " + line for line in f"{first.system}\n\n{first.prompt}".splitlines()),
    ]
    return "\n".join(lines)


def missing_keys(endpoints: Sequence[Endpoint]) -> tuple[list[str], list[Endpoint]]:
    """What to say about keys that are not there, and the endpoints with another in their place, to be opened only."""
    notes, usable = [], []
    for endpoint in endpoints:
        try:
            check_access(endpoint)
        except MissingKeyError as exc:
            notes.append(str(exc))
            endpoint = endpoint.model_copy(update={"api_key": SecretStr("missing")})
        usable.append(endpoint)
    return notes, usable


def _endpoints(prepared: Prepared, tokens_in: int, tokens_out: int) -> Iterator[str]:
    budget = prepared.config.budget_usd
    for endpoint in prepared.endpoints:
        cost = _cost(endpoint, tokens_in, tokens_out)
        if cost is None:
            yield f"{endpoint.name}: cost unknown; give its price = {{...}} under [[endpoints]] in --config"
        else:
            over = f", more than the budget of ${budget:g}" if budget is not None and cost > budget else ""
            about = f"about ${cost:.4f} if it makes all rows{_by(endpoint)}" if cost else "free"
            yield f"{endpoint.name}: {about}{over}"


def _cost(endpoint: Endpoint, tokens_in: int, tokens_out: int) -> float | None:
    price = price_of(endpoint)
    if price is None:
        return None
    return (tokens_in * price.input_usd_per_mtok + tokens_out * price.output_usd_per_mtok) / 1e6


def _by(endpoint: Endpoint) -> str:
    price = price_of(endpoint)
    return f" (prices: {price.source})" if price is not None and price.source else ""
