"""The small model's folder is named after what it is made of."""

from __future__ import annotations

from pathlib import Path

from deploy.engine import COMPLETE, weights, weights_are_there
from deploy.engine.smollm2 import weights_folder


def test_model_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    """A complete folder is used as it is; another release of Python has another one."""
    folder = weights_folder(tmp_path, "3.11.7")
    assert folder != weights_folder(tmp_path, "3.11.8")
    assert not weights_are_there(tmp_path, "3.11.7")
    folder.mkdir()
    (folder / COMPLETE).touch()
    assert weights_are_there(tmp_path, "3.11.7")
    assert weights(tmp_path, tmp_path / "no-python", "3.11.7") == folder / "model"
