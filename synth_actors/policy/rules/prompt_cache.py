"""Does the provider's prompt cache save more than it costs?"""

from __future__ import annotations

from synth_actors.findings import Finding, Setting, predicted
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.snapshot import EndpointSnapshot, Snapshot


def prompt_cache_costs_more(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """What is written to the provider's prompt cache is hardly read again, and writing costs more than reading saves.

    Only where prices are known: without them nobody knows.
    """
    rows = [(_loss_usd(endpoint), endpoint) for endpoint in snapshot.router.endpoints.values()]
    loss_usd, endpoint = max(rows, key=lambda row: row[0], default=(0.0, None))
    if endpoint is None or not endpoint.cost_usd or endpoint.successes < limits.fewest_requests:
        return None
    severity = severity_of(loss_usd / endpoint.cost_usd, limits.prompt_cache_loss_share)
    if severity is None or loss_usd <= 0:
        return None
    setting = Setting(
        where="Endpoint",
        name="extra_body",
        now=None,
        then={"cache_control": None},
        endpoint=endpoint.name,
        is_now_known=False,
    )
    written, read = endpoint.cache_write_tokens, endpoint.cache_read_tokens
    return Finding(
        kind="cost",
        rule="prompt_cache_costs_more",
        severity=severity,
        what=f"{written:,} tokens were written to the prompt cache of {endpoint.name!r} and {read:,} read from it: that"
        f" cost ${loss_usd:.4g} more than it saved",
        evidence={
            "cache_write_tokens": float(written),
            "cache_read_tokens": float(read),
            "loss_usd": loss_usd,
            "cost_usd": endpoint.cost_usd,
        },
        cause="system texts differ from request to request, or come again only after the provider has dropped them",
        remedy=f"keep what all requests share, and nothing else, in Request.system, or {setting} beside what"
        f" extra_body has already{_also(snapshot)}",
        settings=(setting,),
        prediction=predicted(
            "cost_usd",
            endpoint.cost_usd,
            max(0.0, endpoint.cost_usd - loss_usd),
            "the same tokens at the price of input, by the prices of the endpoint",
        ),
    )


def _also(snapshot: Snapshot) -> str:
    """What else an `extra_body` changes: it is part of what answers are kept by."""
    durable = snapshot.cache.durable
    return "" if durable is None else f"; answers in {durable.path!r} from before are then asked for again"


def _loss_usd(endpoint: EndpointSnapshot) -> float:
    """Dollars that the prompt cache has cost beyond what it saved; below 0 when it pays."""
    prices = endpoint.usd_per_mtok
    if prices is None:
        return 0.0
    plain = prices.get("input", 0.0)
    more_usd = endpoint.cache_write_tokens * (prices.get("cache_write", plain) - plain)
    saved_usd = endpoint.cache_read_tokens * (plain - prices.get("cache_read", plain))
    return (more_usd - saved_usd) / 1e6
