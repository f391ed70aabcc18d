"""vLLM as a process: a program that stands for it is started, awaited, watched and ended."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat
from pathlib import Path

import pytest

from deploy.engine import EngineFailedError, EnginePlan, free_port, running_vllm
from deploy.engine.vllm import descendants

STANDS_FOR_VLLM = """#!/usr/bin/env python3
import http.server, sys
port = next(word.split("=")[1] for word in sys.argv if word.startswith("--port="))
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def do_GET(self): self.answer(200)
    def do_POST(self): self.answer(COMPUTES)
http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


def plan(folder: Path, program: str) -> EnginePlan:
    """A plan whose interpreter, asked for vLLM, is `program`; asked for anything else it is Python."""
    (folder / "engine.py").write_text(program)
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *launch.py*) exec python3 "$@";; *) exec python3 {folder}/engine.py "$@";; esac\n'
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return EnginePlan(python, folder / "model", "m", 0, folder / "log")


async def test_engine_is_ready_once_it_computes_and_ends_with_the_block(tmp_path: Path) -> None:
    """Within the block the URL answers; after it the process is gone."""
    async with running_vllm(plan(tmp_path, STANDS_FOR_VLLM.replace("COMPUTES", "200"))) as engine:
        assert engine.url.startswith("http://127.0.0.1:")
        assert engine.process.returncode is None
    assert engine.process.returncode is not None


async def test_what_an_engine_has_started_ends_with_it(tmp_path: Path) -> None:
    """It computes in a process of its own, which hears of nothing while it loads."""
    deaf = """
import subprocess
CHILD = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600 & echo; wait"], stdout=subprocess.PIPE)
CHILD.stdout.readline()
"""
    async with running_vllm(plan(tmp_path, deaf + STANDS_FOR_VLLM.replace("COMPUTES", "200"))) as engine:
        watched = [os.pidfd_open(pid) for pid in descendants(engine.process.pid)]
    assert len(watched) == 2
    for descriptor in watched:
        await asyncio.to_thread(select.select, [descriptor], [], [])  # readable once its process has ended
        os.close(descriptor)


async def test_engine_that_is_up_and_can_not_compute_is_refused(tmp_path: Path) -> None:
    """/health alone is not believed."""
    with pytest.raises(EngineFailedError, match="can't compute"):
        async with running_vllm(plan(tmp_path, STANDS_FOR_VLLM.replace("COMPUTES", "500"))):
            pass


async def test_engine_that_ends_at_once_says_where_its_words_are(tmp_path: Path) -> None:
    """A start that fails is told at once, in one line that names the log."""
    with pytest.raises(EngineFailedError, match=f"vLLM ended with 3; .*{tmp_path / 'log'}"):
        async with running_vllm(plan(tmp_path, "raise SystemExit(3)")):
            pass


async def test_number_format_is_not_bfloat16(tmp_path: Path) -> None:
    """The command names float16, which every CPU computes."""
    assert "--dtype=float16" in plan(tmp_path, "").command(1)


def test_port_that_is_taken_is_refused() -> None:
    """A free port can be had, a taken one can't."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(OSError, match="in use"):
            free_port(holder.getsockname()[1])
    assert free_port() > 0
