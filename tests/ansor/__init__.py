# SPDX-License-Identifier: Apache-2.0
"""Tests on a TVM with an auto_scheduler of its own."""
