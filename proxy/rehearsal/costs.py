"""PURE. What the targets of a rehearsal cost while it lasted: windows of imports, hours of instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backends.emulator.config import EmulatorConfig
from policies.table import ImportCost, InstanceCost, RouteTable, Target
from warmers.economics import instances_usd, windows_usd
from warmers.prices import Prices

from .standins import stand_in


@dataclass(frozen=True, slots=True)
class Spent:
    """What one target cost."""

    target: str
    usd: float | None
    """None: nobody knows, for the reason in `basis`."""
    basis: str
    windows: int | None = None
    """Billing windows of an import, all copies together."""


def spent(
    table: RouteTable, config: EmulatorConfig, ledgers: Mapping[str, Mapping[str, object]], span: float, prices: Prices
) -> tuple[Spent, ...]:
    """What each target cost over `span` seconds."""
    return tuple(
        _of(target, ledgers[stand_in(target, config)], span, prices) for _, target in sorted(table.targets.items())
    )


def _of(target: Target, ledger: Mapping[str, object], span: float, prices: Prices) -> Spent:
    windows = ledger.get("windows")
    count = windows if isinstance(windows, int) else None
    try:
        match target.cost:
            case ImportCost(units=units, version=version):
                price = prices.unit_minute(target.region, version).usd
                usd = windows_usd(units, price, count or 0)
                return Spent(target.name, usd, f"{count} windows of 5 minutes, {units} units", count)
            case InstanceCost(instance=instance, count=number, share=share):
                price = prices.instance_hour(target.region, instance).usd
                usd = instances_usd(price, span / 3600, number, share)
                part = f" x {share:.0%}" if share != 1 else ""
                return Spent(target.name, usd, f"{number} x {instance}{part}, {span / 3600:.1f} hours")
            case _:
                return Spent(target.name, None, "the policy has no `cost` of it", count)
    except ValueError as error:
        return Spent(target.name, None, str(error), count)
