"""The printed part of docs/dialects.md: `python -m tests.backends.wire.dialects.page` writes it from the tables."""

from __future__ import annotations

import json
from pathlib import Path

from backends.wire.dialects.keys import TABLES, UNTOLD_LIMIT, Key, fate
from policies.dialects import DIALECTS, OPAQUE, passage

PAGE = Path(__file__).parents[4] / "docs" / "dialects.md"
BEGIN, END = "<!-- printed from the tables: begin -->", "<!-- printed from the tables: end -->"


def printed() -> str:
    """The matrix, and for every dialect what becomes of each of its keys."""
    return "\n".join([_matrix(), *(_keys(dialect) for dialect in TABLES)])


def _matrix() -> str:
    lines = ["## The matrix", "", "Rows: what clients send. Columns: what the target speaks.", ""]
    lines += [_row(["", *(f"`{name}`" for name in DIALECTS)]), _row(["---"] * (len(DIALECTS) + 1))]
    lines += [_row([f"`{client}`", *(passage(client, target).value for target in DIALECTS)]) for client in DIALECTS]
    return "\n".join([*lines, ""])


def _keys(client: str) -> str:
    others = [name for name in DIALECTS if name not in (client, OPAQUE)]
    limit = UNTOLD_LIMIT[client]
    untold = "as many tokens as the context holds" if limit is None else f"{limit} tokens"
    lines = [f"## Keys of {client}", "", f"A request that gives no limit asks for {untold}.", ""]
    lines += [_row(["key", "asks for nothing", *(f"`{name}`" for name in others)]), _row(["---"] * (len(others) + 2))]
    for key in sorted(TABLES[client], key=lambda one: one.name):
        cells = [fate(client, target, key) or "**refused**" for target in others]
        lines.append(_row([f"`{key.name}`", _neutral(key), *cells]))
    return "\n".join([*lines, ""])


def _neutral(key: Key) -> str:
    told: list[str] = []
    for value in key.neutral:
        said = f"`{json.dumps(value)}`"
        if not any(value == other and type(value) is not type(other) for other in key.neutral[: len(told)]):
            told.append(said)
    return ", ".join(told)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the page anew."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{printed()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
