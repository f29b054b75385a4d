# SPDX-License-Identifier: Apache-2.0
"""Model files are written whole or not at all, and read with suspicion."""

from __future__ import annotations

import zipfile

import pytest

from familyseer.cost_model import RandomCostModel
from familyseer.errors import ModelFileError


def test_interrupted_save_keeps_the_old_file(tmp_path, monkeypatch):
    """A full disk leaves neither half a model nor a temporary file."""
    RandomCostModel(seed=1).save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)

    with pytest.raises(ModelFileError, match="No space left on device"):
        RandomCostModel(seed=2).save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_bytes() == before


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"format": "other"}', "its header says it is not one"),
        ("[1]", "its header says it is not one"),
        ('{"format": "familyseer-cost-model", "version": 2}', "of version 1; got 2"),
        (
            '{"format": "familyseer-cost-model", "version": 1, "kind": "random", "seed": -1, "calls": 0}',
            r"'seed' in the header of .* must be a whole number ≥ 0; got -1",
        ),
    ],
)
def test_header_of_another_format_is_refused(header, message, tmp_path):
    """Another program's archive, another version of ours, a value that cannot be."""
    with zipfile.ZipFile(tmp_path / "model", "w") as archive:
        archive.writestr("header.json", header)
        archive.writestr("payload.bin", b"")

    with pytest.raises(ModelFileError, match=message):
        RandomCostModel().load(tmp_path / "model")
