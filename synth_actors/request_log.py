"""What is logged of a request, and by which fields is it found?

Everything goes to stdlib `logging` under "synth_actors", with `extra`, by which a handler of the program's own can sort
it; none is installed here but the `NullHandler` of a library.  Whoever calls these asks `logger.isEnabledFor` first: a
level that nobody listens to costs that and nothing more.
"""

from __future__ import annotations

import logging

from synth_actors.types import Response

logger = logging.getLogger("synth_actors")
logger.addHandler(logging.NullHandler())

FIELDS = (
    "request_id", "endpoint", "model", "attempt", "attempts", "fault", "status", "error", "delay_s", "outcome",
    "source", "queue_s", "service_s", "ttft_s", "total_s", "input_tokens", "output_tokens", "cost_usd",
)  # fmt: skip
"""What records about requests carry, each where it applies."""


def request_id(number: int) -> str:
    """The name of the `number`-th request of an engine, as `Response.request_id` has it."""
    return f"req-{number}"


def of_call(number: int, endpoint: str, attempt: int) -> dict[str, object]:
    """The fields of a record about one call: the `attempt`-th of the request `number`."""
    return {"request_id": request_id(number), "endpoint": endpoint, "attempt": attempt}


def log_response(response: Response) -> None:
    """DEBUG: a request has its answer."""
    timings, usage = response.timings, response.usage
    logger.debug(
        "%s: %s from %s in %.6f s",
        response.request_id,
        response.source,
        response.endpoint,
        timings.total_s,
        extra={
            "request_id": response.request_id,
            "outcome": "succeeded",
            "source": response.source,
            "endpoint": response.endpoint,
            "model": response.model,
            "attempts": response.attempts,
            "queue_s": timings.queue_s,
            "service_s": timings.service_s,
            "ttft_s": timings.ttft_s,
            "total_s": timings.total_s,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": usage.cost_usd,
        },
    )


def log_error(number: int, error: Exception, total_s: float) -> None:
    """DEBUG: a request has failed, `total_s` after it was submitted."""
    name = type(error).__name__
    logger.debug(
        "%s: failed after %.6f s: %s: %s",
        request_id(number),
        total_s,
        name,
        error,
        extra={
            "request_id": request_id(number),
            "outcome": "failed",
            "error": name,
            "endpoint": getattr(error, "endpoint", None),
            "attempts": getattr(error, "attempts", 0),
            "total_s": total_s,
        },
    )


def log_cancelled(number: int, total_s: float) -> None:
    """DEBUG: whoever waited has left, `total_s` after the request was submitted."""
    extra = {"request_id": request_id(number), "outcome": "cancelled", "total_s": total_s}
    logger.debug("%s: cancelled after %.6f s", request_id(number), total_s, extra=extra)


def log_failed_call(message: str, call: dict[str, object], fault: str, status: int | None) -> None:
    """INFO: a call has failed; `message` says how, and `call` are its fields."""
    logger.info("%s: %s", call["request_id"], message, extra={**call, "fault": fault, "status": status})


def log_retry(call: dict[str, object], delay_s: float | None) -> None:
    """INFO: the request of a failed call is tried again in `delay_s`; None: at once, where it has not failed yet."""
    when = "elsewhere" if delay_s is None else f"again in {delay_s:.3f} s"
    logger.info("%s: tried %s", call["request_id"], when, extra={**call, "delay_s": delay_s or 0.0})
