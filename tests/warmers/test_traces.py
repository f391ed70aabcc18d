"""Readers of arrival traces."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random

import pytest

from proxy.log_lines import line
from tests.outcomes import outcome
from warmers.traces import Traces, read_traces

MONDAY = 1_783_296_000.0
"""2026-07-06T00:00:00Z."""


def read(*paths: Path) -> Traces:
    return read_traces(paths, Random(0))


def written(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{each}\n" for each in lines))
    return path


def captured(time: str) -> str:
    """A line of DataCapture, with bodies that must not matter."""
    data = {"endpointInput": {"data": "captureData", "encoding": "JSON"}}
    return json.dumps(
        {"captureData": data, "eventMetadata": {"eventId": "1", "inferenceTime": time}, "eventVersion": "0"}
    )


def test_azure(tmp_path: Path) -> None:
    """One request a line at times of seven digits, in UTC; the series has the file's name."""
    head = "TIMESTAMP,ContextTokens,GeneratedTokens"
    rows = ["2026-07-06 00:00:00.9799600,4808,10", "2026-07-06 01:00:00.0000000,1,1"]
    traces = read(written(tmp_path / "code.csv", head, *rows))
    assert (traces.names, traces.complete) == (("code",), False)
    arrivals = traces.pick("code")
    assert arrivals.start == pytest.approx(MONDAY + 0.97996)
    assert list(arrivals) == [(0.0, 1), (pytest.approx(3599.02004), 1)]


def test_mooncake_gzipped(tmp_path: Path) -> None:
    """Milliseconds since a start that the trace does not tell."""
    path = tmp_path / "talk.jsonl.gz"
    rows = [
        {"timestamp": 1000 * second, "input_length": 1, "output_length": 1, "hash_ids": [0]} for second in (0, 1, 900)
    ]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    arrivals = read(path).pick("talk")
    assert (list(arrivals), arrivals.start, arrivals.span) == ([(0.0, 2), (900.0, 1)], None, 901.0)


def test_servegen(tmp_path: Path) -> None:
    """Each client is a series; its model's trace lasts to the end of the last day that any client of it is there."""
    head = "model,client,t,rate,cv,pat,p1,p2"
    rows = ["small,0,600,0.1,1,Gamma,1,1", "small,1,87000,0.1,1,Weibull,1,1", "large,0,0,2,1,Gamma,1,1"]
    traces = read(written(tmp_path / "clients.csv", head, *rows))
    assert (traces.names, traces.complete, traces.span) == (("large/0", "small/0", "small/1"), False, 172_800.0)
    small, large = traces.pick("small/0"), traces.pick("large/0")
    assert (small.requests, small.span, large.requests, large.span) == (60, 172_800.0, 1200, 86_400.0)
    assert all(600.0 <= time < 1200.0 for time in small.times)


def test_capture_of_endpoints(tmp_path: Path) -> None:
    """A folder as it lies in S3 has a series for each endpoint over all hours; elsewhere the file names it."""
    for hour, time in (("00", "2026-07-06T00:10:00Z"), ("01", "2026-07-06T01:00:00Z")):
        written(tmp_path / f"apexguru/AllTraffic/2026/07/06/{hour}/a.jsonl", captured(time))
    written(tmp_path / "loose/inline.jsonl", captured("2026-07-06T00:30:00Z"))
    traces = read(tmp_path)
    assert traces.names == ("apexguru", "inline")
    assert [list(traces.pick(name)) for name in traces.names] == [[(0.0, 1), (3000.0, 1)], [(1200.0, 1)]]


def test_request_log(tmp_path: Path) -> None:
    """What reached a target counts, by endpoint and component; other lines, refusals and a torn last line do not."""
    first = outcome(endpoint="apexguru", started=MONDAY + 700)
    second = outcome(endpoint="shared", component="inline", started=MONDAY)
    refused = outcome(endpoint="apexguru", started=MONDAY + 100, attempts=())
    lines = [line(each).decode() for each in (first, second, refused)]
    lines[0] = lines[0].replace('"operation"', '"component":null,"operation"')  # as an older version wrote it
    path = tmp_path / "requests.log"
    path.write_text(f"{lines[0]}INFO reloaded\npod-7 | {lines[1]}{lines[2]}{lines[0][:200]}")
    traces = read(path)
    assert (traces.names, traces.complete) == (("apexguru", "shared/inline"), True)
    assert [list(traces.pick(name)) for name in traces.names] == [[(700.0, 1)], [(0.0, 1)]]
    assert (traces.idle().requests, traces.idle().span, traces.idle().start) == (0, 701.0, MONDAY)


def test_counts_a_period(tmp_path: Path) -> None:
    """Requests of a line are spread over the time it stands for: the least between two lines."""
    rows = ["2026-07-06T00:00Z,a,3", "2026-07-06T00:05Z,b,1000", "2026-07-06T00:30Z,a,1"]
    traces = read(written(tmp_path / "counts.csv", "time,model,requests", *rows))
    assert (traces.names, traces.complete, traces.span) == (("a", "b"), True, 2100.0)
    assert list(traces.pick("a")) == [(50.0, 1), (150.0, 1), (250.0, 1), (1950.0, 1)]
    busy = traces.pick("b")
    assert (busy.requests, len(busy.times), busy.times[0]) == (1000, 60, 302.5)


def test_several_files_are_one_trace(tmp_path: Path) -> None:
    """Their clocks are one."""
    one = written(tmp_path / "1.csv", "time,model,requests", "2026-07-06T00:00Z,a,1", "2026-07-06T00:01Z,a,1")
    two = written(tmp_path / "2.csv", "time,model,requests", "2026-07-06T01:00Z,a,1")
    assert read(one, two).pick("a").span == 3660.0


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["hello"], "is no trace that is known here"),
        ([""], "is no trace that is known here"),
        (["TIMESTAMP,ContextTokens,GeneratedTokens"], "holds no request"),
        (["model,client,t,rate,cv,pat,p1,p2"], "holds no window"),
        (
            ["TIMESTAMP,C,G", "2026-07-06 00:00:00,1,1", "", "noon,1,1"],
            r"t\.csv:4: this line does not read like the first",
        ),
        (["time,model,requests", "2026-07-06T00:00Z,a"], r"t\.csv:2: this line does not read"),
        ([captured("2026-07-06T00:00:00Z"), "{}"], r"t\.csv:2: .*eventMetadata"),
        (["time,model,requests", "2026-07-06T00:00Z,a,1"], "covers 60 seconds; a plan needs ten minutes"),
    ],
)
def test_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    """What is wrong is said with file and line."""
    with pytest.raises(ValueError, match=said):
        read(written(tmp_path / "t.csv", *lines)).pick("t")


def test_formats_do_not_mix(tmp_path: Path) -> None:
    """One plan reads one format; a folder without captures holds none."""
    one = written(tmp_path / "1.csv", "time,model,requests")
    two = written(tmp_path / "2.csv", "TIMESTAMP,C,G")
    with pytest.raises(ValueError, match="different formats"):
        read(one, two)
    with pytest.raises(ValueError, match="no trace in there"):
        read(tmp_path)


def test_damaged_archive(tmp_path: Path) -> None:
    """A download that broke off is told as such."""
    whole = gzip.compress(b"time,model,requests\n" + b"2026-07-06T00:00Z,a,1\n" * 5000)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged or ends early"):
        read(path)
