"""A body of a request that fails on its way, and an answer that nobody reads to its end: nothing stays behind."""

from __future__ import annotations

import httpx2
import pytest

from synth_actors.wire.reuse import Reuse
from tests.wire.certificates import Certificates
from tests.wire.counted_server import serving
from tests.wire.stepping import generators_end, session
from tests.wire.test_cancel import over


class Unforeseen(BaseException):
    """As KeyboardInterrupt is: no Exception."""


ERRORS = [RuntimeError, Unforeseen, KeyboardInterrupt]
OF_ANOTHER_REQUEST = [httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError]  # whose answer is passed on


@over
@pytest.mark.parametrize("pieces", [0, 2])
@pytest.mark.parametrize("kind", [*ERRORS, *OF_ANOTHER_REQUEST])
async def test_what_the_maker_of_a_body_raises_leaves_as_itself(
    over: str, pieces: int, kind: type[BaseException], certificates: Certificates
) -> None:
    async with (
        serving(certificates.server() if over == "tls" else None) as server,
        session(server, certificates.client(), Reuse()) as at,
    ):
        error = kind("made up")
        await at.client.get("/whole/first")  # else there is no connection on which it might be written again
        with generators_end(), pytest.raises(kind) as raised:
            await at.client.post("/whole/1", content=at.body(pieces, fails=error))
        assert raised.value is error
        assert "/whole/1" not in server.whole
        await at.check()
        await at.check_next()


@over
@pytest.mark.parametrize("pieces", [0, 1, 2, 3, None])
async def test_an_answer_is_closed_behind_any_piece_of_it(
    over: str, pieces: int | None, certificates: Certificates
) -> None:
    async with (
        serving(certificates.server() if over == "tls" else None) as server,
        session(server, certificates.client(), Reuse()) as at,
    ):
        async with at.client.stream("GET", "/pieces/1") as response:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            chunks = aiter(response.stream)
            for _ in range(3 if pieces is None else pieces):
                assert await anext(chunks)
            if pieces is None:
                assert await anext(chunks, None) is None
            await response.aclose()
            assert at.idle == (pieces is None)  # the end of the body is known only once it was read
            await response.aclose()
            await chunks.aclose()  # type: ignore[attr-defined]
        await at.check()
        await at.check_next()
