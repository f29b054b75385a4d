# SPDX-License-Identifier: Apache-2.0
"""What a log holds in a few lines: networks, policies, trials, and the lines left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from familyseer.records import LogContents, NetworkRecord, for_target, same_target

__all__ = ["network_text", "render_left_out", "render_summary"]


def render_summary(contents: LogContents, target: str) -> str:
    """Return what was tuned for `target`, and which policies measured how many candidates with what seed and TVM."""
    lines = [f"target {target}"]
    lines += [
        f"network {network_text(network)}" for network in contents.networks if same_target(network.target, target)
    ]
    trials = [record for record in for_target(contents.records, target) if record.is_trial]
    runs = Counter((record.policy or "unknown", record.seed, record.tvm_version or "?") for record in trials)
    lines += [f"{count} trials by {policy}, seed {seed}, TVM {tvm}" for (policy, seed, tvm), count in runs.items()]
    return "\n".join(lines)


def network_text(network: NetworkRecord) -> str:
    """Return a network and its options as a person writes them."""
    parts = [network.network]
    parts += [] if network.size == "full" else [network.size]
    parts += [] if network.batch == 1 else [f"batch {network.batch}"]
    parts += [] if network.options == "{}" else [network.options]
    return ", ".join(parts)


def render_left_out(contents: LogContents) -> Sequence[str]:
    """Return a line for each part of a log that is not in the tables, and why."""
    known = {workload.task.key for workload in contents.workloads}
    orphans = sum(record.task not in known for record in contents.records)
    lines = [f"line {line.number} is left out: {line.reason}" for line in contents.quarantined]
    if orphans:
        lines.append(f"{orphans} records are left out: the lines of their workloads are missing")
    if contents.torn:
        lines.append("the last line was cut off in writing and is left out; the next run repairs it")
    return lines
