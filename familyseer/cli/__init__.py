# SPDX-License-Identifier: Apache-2.0
"""The command ``familyseer``: tune a network, show a log, apply it."""

from __future__ import annotations

from familyseer.cli.entry import main

__all__ = ["main"]
