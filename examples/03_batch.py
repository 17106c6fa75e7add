"""Many structured answers at once, and what the engine says about the run."""

import trio
from pydantic import BaseModel, Field

from synth_actors import EngineConfig, Request, open_engine


class Review(BaseModel):
    """A product review."""

    product: str
    rating: int = Field(ge=1, le=5)
    comment: str = Field(max_length=200)


async def main() -> None:
    config = EngineConfig(max_concurrency=50)
    requests = [
        Request(prompt=f"Review number {number} of a kitchen tool.", output_schema=Review, max_tokens=500)
        for number in range(200)
    ]
    async with open_engine(["local"], config) as engine:
        stars = 0
        async with engine.batch(requests) as outcomes:
            async for outcome in outcomes:  # as they complete; one failure never loses the others
                if outcome.response is None:
                    print(f"request {outcome.index} failed: {outcome.error}")
                else:
                    stars += outcome.response.data.rating
        snapshot = await engine.metrics()

    response = snapshot.latency["response"]
    print(f"{snapshot.counters.succeeded} reviews, {stars / 200:.2f} stars on average")
    print(f"p50 {response.p50_s * 1e3:.1f} ms, p99 {response.p99_s * 1e3:.1f} ms, {snapshot.counters.paid_calls} calls")


trio.run(main)
