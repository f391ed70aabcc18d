"""`pointsman bench-candidate`: a table of today's target and the candidate, and one line on how to go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cli import main

EXAMPLE = Path(__file__).parents[3] / "examples" / "bench-candidate"
QUICK = ["--concurrency", "1,2", "--seconds", "1m", "--settle", "10s"]


def files(folder: Path, policy: tuple[str, str] = ("", ""), stand_ins: tuple[str, str] = ("", "")) -> list[str]:
    """The command on the example's files, each with a part of its text replaced."""
    words = ["bench-candidate", "apexguru", *QUICK]
    for flag, name, (old, new) in (("--policy", "policy.yaml", policy), ("--stand-ins", "emulator.yaml", stand_ins)):
        text = (EXAMPLE / name).read_text()
        assert old in text
        path = folder / name
        path.write_text(text.replace(old, new) if old else text)
        words += [flag, str(path)]
    return words


def test_both_sides_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each side and concurrency with its cost, and how far they are apart."""
    assert main(files(tmp_path)) == 0
    head, *more = capsys.readouterr().out.splitlines()
    rows, (apart, _, *notes) = more[:4], more[4:]
    assert head.split()[:3] == ["target", "concurrency", "P95"]
    sides = [row.split()[:2] for row in rows]
    assert sides == [["apexguru-gpu", "1"], ["apexguru-gpu", "2"], ["apexguru-import", "1"], ["apexguru-import", "2"]]
    assert all(float(row.split()[-1]) > 0 for row in rows)
    assert apart.startswith("at concurrency 1 the P95 of apexguru-import is")
    assert "below that of apexguru-gpu, and a request costs" in apart
    assert apart.endswith("% less")
    assert all("answers only" in note for note in notes)


def test_published_figures_stand_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where one was published for that concurrency; the same seed prints the same."""
    said = []
    for _ in range(2):
        assert main([*files(tmp_path), "--published"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    one, two = said[0].splitlines()[3:5]
    assert one.split()[7:9] == ["7.20s", "11"]
    assert two.split()[7:] == ["-"] * 4


def test_another_candidate_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a cost is not known there is a dash."""
    words = files(tmp_path, policy=("    cost: {instance: ml.g6e.xlarge}\n", ""))
    assert main([*words, "--to", "apexguru-gpu"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:5]
    assert [row.split()[0] for row in rows] == ["apexguru-gpu"] * 4
    assert all(row.split()[-1] == "-" for row in rows)


def test_a_target_that_answers_nothing_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the status that it answered and where to look; there is no table of dashes."""
    faulty = ("    units: 1\n", "    units: 1\n    faults: [ValidationException]\n")
    assert main(files(tmp_path, stand_ins=faulty)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "every call to apexguru-import failed, most with 424: look at" in said.err


def test_a_time_too_short_for_any_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing failed and nothing came: measure longer."""
    assert main([*files(tmp_path), "--seconds", "1s", "--settle", "0s"]) == 2
    assert "give a longer --seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--concurrency", "1,0"], "--concurrency: 1,0: each is a number from 1 to 1024; write them like 1,4,16,32"),
        (["--concurrency", "few"], "--concurrency: few: each is a number"),
        (["--seconds", "0s"], "shorter than a second"),
        (["--to", "nobody"], "--to nobody: no such target; the policy has apexguru-gpu, apexguru-import"),
        (["--prices", "/nowhere"], "cannot read /nowhere"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    """The flag, what is wrong, and what to give instead."""
    assert main([*files(tmp_path), *more]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_route_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy's routes are named."""
    words = files(tmp_path)
    words[1] = "other"
    assert main(words) == 2
    assert "no route other; the policy has apexguru" in capsys.readouterr().err


def test_a_route_that_does_not_migrate_needs_a_candidate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--to names it."""
    words = files(tmp_path)
    path = Path(words[words.index("--policy") + 1])
    path.write_text(path.read_text().split("    migrate:")[0])
    assert main(words) == 2
    assert "apexguru does not migrate: name one with --to" in capsys.readouterr().err


def test_a_policy_that_is_refused_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of every command on a policy."""
    assert main(files(tmp_path, policy=("serve_from: apexguru-gpu", "serve_from: nobody"))) == 1
    assert "nobody" in capsys.readouterr().err
