"""Virtual environments that must not share one with the product, such as the engine's: built once, kept, shared.

Strategy: an environment is a hashed lock, installed into a folder whose name holds the hash of the lock and of the
interpreter, so that it is either complete and exactly the lock, or absent. The folders lie outside of every checkout
(`$POINTSMAN_ENV_CACHE`, else `~/.cache/pointsman/envs`) and are shared by all of them; several builders at once are
safe. Synchronous and long: called before there is an event loop.

Promises: what is half built is never used, and is built anew. Packages that an interrupted build had fetched stay in
pip's own cache, so the next build goes on where the last one stopped. A failure is one line; the rest of what the
installer said is in a log beside the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

COMPLETE = ".complete"
"""File that says that a folder of the cache may be used."""
PYTORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch publishes its builds for CPUs, which PyPI lacks; asked only where pip finds them nowhere else."""
TALL = 10.0
"""Megabytes from which on the download of one package is worth a line."""
EVERY = 25
"""Packages after which there is a line of progress anyway."""

Say = Callable[[str], None]

_MEGABYTES = re.compile(r"Downloading (?:\S*/)?([^\s/]+?)-\d\S* \(([\d.]+) MB\)")
_COUNTED = re.compile(r"(Collecting|Processing) .*\(from -r ")


class EnvironmentFailedError(Exception):
    """Something could not be installed. The message is one line that says what to do, where that is known."""


def cache_root(variables: Mapping[str, str]) -> Path:
    """Where environments and models are kept between runs."""
    return Path(variables.get("POINTSMAN_ENV_CACHE") or Path.home() / ".cache" / "pointsman" / "envs")


def fingerprint(*files: Path, release: str | None = None) -> str:
    """16 hex digits that change with the files' content, the interpreter's release and the machine's architecture."""
    source = f"{release or platform.python_version()} {platform.machine()}\n".encode()
    source += b"".join(file.read_bytes() for file in files)
    return hashlib.sha256(source).hexdigest()[:16]


def environment(lock: Path, cache: Path, *, python: str = sys.executable, say: Say | None = None) -> Path:
    """The interpreter of the environment that `lock` describes, installed by now; `python` is what it is made with.

    Raises:
        EnvironmentFailedError: it could not be installed.
    """
    folder = cache / f"{lock.stem}-{fingerprint(lock, release=release_of(python))}"
    with building(folder, say) as missing:
        if missing:
            run([python, "-m", "venv", "--without-pip", str(folder)], log_of(folder))
            install(lock, folder / "bin" / "python", log_of(folder), say=say)
    return folder / "bin" / "python"


def release_of(python: str) -> str:
    """The release of an interpreter, such as 3.11.7. Raises EnvironmentFailedError when it does not run."""
    if python == sys.executable:
        return platform.python_version()
    command = [python, "-c", "import platform; print(platform.python_version())"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - ours
    except (OSError, subprocess.CalledProcessError) as error:
        msg = f"{python} is no Python that runs"
        raise EnvironmentFailedError(msg) from error


def is_complete(folder: Path) -> bool:
    """Whether a folder of the cache may be used as it is."""
    return (folder / COMPLETE).exists()


@contextlib.contextmanager
def building(folder: Path, say: Say | None = None) -> Iterator[bool]:
    """Whether `folder` has to be filled in the block; one builder at a time. A block that ends well completes it.

    What an earlier builder left half done is removed first. Raises EnvironmentFailedError when the cache's own folder
    can't be used, or the disk fills up.
    """
    try:
        if is_complete(folder):
            yield False
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_name(f"{folder.name}.flock"), say):
            missing = not is_complete(folder)
            if missing:
                if say:
                    say(f"building {folder.name}")
                # A virtual environment can't be moved once it is made (scripts name their interpreter), so folders are
                # filled in place and count only with their marker.
                shutil.rmtree(folder, ignore_errors=True)
            yield missing
            if missing:
                folder.mkdir(exist_ok=True)
                (folder / COMPLETE).touch()
    except OSError as error:
        remedy = "free some space" if error.errno == errno.ENOSPC else "make it writable"
        msg = f"{error.filename or folder}: {(error.strerror or str(error)).lower()}; {remedy}, or set "
        raise EnvironmentFailedError(msg + "POINTSMAN_ENV_CACHE to a folder elsewhere") from error


