"""Readers of arrival traces: when the requests of each model came.

What a file holds is told from its first line, not from its name:

| format | one line is | series |
|---|---|---|
| Azure's LLM inference traces (CSV) | a request | the file's own name |
| Mooncake's traces (JSON lines) | a request | the file's own name |
| ServeGen's clients (CSV) | ten minutes of one client: its rate, and how its gaps are spread | `model/client` |
| SageMaker DataCapture (JSON lines) | a request | the endpoint in the path `ENDPOINT/VARIANT/yyyy/mm/dd/hh/` |
| `time,model,requests` (CSV) | some minutes of one model, as CloudWatch's Invocations give them | `model` |
| Pointsman's request log | a request, among other lines | `endpoint` or `endpoint/component` |

Any of them may be gzipped. Bodies that a capture holds are skipped over, never kept. What is malformed is a ValueError
that names file and line; a request log may hold other lines and a torn last one.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from .arrivals import GRAIN, Arrivals, gather
from .packed import opened
from .renewal import Draws, Stretch, arrivals_of

_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. A capture holds bodies of up to 25 MB as base64, in both directions."""
_LOG_MARK = '{"log":"request"'
_DAY = 86_400.0
_SHORTEST = 600.0
_COMPLETE = ("counts", "log")
"""Formats that hold the requests of every model: one that they don't name had none."""


@dataclass(frozen=True, slots=True)
class Traces:
    """The series of some files. All share one clock, so that a model which is not among them was idle or unknown."""

    names: tuple[str, ...]
    pick: Callable[[str], Arrivals]
    """The arrivals of one of `names`."""
    complete: bool
    """True: a model without a series had no request."""
    span: float
    start: float | None

    def idle(self) -> Arrivals:
        """No request in all the time that the traces cover."""
        return gather((), self.span, self.start)


def read_traces(paths: Sequence[Path], draws: Draws) -> Traces:
    """The series of these files, all of one format; a folder stands for every .jsonl below it.

    `draws` is for ServeGen alone, whose lines give rates: the same draws give the same arrivals.

    Raises:
        ValueError: a file is in none of the formats, malformed, empty, or of another format than the first.
        OSError: a file cannot be read.
    """
    files = [file for path in paths for file in (sorted(path.rglob("*.jsonl")) if path.is_dir() else [path])]
    if not files:
        message = f"{', '.join(map(str, paths))}: no trace in there; a folder must hold .jsonl files of DataCapture"
        raise ValueError(message)
    found = [(file, *_read(file)) for file in files]
    kinds = {kind for _, kind, _ in found}
    if len(kinds) > 1:
        message = f"these files are of different formats ({', '.join(sorted(kinds))}); a plan reads one"
        raise ValueError(message)
    if kinds == {"servegen"}:
        return _servegen(chain.from_iterable(rows for _, _, rows in found), draws)
    moments: dict[str, list[tuple[float, int]]] = {}
    for file, kind, rows in found:
        for name, row in rows:
            moments.setdefault(name or _name(file, kind), []).append(row if kind == "counts" else (row, 1))
    return _of_moments(moments, ", ".join(map(str, paths)), kinds.pop())


def _of_moments(moments: Mapping[str, list[tuple[float, int]]], source: str, kind: str) -> Traces:
    if not moments:
        message = f"{source}: holds no request"
        raise ValueError(message)
    first, last = min(map(min, moments.values()))[0], max(map(max, moments.values()))[0]
    period = _period(moments.values()) if kind == "counts" else 1.0
    span = last - first + period  # what the last line stands for belongs to it
    if span < _SHORTEST:
        message = f"{source}: covers {span:.0f} seconds; a plan needs ten minutes at least, and a week is better"
        raise ValueError(message)
    start = None if kind == "mooncake" else first

    def pick(name: str) -> Arrivals:
        rows = ((moment - first, count) for moment, count in moments[name])
        return gather(rows if kind != "counts" else _spread(rows, period), span, start)

    return Traces(tuple(sorted(moments)), pick, kind in _COMPLETE, span, start)


def _period(series: Iterable[list[tuple[float, int]]]) -> float:
    """Seconds that a line of counts stands for: the least time between two of them."""
    times = sorted({moment for rows in series for moment, _ in rows})
    return min((later - sooner for sooner, later in pairwise(times)), default=60.0)


