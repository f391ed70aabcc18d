"""What AWS charges: dated configuration, read strictly; no price stands in code.

`prices-2026-07.yaml` beside this file ships with the product and names the source of every number. A price that a file
does not have is an error that names the file and the place to add it, never a guess.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from policies.document import read_document
from policies.errors import dotted

SHIPPED = Path(__file__).with_name("prices-2026-07.yaml")
"""The prices that ship with the product."""

LARGEST = 4 * 1024 * 1024
"""Bytes of a file of prices; the shipped one has 24,000."""


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Price(_Block):
    """One price, and how far to trust it."""

    usd: float = Field(gt=0)
    source: str
    """A key of `sources`."""
    basis: Literal["published", "borrowed", "derived", "approximate"] = "published"


class _Months(_Block):
    instance_hours: float = Field(gt=0, le=744)
    window_days: float = Field(gt=0, le=31)


class _Imports(_Block):
    storage_per_unit_month: Price
    per_unit_minute: Mapping[str, Mapping[str, Price]]


class _File(_Block):
    apiVersion: Literal["pointsman-prices/v1"]
    date: Annotated[datetime.date, BeforeValidator(lambda text: datetime.date.fromisoformat(str(text)))]
    months: _Months
    sources: Mapping[str, str]
    imports: _Imports
    instances: Mapping[str, Mapping[str, Price]]


@dataclass(frozen=True, slots=True)
class Prices:
    """A file of prices. Look-ups raise ValueError with the place to add what is missing."""

    source: str
    """The file's name, for messages."""
    date: datetime.date
    instance_hours: float
    """Hours in a month of an instance."""
    window_days: float
    """Days in a month of an imported model."""
    storage: Price
    """USD per custom model unit and month, as long as the model exists."""
    units: Mapping[str, Mapping[str, Price]]
    """USD per custom model unit and minute, by region and version of the units."""
    instances: Mapping[str, Mapping[str, Price]]
    """USD per hour, by region and instance type."""
    sources: Mapping[str, str]

    def unit_minute(self, region: str | None, version: str) -> Price:
        """The price of a custom model unit for a minute."""
        return self._find(self.units, "imports.per_unit_minute", region, version)

    def instance_hour(self, region: str | None, instance: str) -> Price:
        """The price of an instance for an hour."""
        return self._find(self.instances, "instances", region, instance)

    def _find(self, table: Mapping[str, Mapping[str, Price]], place: str, region: str | None, name: str) -> Price:
        if region is None:
            message = f"no region, so {name} has no price; give the target a `region`"
            raise ValueError(message)
        price = table.get(region, {}).get(name)
        if price is None:
            message = (
                f"{self.source} has no price of {name} in {region}; add it as {place}.{region}.{name} to a "
                "copy of that file (`pointsman warm prices` prints the shipped one) and give the copy with --prices"
            )
            raise ValueError(message)
        return price


def read_prices(text: str, source: str) -> Prices:
    """The prices that `text` holds. Raises ValueError with everything that is wrong with it, one problem a line."""
    document = read_document(text)
    if document.problems:
        raise ValueError("\n".join(problem.render(source) for problem in document.problems))
    try:
        file = _File.model_validate(document.data)
    except ValidationError as error:
        lines = [f"{source}:{document.line(one['loc'])}: {dotted(one['loc'])}: {one['msg']}" for one in error.errors()]
        raise ValueError("\n".join(lines)) from error
    unknown = [f"{source}: {place}: has the source {name}, which `sources` lacks" for place, name in _cited(file)]
    if unknown:
        raise ValueError("\n".join(unknown))
    return Prices(
        source,
        file.date,
        file.months.instance_hours,
        file.months.window_days,
        file.imports.storage_per_unit_month,
        file.imports.per_unit_minute,
        file.instances,
        file.sources,
    )


def open_prices(path: Path = SHIPPED) -> Prices:
    """The prices of a file. Raises ValueError as `read_prices` does, and OSError when it cannot be read."""
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        message = f"{path} is larger than {LARGEST // 2**20} MiB; that is not a file of prices"
        raise ValueError(message)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 at byte {error.start}; that is not a file of prices"
        raise ValueError(message) from error
    return read_prices(text, str(path) if path != SHIPPED else path.name)


def _cited(file: _File) -> list[tuple[str, str]]:
    """(place, source) of every price whose source is not explained."""
    places = {"imports.storage_per_unit_month": file.imports.storage_per_unit_month}
    for root, table in (("imports.per_unit_minute", file.imports.per_unit_minute), ("instances", file.instances)):
        for region, row in table.items():
            places |= {f"{root}.{region}.{name}": price for name, price in row.items()}
    return [(place, price.source) for place, price in places.items() if price.source not in file.sources]
