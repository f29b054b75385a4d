# SPDX-License-Identifier: Apache-2.0
"""The search benchmark: how long, and how many trials, each tuner needs to reach the same latency."""
