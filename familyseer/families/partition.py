# SPDX-License-Identifier: Apache-2.0
"""A partition of tasks into named families, as an immutable value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from familyseer.errors import InvalidInputError
from familyseer.task import TaskKey

__all__ = ["Partition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Every task in exactly one named family.

    Usually made by `from_labels` or by `familyseer.families.partition_tasks`. Two partitions are equal when they hold
    the same families in the same order.

    Parameters
    ----------
    families
        Pairs of a family's name and its members' keys.

    Raises
    ------
    InvalidInputError
        A name or key is empty or occurs twice, or a family has no members.

    Examples
    --------
    >>> partition = Partition.from_labels({"k1": "conv2d", "k2": "dense", "k3": "conv2d"})
    >>> partition.members("conv2d")
    ('k1', 'k3')
    >>> partition.family_of("k2")
    'dense'
    """

    families: tuple[tuple[str, tuple[TaskKey, ...]], ...]
    _label_of: dict[TaskKey, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        label_of: dict[TaskKey, str] = {}
        for name, members in self.families:
            if not name or not members:
                raise InvalidInputError(f"a family must have a name and members; got {name!r} with {members!r}")
            for key in members:
                if not key or key in label_of:
                    raise InvalidInputError(
                        f"each task key must be non-empty and in one family only; got {key!r} in {name!r} "
                        f"and {label_of.get(key, name)!r}"
                    )
                label_of[key] = name
        if len(set(self.names)) != len(self.families):
            raise InvalidInputError(f"family names must be unique; got {list(self.names)!r}")
        object.__setattr__(self, "_label_of", label_of)

    @classmethod
    def from_labels(cls, labels: Mapping[TaskKey, str]) -> Partition:
        """Put tasks with equal labels into one family of that name; families come in order of first occurrence."""
        families: dict[str, list[TaskKey]] = {}
        for key, label in labels.items():
            families.setdefault(label, []).append(key)
        return cls(families=tuple((name, tuple(keys)) for name, keys in families.items()))

    @classmethod
    def from_json(cls, data: object) -> Partition:
        """Make a partition of what `to_json` returned, for example after a way through a file."""
        if not isinstance(data, dict) or not all(_is_texts(members) for members in data.values()):
            raise InvalidInputError(f"a partition must be an object of lists of task keys; got {data!r:.200}")
        return cls(families=tuple((str(name), tuple(members)) for name, members in data.items()))

    def to_json(self) -> dict[str, list[TaskKey]]:
        """Return the families as an object that `json.dumps` takes."""
        return {name: list(members) for name, members in self.families}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the families."""
        return tuple(name for name, _ in self.families)

    def labels(self) -> dict[TaskKey, str]:
        """Return the family's name of each task key."""
        return dict(self._label_of)

    def family_of(self, key: TaskKey) -> str:
        """Return the name of the family that a task is in."""
        try:
            return self._label_of[key]
        except KeyError:
            raise InvalidInputError(f"`key` must be a task of this partition; got {key!r}") from None

    def members(self, name: str) -> tuple[TaskKey, ...]:
        """Return the keys of a family's tasks."""
        try:
            return dict(self.families)[name]
        except KeyError:
            raise InvalidInputError(f"`name` must be one of {', '.join(self.names)}; got {name!r}") from None

    def require(self, keys: Iterable[TaskKey]) -> None:
        """Raise `InvalidInputError` unless the partition holds exactly these tasks."""
        wanted = set(keys)
        missing, strange = sorted(wanted - self._label_of.keys()), sorted(self._label_of.keys() - wanted)
        if missing or strange:
            raise InvalidInputError(
                f"a partition must hold each task once; missing: {missing!r}, not among the tasks: {strange!r}"
            )


def _is_texts(members: object) -> bool:
    return isinstance(members, list) and all(isinstance(key, str) for key in members)