@contextlib.contextmanager
def alone(path: Path, say: Say | None = None) -> Iterator[None]:
    """Hold the file lock `path`; waits for whoever holds it, in this process or another, and says so."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if say:
                say(f"waiting for another build of {path.stem}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def log_of(folder: Path) -> Path:
    """Where the words of those who fill `folder` are kept."""
    return folder.with_name(f"{folder.name}.log")


def install(lock: Path, python: Path, log: Path, *, into: Path | None = None, say: Say | None = None) -> None:
    """Install a lock with pip into the environment of `python`, or for it into the folder `into`.

    Raises EnvironmentFailedError.
    """
    entries = [entry for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.read_text()) if entry[:1].isalnum()]
    progress = _Progress(lock.stem, len(entries), say)
    options = [] if into is None else ["--target", str(into)]
    # A local version, as in torch==2.13.0+cpu, says that PyPI does not have it.
    elsewhere = [entry for entry in entries if "+" in entry.split(" ")[0]]
    if elsewhere:
        try:
            _pip(lock, elsewhere, python, options, log, progress)
        except EnvironmentFailedError:
            progress.count = 0
            _pip(lock, elsewhere, python, [*options, "--extra-index-url", PYTORCH_INDEX], log, progress)
    if rest := [entry for entry in entries if entry not in elsewhere]:
        _pip(lock, rest, python, options, log, progress)


class _Progress:
    """What to say of pip's lines: large downloads, and every so many packages."""

    def __init__(self, name: str, total: int, say: Say | None) -> None:
        self.count = 0
        self._name, self._total, self._say = name, total, say or (lambda _line: None)

    def line(self, text: str) -> None:
        if _COUNTED.match(text):
            self.count += 1
            if self.count % EVERY == 0:
                self._say(f"{self._name}: {self.count} of {self._total} packages")
        elif (found := _MEGABYTES.search(text)) and float(found[2]) >= TALL:
            self._say(f"{self._name}: fetching {found[1]} ({float(found[2]):.0f} MB)")
        elif text.startswith("Installing collected packages"):
            self._say(f"{self._name}: unpacking")


def _pip(lock: Path, entries: list[str], python: Path, options: list[str], log: Path, progress: _Progress) -> None:
    wanted = log.with_suffix(".txt")
    wanted.write_text("\n".join(entries) + "\n")
    # Not every pip knows how to resume a download; one that does not ignores the variable, but would refuse the option.
    command = ["env", "PIP_RESUME_RETRIES=5", sys.executable, "-m", "pip", "--python", str(python), "install"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--require-hashes", "--no-deps"]
    try:
        run([*command, *options, "-r", str(wanted)], log, progress.line)
    except EnvironmentFailedError as error:
        msg = f"{lock.name}: {error}"
        raise EnvironmentFailedError(msg) from None
    finally:
        wanted.unlink(missing_ok=True)


def run(command: list[str], log: Path, line: Callable[[str], None] | None = None) -> None:
    """Run a command to its end, its output appended to `log` and given to `line` as it comes.

    Raises EnvironmentFailedError with the first line that names an error. A command that is not awaited to its end,
    since an exception or Ctrl-C passes here, is killed.
    """
    said: list[str] = []
    with (
        log.open("a") as kept,
        subprocess.Popen(  # noqa: S603 - the words are ours
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        try:
            for text in process.stdout or ():
                kept.write(text)
                said.append(text.strip())
                if line:
                    line(text.strip())
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        errors = [text.removeprefix("ERROR: ") for text in said if text.startswith("ERROR: ")]
        full = next((text for text in said if "No space left on device" in text), None)
        if full:
            msg = "no space left on device; free some, or set POINTSMAN_ENV_CACHE to a folder on another disk"
        else:
            msg = (errors or said[-1:] or [f"{command[0]} ended with {process.returncode}"])[0]
        msg = f"{msg} (all that was said: {log})"
        raise EnvironmentFailedError(msg)
