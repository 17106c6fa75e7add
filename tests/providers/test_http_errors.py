"""Does the table put the blame where it belongs, for the texts that real servers send?"""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from synth_actors.providers.base import Fault
from synth_actors.providers.http_errors import (
    FAULT_OF_STATUS,
    fault_of,
    read_error,
    reason,
    refuses_schema,
    retry_after_s,
    transport_fault,
)

OPENAI_QUOTA = {
    "error": {
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "type": "insufficient_quota",
        "code": "insufficient_quota",
    }
}
ANTHROPIC_CREDIT = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
    },
}
SPEND_LIMIT = {
    "error": {
        "type": "rate_limit_error",
        "message": "This organization has reached its limit.",
        "details": {"error_code": "enforced_spend_limit_reached"},
    }
}
BY_THE_MINUTE = {
    "error": {
        "type": "rate_limit_error",
        "message": "This request would exceed your organization's rate limit of 50 requests per minute.",
    }
}
GOOGLE_BY_THE_MINUTE = [
    {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, check your plan and billing details. Please retry in 21s.",
            "status": "RESOURCE_EXHAUSTED",
        }
    }
]
FLAGGED = {"error": {"code": 403, "message": "The model requires moderation and your input was flagged"}}
BILLING_COLUMN = {"error": {"type": "invalid_request_error", "message": "messages: 'billing_address' is too long"}}
LLAMA_LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
VLLM_NO_MODEL = {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}
ROUTER_NO_MODEL = {"error": {"message": "otter/x is not a valid model ID", "code": 400}}
GOOGLE_NO_KEY = [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (429, OPENAI_QUOTA, Fault.FATAL),
        (400, ANTHROPIC_CREDIT, Fault.FATAL),
        (429, SPEND_LIMIT, Fault.FATAL),
        (429, BY_THE_MINUTE, Fault.RATE_LIMITED),
        (429, GOOGLE_BY_THE_MINUTE, Fault.RATE_LIMITED),
        (429, b"", Fault.RATE_LIMITED),
        (403, FLAGGED, Fault.REJECTED),
        (403, {"error": {"message": "no access"}}, Fault.FATAL),
        (400, BILLING_COLUMN, Fault.REJECTED),
        (503, LLAMA_LOADING, Fault.OVERLOADED),
        (500, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, Fault.OVERLOADED),
        (404, VLLM_NO_MODEL, Fault.FATAL),
        (400, VLLM_NO_MODEL, Fault.FATAL),
        (400, ROUTER_NO_MODEL, Fault.FATAL),
        (400, GOOGLE_NO_KEY, Fault.FATAL),
        (400, {"error": {"message": "maximum context length", "code": "context_length_exceeded"}}, Fault.REJECTED),
        (307, b"", Fault.FATAL),
        (599, b"", Fault.FAILED),
    ],
)
def test_what_real_servers_say_finds_its_fault(status: int, body: Any, fault: Fault) -> None:
    assert fault_of(status, read_error(body)) is fault


def test_every_status_in_the_table_holds_for_an_empty_body() -> None:
    for status, fault in FAULT_OF_STATUS.items():
        assert fault_of(status, read_error(b"")) is fault


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (OPENAI_QUOTA, "You exceeded your current quota, please check your plan and billing details."),
        (VLLM_NO_MODEL, "The model `x` does not exist."),
        ({"error": "model is required"}, "model is required"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "slow down"}}},
         "Provider returned error slow down"),
        ("  plain \n text ", "plain text"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (None, ""),
        (7, ""),
        ([], ""),
    ],
)  # fmt: skip
def test_the_message_is_found_in_every_dialect(body: Any, message: str) -> None:
    assert read_error(body).message == message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "9", "retry-after-ms": "125"}, 0.125),
        ({"retry-after": "4233600"}, 4233600.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:20:00 GMT"}, 200.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Thu, 99 Foo 1970 00:20:00 GMT"}, None),
    ],
)
def test_every_form_of_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=1000.0) == seconds


@pytest.mark.parametrize(
    ("status", "message", "refused"),
    [
        (400, "output_config.format: Extra inputs are not permitted", True),
        (400, "'structured_outputs' is not supported by this model", True),
        (400, "Invalid schema for response_format 'output': In context=(), ...", True),
        (400, "failed to parse grammar", True),
        (404, "No endpoints found that support json_schema", True),
        (400, "max_tokens: must be at most 8192", False),
        (429, "response_format", False),
        (401, "schema", False),
    ],
)
def test_a_refused_schema_is_known_by_its_words(status: int, message: str, refused: bool) -> None:
    assert refuses_schema(status, read_error({"error": {"message": message}})) is refused


@pytest.mark.parametrize(
    ("exc", "fault"),
    [
        (httpx2.ConnectError("x"), Fault.UNREACHABLE),
        (httpx2.ConnectTimeout("x"), Fault.UNREACHABLE),
        (httpx2.ProxyError("x"), Fault.UNREACHABLE),
        (httpx2.ReadTimeout("x"), Fault.TIMED_OUT),
        (httpx2.ReadError("x"), Fault.FAILED),
        (httpx2.WriteError("x"), Fault.FAILED),
        (httpx2.RemoteProtocolError("x"), Fault.FAILED),
        (httpx2.DecodingError("x"), Fault.FAILED),
        (httpx2.LocalProtocolError("x"), Fault.REJECTED),
        (httpx2.InvalidURL("x"), Fault.REJECTED),
    ],
)
def test_only_what_was_never_sent_is_unreachable(exc: Exception, fault: Fault) -> None:
    assert transport_fault(exc) is fault


def test_what_a_cause_says_again_at_greater_length_is_said_once() -> None:
    verified = "unable to get local issuer certificate"
    broken = httpx2.ConnectError(f"no TLS with host:443: its certificate is not accepted: {verified}")
    broken.__cause__ = OSError(f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {verified} (_ssl.c:1006)")
    assert reason(broken) == f"ConnectError: {broken}"
    refused = httpx2.ConnectError("all attempts to connect to host:9 failed")
    refused.__cause__ = OSError(111, "Connection refused")
    assert reason(refused) == f"ConnectError: {refused}: [Errno 111] Connection refused"
