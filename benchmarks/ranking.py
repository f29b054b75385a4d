# SPDX-License-Identifier: Apache-2.0
"""The metrics by which benchmarks judge how a model ranks programs."""

from __future__ import annotations

from numpy.typing import ArrayLike

from familyseer.metrics import pairwise_accuracy, peak_at_k, top_k_recall

__all__ = ["ranking_metrics"]


def ranking_metrics(seconds: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Return the metrics of scores (n,) of programs with latencies (n,) in seconds."""
    return {
        "pairwise_accuracy": pairwise_accuracy(seconds, scores),
        "top_8_recall": top_k_recall(seconds, scores, k=8),
        "peak_at_1": peak_at_k(seconds, scores, k=1),
        "peak_at_8": peak_at_k(seconds, scores, k=8),
    }
