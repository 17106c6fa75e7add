"""Which pydantic models do people write?  One of every ordinary kind of field, alone and together."""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Optional
from uuid import UUID

from pydantic import (
    AnyUrl,
    AwareDatetime,
    Base64Str,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PastDate,
    PositiveInt,
    RootModel,
    SecretStr,
    StringConstraints,
    conint,
    conlist,
    constr,
)
from typing_extensions import TypedDict


class Plan(enum.Enum):
    FREE = "free"
    PRO = "pro"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Scalars(BaseModel):
    text: str
    whole: int
    real: float
    flag: bool
    nothing: None


class Optionals(BaseModel):
    nickname: Optional[str] = None  # noqa: UP045 - the older spelling is what many people write
    age: int | None
    city: str = "Berlin"


class Money(BaseModel):
    price: Decimal
    tax: Decimal = Field(ge=0, le=100, decimal_places=2)
    rate: Annotated[Decimal, Field(max_digits=9, decimal_places=3)]
    total: Decimal | None = Field(gt=0)


class Choices(BaseModel):
    plan: Plan
    level: Level
    kind: Literal["a", "b"]
    mixed: Literal[1, "x", None]


class Times(BaseModel):
    created_at: dt.datetime
    updated_at: dt.datetime
    birth_date: dt.date
    opens: dt.time
    duration: dt.timedelta
    seen: AwareDatetime
    joined: PastDate


class Identifiers(BaseModel):
    id: UUID
    website: AnyUrl
    homepage: HttpUrl
    server: ipaddress.IPv4Address
    gateway: ipaddress.IPv6Address
    network: ipaddress.IPv4Network
    any_address: ipaddress.IPv4Address | ipaddress.IPv6Address
    payload: Base64Str
    secret: SecretStr
    raw: bytes


class Mail(BaseModel):
    model_config = ConfigDict(title="Mail")
    address: Annotated[str, Field(json_schema_extra={"format": "email"})]


class Containers(BaseModel):
    counts: dict[str, int]
    point: tuple[float, float]
    pair: tuple[int, str]
    many: tuple[int, ...]
    colours: set[str]
    frozen: frozenset[int]
    words: list[str] = Field(min_length=2, max_length=3)
    nested: list[list[int]]
    anything: Any
    free: dict[str, Any]
    names: Sequence[str]


class Constrained(BaseModel):
    code: constr(pattern=r"^[A-Z]{3}-\d{4}$")  # type: ignore[valid-type]
    small: conint(ge=1, lt=10)  # type: ignore[valid-type]
    few: conlist(int, min_length=1, max_length=2)  # type: ignore[valid-type]
    short: Annotated[str, StringConstraints(min_length=2, max_length=4)]
    long: str = Field(min_length=200, max_length=220)
    step: int = Field(multiple_of=5)
    fine: float = Field(multiple_of=0.01, ge=0, le=5)
    positive: PositiveInt
    ratio: float = Field(gt=0, lt=1)
    exact: float = Field(ge=1, le=1)


class Address(BaseModel):
    street: str
    city: str
    zip_code: str
    country: str


class Person(BaseModel):
    first_name: str
    last_name: str
    full_name: str
    email: str
    address: Address
    past: list[Address]


class Camel(BaseModel):
    first_name: str = Field(alias="firstName")
    last_name: str = Field(alias="lastName")
    email_address: str = Field(alias="emailAddress")


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Chain(BaseModel):
    name: str
    following: Chain | None


class Ping(BaseModel):
    pong: Pong | None = None


class Pong(BaseModel):
    pings: list[Ping]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    breed: str


class Pet(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    loose: Cat | Dog | int


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    count: int
    ratio: float


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Numbers(RootModel[list[int]]):
    pass


class Scores(RootModel[dict[str, float]]):
    pass


class Line(TypedDict):
    product: str
    quantity: int
    unit_price: float
    total: float


class Order(BaseModel):
    lines: list[Line] = Field(min_length=1)
    order_id: int


class Spot(NamedTuple):
    x: int
    y: int


class Map(BaseModel):
    spots: list[Spot]
    by_level: dict[Plan, int]
    by_day: dict[dt.date, Decimal]


class Described(BaseModel):
    a: str = Field(description="The e-mail address of the customer", examples=["a@example.com"])
    b: str = Field(title="Phone number", description="telephone number with country code")
    c: int = Field(default=3, deprecated=True)


class Base(BaseModel):
    id: int


class Derived(Base):
    label: str
    parent: Base
    other: Base | None = None


class Inner(BaseModel):
    level: Level


class Outer(BaseModel):
    inner: dict[str, list[Inner]]
    either: list[int] | dict[str, int] | str


class Empty(BaseModel):
    pass


MODELS: tuple[type[BaseModel], ...] = (
    Scalars, Optionals, Money, Choices, Times, Identifiers, Mail, Containers, Constrained, Address, Person, Camel,
    Tree, Chain, Ping, Pong, Cat, Dog, Pet, Strict, Open, Numbers, Scores, Order, Map, Described, Derived, Inner,
    Outer, Empty,
)  # fmt: skip