def _spread(rows: Iterable[tuple[float, int]], period: float) -> Iterator[tuple[float, int]]:
    """Counts as requests that come evenly over their period, no finer than the grain."""
    for moment, count in rows:
        places = max(1, min(count, int(period // GRAIN)))
        for place in range(places):
            part = count * (place + 1) // places - count * place // places
            yield moment + period * (place + 0.5) / places, part


def _servegen(rows: Iterable[tuple[str, Any]], draws: Draws) -> Traces:
    stretches: dict[str, list[Stretch]] = {}
    spans: dict[str, float] = {}
    for name, stretch in rows:
        stretches.setdefault(name, []).append(stretch)
        model, end = _model(name), stretch.begin + stretch.length
        # A missing window is an idle one: whichever client of a model was last, its last day is there to the end.
        spans[model] = max(spans.get(model, 0.0), -(-end // _DAY) * _DAY)
    if not stretches:
        message = "the trace holds no window"
        raise ValueError(message)

    def pick(name: str) -> Arrivals:
        return gather(arrivals_of(stretches[name], draws), spans[_model(name)])

    return Traces(tuple(sorted(stretches)), pick, False, max(spans.values()), None)


def _model(name: str) -> str:
    return name.partition("/")[0]


Rows = Iterator[tuple[str, Any]]
"""(series or "" for the file's own; seconds, seconds and requests, or a stretch)."""


def _read(path: Path) -> tuple[str, Rows]:
    """The format of a file, and its rows."""
    lines = _lines(path)
    head = next((line for line in lines if line[1].strip()), (1, ""))
    kind = _kind(head[1])
    if kind is None:
        message = (
            f"{path}: is no trace that is known here: Azure's or ServeGen's CSV, Mooncake's or DataCapture's JSON "
            "lines, a CSV of time,model,requests, or the request log that `pointsman serve --log FILE` writes"
        )
        raise ValueError(message)
    reader = _READERS[kind]
    return kind, _located(path, chain([head], lines), reader)


def _kind(line: str) -> str | None:
    if line.startswith("TIMESTAMP,"):
        return "azure"
    if line.startswith("model,client,t,rate,"):
        return "servegen"
    if line.startswith("time,model,requests"):
        return "counts"
    if _LOG_MARK in line:
        return "log"
    if line.startswith("{") and '"captureData"' in line:
        return "capture"
    if line.startswith("{") and '"timestamp"' in line and '"input_length"' in line:
        return "mooncake"
    return None


def _located(path: Path, lines: Iterable[tuple[int, str]], reader: Callable[[str], tuple[str, Any] | None]) -> Rows:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = reader(line)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            message = f"{path}:{number}: this line does not read like the first one ({type(error).__name__}: {error})"
            raise ValueError(message) from error
        if row is not None:
            yield row


def _azure(line: str) -> tuple[str, float] | None:
    # 2023-11-16 18:17:03.9799600: seven digits of a second, UTC (AzurePublicDataset's description)
    text = line.partition(",")[0]
    return None if text == "TIMESTAMP" else ("", _seconds(text))


def _mooncake(line: str) -> tuple[str, float]:
    return "", json.loads(line)["timestamp"] / 1000


def _counts(line: str) -> tuple[str, tuple[float, int]] | None:
    time, model, requests = line.strip().split(",")
    return None if time == "time" else (model, (_seconds(time), int(requests)))


def _capture(line: str) -> tuple[str, float]:
    return "", _seconds(json.loads(line)["eventMetadata"]["inferenceTime"])


def _log(line: str) -> tuple[str, float] | None:
    begin = line.find(_LOG_MARK)
    if begin < 0:
        return None
    try:
        entry = json.loads(line[begin:])
    except ValueError:  # torn: the writer was stopped in the middle of it
        return None
    if not entry["attempts"]:  # refused before any target was asked
        return None
    component = entry.get("component")
    return (f"{entry['endpoint']}/{component}" if component else entry["endpoint"]), _seconds(entry["time"])


def _servegen_row(line: str) -> tuple[str, Stretch] | None:
    model, client, begin, rate, _cv, pattern, shape, _scale = line.strip().split(",")
    if model == "model":
        return None
    return f"{model}/{client}", Stretch(float(begin), 600.0, float(rate), pattern, float(shape))


_READERS: Mapping[str, Callable[[str], tuple[str, Any] | None]] = {
    "azure": _azure,
    "mooncake": _mooncake,
    "capture": _capture,
    "counts": _counts,
    "log": _log,
    "servegen": _servegen_row,
}


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _name(path: Path, kind: str) -> str:
    # S3 keys of a capture: PREFIX/ENDPOINT/VARIANT/yyyy/mm/dd/hh/FILE.jsonl (SageMaker developer guide, "Capture data")
    parts = path.absolute().parts
    if kind == "capture" and len(parts) > 7 and all(part.isdecimal() for part in parts[-5:-1]):
        return parts[-7]
    return path.name.split(".")[0]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with opened(path) as source:
            text = io.TextIOWrapper(source, "utf-8-sig", errors="replace")
            number = 0
            while line := text.readline(_LONGEST_LINE):
                number += 1
                yield number, line.rstrip("\n")
    except (EOFError, gzip.BadGzipFile) as error:
        message = f"{path}: its compressed data is damaged or ends early ({error})"
        raise ValueError(message) from error
