# SPDX-License-Identifier: Apache-2.0
"""These tests need a TVM with an auto_scheduler of its own; elsewhere they are not collected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from familyseer import engines

ROOT = Path(__file__).parents[2]

# TVM's workers are processes of their own and look workloads up by their modules.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

collect_ignore_glob = [] if engines.engine() == "ansor" else ["test_*.py"]


@pytest.fixture(scope="session")
def host():
    """Compile for this CPU, quickly."""
    from benchmarks import host_c

    host_c.optimization = "-O1"
    return host_c
