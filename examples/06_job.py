"""A job in a trio program: it is stopped half-way, and goes on without asking again."""

from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from pydantic import BaseModel, Field

from synth_actors.datasets import ColumnSpec, JobSpec, open_job


class Ticket(BaseModel):
    """What a customer wrote to support."""

    name: str
    email: str
    product: str
    urgency: int = Field(ge=1, le=5)


async def main(folder: Path) -> None:
    spec = JobSpec(
        schema=Ticket,
        count=400,
        output=folder / "tickets.jsonl",
        endpoints=["local"],  # e.g. ["anthropic:claude-haiku-5-5", "local"]: order = preference
        concurrency=4,
        columns={
            "product": ColumnSpec(values={"bicycle": 0.6, "helmet": 0.3, "pump": 0.1}),
            "urgency": ColumnSpec(min=1, max=5),
        },
    )

    async with open_job(spec) as job:
        rows = job.rows()
        for _ in range(40):
            ticket = await rows.receive()
            assert isinstance(ticket, Ticket)
    # whoever leaves early drains: calls that are out come to their end, and their answers are in the journal
    print(f"stopped: {job.report.valid} of {job.report.asked} rows made, 40 read")

    async with open_job(spec, resume=True) as job:
        print(f"goes on: {job.before.answers} answers are in the journal")
        async for ticket in job.rows():  # all of them, from the first one on
            assert ticket.urgency in range(1, 6)
        result = await job.finish()

    assert result.complete
    assert result.output is not None
    print(f"complete: {result.report.valid} rows in {result.output.name}, {result.report.replaced} duplicates replaced")
    assert result.quality is not None
    print(*result.quality.lines(), sep="\n")


with TemporaryDirectory() as name:
    trio.run(main, Path(name))
