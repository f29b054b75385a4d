# SPDX-License-Identifier: Apache-2.0
"""One block: all contestants on one network with one seed, taking turns, so that drift of the machine hits all alike."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.search import contestants
from benchmarks.search.child import serve
from benchmarks.search.job import Job
from familyseer.errors import FamilySeerError

__all__ = ["BlockFailure", "run_contestants"]

_PATIENCE_SECONDS = 3600.0


class BlockFailure(FamilySeerError):
    """A contestant ended with an error."""


@dataclass(slots=True, kw_only=True)
class _Player:
    name: str
    log: Path
    process: Any
    connection: Connection
    rounds: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False

    @property
    def seconds(self) -> float:
        return sum(self.rounds[-1]["seconds"].values()) if self.rounds else 0.0

    def receive(self) -> tuple[str, Any]:
        if not self.connection.poll(_PATIENCE_SECONDS):
            raise BlockFailure(f"{self.name} has been silent for {_PATIENCE_SECONDS:.0f} s; see {self.log}")
        try:
            kind, value = self.connection.recv()
        except EOFError as err:
            raise BlockFailure(f"the process of {self.name} died; see {self.log}") from err
        if kind == "failed":
            raise BlockFailure(f"{self.name} failed; see {self.log}\n{value}")
        return kind, value

    def play(self) -> None:
        """Give it the turn until its round is over."""
        self.connection.send("go")
        kind, value = self.receive()
        if kind == "done":
            self.done = True
        else:
            self.rounds.append(value)


def run_contestants(
    job: Job,
    names: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    tell: Callable[[str, int, float], None] = lambda name, trials, seconds: None,
) -> dict[str, list[dict[str, Any]]]:
    """Let contestants tune in turns: the next round is always that of the one that has had the least time so far.

    Parameters
    ----------
    job
        What to tune.
    names
        Contestants.
    folder
        Where what they print goes, a file each.
    environment
        Environment variables of their processes.
    tell
        Called after each round with the contestant's name, its trials and seconds so far.

    Returns
    -------
    dict
        The rounds (`Round` as a dict) of each contestant.

    Raises
    ------
    BlockFailure
        A contestant raised an error, died or hung.
    """
    folder.mkdir(parents=True, exist_ok=True)
    players = [_start(job, name, folder, environment) for name in names]
    try:
        for player in players:
            player.receive()
        while waiting := [player for player in players if not player.done]:
            player = min(waiting, key=lambda p: p.seconds)
            player.play()
            tell(player.name, sum(len(made["latencies"]) for made in player.rounds), player.seconds)
    finally:
        for player in players:
            player.connection.close()
            player.process.terminate()
            player.process.join(10)
    return {player.name: player.rounds for player in players}


def _start(job: Job, name: str, folder: Path, environment: Mapping[str, str]) -> _Player:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    log = folder / f"{name.replace(':', '-')}.log"
    own = replace(job, trials=contestants.trials_of(name, job.trials))
    process = context.Process(target=serve, args=(theirs, own, name, str(log), dict(environment)), name=name)
    process.start()
    theirs.close()
    return _Player(name=name, log=log, process=process, connection=ours)
