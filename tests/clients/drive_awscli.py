"""Drives the AWS command line: one process a call, the body and the answer in files. It has no operation that streams.

The command tells the members of an answer on standard output and an error as one sentence on standard error; status,
headers and modelled members of errors it does not tell.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clients.answers import UNARY, Ask, Done, Told, asks, pack, say, unpack

AWS = Path(sys.executable).parent / "aws"
SENTENCE = re.compile(
    r"An error occurred \((?P<code>[^)]*)\) when calling the \w+ operation(?: \([^)]*\))?: (?P<said>.*)"
)
LONGEST = 60.0


def call(ask: Ask) -> Done:
    """Run the command once."""
    if ask["operation"] != UNARY:
        raise ValueError(f"the AWS CLI has no {ask['operation']}")
    with tempfile.TemporaryDirectory() as folder:
        sent, received = Path(folder) / "sent", Path(folder) / "received"
        sent.write_bytes(unpack(ask["body"]))
        command = [str(AWS), "sagemaker-runtime", "invoke-endpoint", "--output", "json", "--body", f"fileb://{sent}"]
        command += ["--cli-read-timeout", str(int(ask["read_timeout"]))]
        for name, value in ask["params"].items():
            command += [option(name), value]
        attempts = {"AWS_MAX_ATTEMPTS": str(ask["attempts"])} if ask["attempts"] else {}
        ran = subprocess.run(
            [*command, str(received)],
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
            env={**os.environ, **attempts},
        )
        body = received.read_bytes() if received.exists() else b""
    return {
        "status": None,
        "members": json.loads(ran.stdout or "{}"),
        "headers": None,
        "body": pack(body),
        "error": failure(ran.stderr) if ran.returncode else None,
        "retries": None,
    }


def option(member: str) -> str:
    """The command's option for a member of the API model: `ContentType` is `--content-type`."""
    return "--" + re.sub(r"(?<!^)(?=[A-Z])", "-", member).lower()


def failure(stderr: str) -> Told:
    """The error that the command's sentence tells."""
    found = SENTENCE.search(stderr)
    code, message = (found["code"], found["said"]) if found else (None, stderr.strip())
    return {"kind": "ClientError" if found else "CommandError", "code": code, "message": message, "members": {}}


if __name__ == "__main__":
    for each in asks():
        say(done=call(each))
