"""Copies of a model that are broken as models break when they are moved: run with the engine's own interpreter.

`no-end` has lost its end-of-sequence token, as when a conversion leaves out `generation_config.json`; `weights` has
every matrix but the embeddings changed by a tenth, as after a conversion that went wrong. What is the same is linked.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np  # type: ignore[import-not-found]  # the engine's environment has it

OTHER_END = {"config.json": "eos_token_id", "generation_config.json": "eos_token_id"}
NOISE = 0.1
"""Standard deviation of the change, as a share of each weight."""


def clone(model: Path, folder: Path, *changed: str) -> None:
    folder.mkdir(parents=True)
    for file in model.iterdir():
        if file.name not in changed:
            (folder / file.name).symlink_to(file)


def without_end(model: Path, folder: Path) -> None:
    clone(model, folder, *OTHER_END, "tokenizer_config.json")
    for name, key in OTHER_END.items():
        (folder / name).write_text(json.dumps({**json.loads((model / name).read_text()), key: 0}))
    tokenizer = json.loads((model / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "eos_token": tokenizer["unk_token"]}))


def with_other_weights(model: Path, folder: Path) -> None:
    clone(model, folder, "model.safetensors")
    raw, draws = bytearray((model / "model.safetensors").read_bytes()), np.random.default_rng(1)
    begin = 8 + struct.unpack("<Q", raw[:8])[0]
    for name, tensor in json.loads(raw[8:begin]).items():
        if name == "__metadata__" or len(tensor["shape"]) < 2 or "embed" in name:
            continue
        first, last = (begin + offset for offset in tensor["data_offsets"])
        weights = np.frombuffer(raw[first:last], np.float16).astype(np.float32)
        changed = weights * (1 + NOISE * draws.standard_normal(weights.shape, np.float32))
        raw[first:last] = changed.astype(np.float16).tobytes()
    (folder / "model.safetensors").write_bytes(raw)


if __name__ == "__main__":
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    without_end(source, out / "no-end")
    with_other_weights(source, out / "weights")
