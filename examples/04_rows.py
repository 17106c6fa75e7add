"""Exactly 100 valid rows of a pydantic model."""

from datetime import date
from enum import StrEnum

import trio
from pydantic import BaseModel, Field

from synth_actors import open_engine
from synth_actors.datasets import generate_rows


class Plan(StrEnum):
    """What a customer pays for."""

    free = "free"
    pro = "pro"
    team = "team"


class Customer(BaseModel):
    """One customer of a software shop."""

    name: str
    email: str
    city: str
    plan: Plan
    joined: date
    monthly_usd: float = Field(ge=0, le=500)


async def main() -> None:
    async with open_engine(["local"]) as engine:
        async with generate_rows(engine, Customer, 100, rows_per_request=20, seed=7) as rows:
            customers = [row async for row in rows]
        print(f"{len(customers)} customers, for example {customers[0]}")
        print(f"{rows.report.requests} requests, {rows.report.duplicates} duplicates")


trio.run(main)
