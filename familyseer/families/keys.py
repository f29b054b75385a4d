# SPDX-License-Identifier: Apache-2.0
"""Search-policy names, and the families that follow from what is known of a task before it is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from familyseer.errors import InvalidInputError
from familyseer.families.partition import Partition
from familyseer.task import Task

__all__ = ["DEFAULT_POLICY", "POLICY_NAMES", "FamilyKind", "PolicyName", "partition_tasks"]

FamilyKind = Literal["shared", "op", "hash", "ind", "accuracy"]

DEFAULT_POLICY = "sketch.xgb.family_op"
"""What familyseer recommends; the name ``"default"`` keeps Ansor's meaning, ``sketch.xgb``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyName:
    """What a search-policy name asks for.

    Parameters
    ----------
    search
        How candidates are found; ``"sketch"``: evolutionary search over a generated space.
    model
        What ranks them: ``"xgb"`` a learnt cost model, ``"random"`` nothing.
    family
        Which tasks are a family at first: ``"shared"`` and ``"accuracy"`` all, ``"op"`` those with the same heaviest
        operator, ``"hash"`` those with the same structure, ``"ind"`` each alone. Families of ``"op"`` and ``"accuracy"``
        then follow cross-accuracy (`familyseer.families.tracking`).

    Examples
    --------
    >>> PolicyName.parse("sketch.xgb.family_op").family
    'op'
    """

    search: Literal["sketch"]
    model: Literal["xgb", "random"]
    family: FamilyKind

    @classmethod
    def parse(cls, text: str) -> PolicyName:
        """Understand a name of `POLICY_NAMES`, or ``"default"``; anything else raises `InvalidInputError`."""
        name = "sketch.xgb" if text == "default" else text
        if isinstance(name, str) and name in _POLICIES:
            return _POLICIES[name]
        raise InvalidInputError(
            f"`search_policy` must be one of {', '.join(POLICY_NAMES)}; got {text!r}. "
            f"{DEFAULT_POLICY!r} is a good start."
        )

    def __str__(self) -> str:
        return f"{self.search}.{self.model}" + ("" if self.family == "shared" else f".family_{self.family}")


def _policy(model: Literal["xgb", "random"], family: FamilyKind) -> PolicyName:
    return PolicyName(search="sketch", model=model, family=family)


_POLICIES: Mapping[str, PolicyName] = MappingProxyType(
    {
        str(policy): policy
        for policy in (
            _policy("random", "shared"),
            _policy("xgb", "shared"),
            _policy("xgb", "op"),
            _policy("xgb", "hash"),
            _policy("xgb", "ind"),
            _policy("xgb", "accuracy"),
        )
    }
)
POLICY_NAMES: tuple[str, ...] = tuple(_POLICIES)


def _alone(task: Task) -> str:
    return f"task-{task.key}"


_LABELS: Mapping[str, Callable[[Task], str]] = MappingProxyType(
    {
        "shared": lambda task: "all",
        "op": lambda task: task.operator or _alone(task),
        "hash": lambda task: f"structure-{task.structure}" if task.structure else _alone(task),
        "ind": _alone,
        "accuracy": lambda task: "all",
    }
)


def partition_tasks(policy: PolicyName | str, tasks: Sequence[Task]) -> Partition:
    """Group tasks by what is known of them before any is measured.

    Parameters
    ----------
    policy
        A parsed policy name, its text, or one of the kinds `FamilyKind`.
    tasks
        Tasks with different keys. One whose operator or structure is unknown (empty) is alone in its family.
    """
    if not tasks:
        raise InvalidInputError("`tasks` must hold at least one task; got 0")
    repeated = [key for key, count in Counter(task.key for task in tasks).items() if count > 1]
    if repeated:
        raise InvalidInputError(f"`tasks` must hold each workload once; got {repeated!r} more than once")
    kind = policy if isinstance(policy, str) and policy in _LABELS else _parsed(policy).family
    return Partition.from_labels({task.key: _LABELS[kind](task) for task in tasks})


def _parsed(policy: PolicyName | str) -> PolicyName:
    return policy if isinstance(policy, PolicyName) else PolicyName.parse(policy)
