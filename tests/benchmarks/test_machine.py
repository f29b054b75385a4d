# SPDX-License-Identifier: Apache-2.0
"""What results say of the machine that they come from."""

from __future__ import annotations

import stat

from benchmarks.machine import describe, machine_of


def test_a_gpu_is_part_of_the_machine(tmp_path, monkeypatch):
    """Results of another GPU are those of another machine; without one there is no entry."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "gpu" not in machine_of(describe())

    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho NVIDIA H100 80GB HBM3\necho NVIDIA H100 80GB HBM3\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    assert machine_of(describe())["gpu"] == "NVIDIA H100 80GB HBM3"
