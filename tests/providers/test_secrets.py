"""Are the secrets of an endpoint taken out of what client libraries log, for handlers of every kind?"""

from __future__ import annotations

import logging

import pytest

from synth_actors.providers.secrets import Secrets, keep_out_of_foreign_logs, secrets_of

KEY = "sk-0123456789"


def test_a_handler_that_writes_the_exception_itself_finds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    secrets = Secrets([KEY])
    keep_out_of_foreign_logs(secrets)
    for said in (KEY, "nothing secret"):
        try:
            raise ValueError(f"cannot parse {said}")
        except ValueError:
            logging.getLogger("httpx2").exception("trouble")
    secret, plain = caplog.records
    assert secret.exc_info is None
    assert secret.exc_text is not None
    assert "ValueError: cannot parse [key]" in secret.exc_text
    assert KEY not in repr(vars(secret))
    assert plain.exc_info is not None
    assert plain.exc_info[0] is ValueError


def test_a_record_is_as_it_was_once_nobody_holds_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    key = "sk-of-this-test-alone"
    secrets = Secrets([key])
    keep_out_of_foreign_logs(secrets)
    logging.getLogger("httpcore2.http11").warning("sent %s", key)
    del secrets
    logging.getLogger("httpcore2.http11").warning("sent %s", key)
    assert [record.getMessage() for record in caplog.records] == ["sent [key]", f"sent {key}"]


def test_endpoints_with_the_same_secrets_share_them() -> None:
    first, again = secrets_of([KEY, None, "password-1"]), secrets_of(["password-1", KEY])
    assert first is again
    assert secrets_of([KEY]) is not first
    assert first.scrub(f"{KEY} and password-1") == "[key] and [key]"
