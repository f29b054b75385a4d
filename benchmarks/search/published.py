# SPDX-License-Identifier: Apache-2.0
"""FamilySeer as published (arXiv 2201.00194; ICPP 2023, Algorithm 1), re-implemented from its description.

Families by core operator, depthwise convolutions among the convolutions; one model per family, TVM's objective, silent
until it has more programs than the family has tasks times a round's size. After a round of g candidates the sibling
with the steepest gradient is "foreseen": a small round of g/4 measured candidates, 16 after one of 64.
Every measurement is counted once. Search space, evolution and measuring are those of our other contestants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.search.job import Report, Work
from benchmarks.search.loop import Loop, PublishedPolicy, described_tasks
from benchmarks.search.ours import measurer_for
from familyseer.cost_model import PackSumXGBModel
from familyseer.ledger import Ledger

__all__ = ["FORESEE_SHARE", "Published", "core_family"]

FORESEE_SHARE = 0.25


def core_family(operator: str) -> str:
    """Return the family that the released code would see: its operator names do not tell kinds of convolution apart."""
    return "conv2d" if operator in ("conv2d", "depthwise_conv2d", "group_conv2d") else operator


class Published:
    """Operator families, one model each, and one foreseen sibling per round."""

    def tune(self, work: Work, report: Report) -> None:
        """Warm every task up, then alternate rounds with foreseen siblings."""
        described, ledger, per_round, seed = described_tasks(work), Ledger(), work.job.per_round, work.job.seed
        family = [core_family(task.operator) for task in described]
        sizes = Counter(family)
        models = {
            name: PackSumXGBModel(seed=seed, min_samples=size * per_round + 1, adaptive_training=False)
            for name, size in sizes.items()
        }
        policies = [
            PublishedPolicy(task, models[name], seed=seed, described=info, ledger=ledger, verbose=0)
            for task, info, name in zip(work.tasks, described, family, strict=True)
        ]
        with measurer_for(work) as measurer:
            loop = Loop(work, policies, ledger, measurer, report)
            _rounds(loop, family, per_round)
            loop.choose(report)


def _rounds(loop: Loop, family: Sequence[str], per_round: int) -> None:
    warming = True
    index = loop.steepest()
    while index is not None and loop.round(index, per_round):
        warming = warming and any(state.needs_warm_up for state in loop.states)
        siblings = [i for i, name in enumerate(family) if name == family[index] and i != index]
        sibling = None if warming else loop.steepest(siblings)
        if sibling is not None and not loop.round(sibling, max(1, int(FORESEE_SHARE * per_round))):
            return
        index = loop.steepest()
