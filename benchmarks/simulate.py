# SPDX-License-Identifier: Apache-2.0
"""Judge our policies in minutes, on latencies that a model foretells instead of a device.

``python -m benchmarks.simulate records/bert_base-*.log --trials 288 --seeds 3 --policies sketch.xgb sketch.xgb.family_op``

All programs that the logs hold are learnt: log latency and log compilation time from the features of a program, by
extremely randomised trees. Then each policy tunes the logs' tasks as users call it, and whatever it wants measured gets the
foretold latency with 2 % of noise. Seconds are those that its search takes here, and those foretold for building on two
cores and timing. It tells a better search from a worse one; how good either is, only `benchmarks.search` tells.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.s_tir import Schedule

from benchmarks.command import exit_status, require_file
from benchmarks.machine import describe
from benchmarks.search import contestants
from benchmarks.search.job import Job, Work
from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet
from familyseer.ledger import whole_number
from familyseer.measure import MeasureResult
from familyseer.meta_schedule.measure_record import load_tasks
from familyseer.meta_schedule.measurer import MeasureRequest, PhaseSeconds
from familyseer.meta_schedule.space import extract_features
from familyseer.meta_schedule.traces import rebuild_schedule
from familyseer.records import MeasureRecord, RecordLog, for_target

_LEAST = 100  # programs to learn from
_TREES = 100
_NOISE = 0.02
_BUILDERS = 2
_RUN_SECONDS = 0.11
_GOALS = (3.0, 2.0, 1.5, 1.3, 1.2, 1.1, 1.05)


class Oracle:
    """Foretells latency and compilation time of programs.

    Parameters
    ----------
    features
        n measured programs.
    seconds, build_seconds
        (n,) their latencies, and what compiling them took a core.
    """

    def __init__(self, features: FeatureSet, seconds: NDArray[np.float64], build_seconds: NDArray[np.float64]) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        rows, labels = features.gathered(), np.log(np.column_stack([seconds, build_seconds + 0.01]))
        self._trees = [
            ExtraTreesRegressor(_TREES, max_features=0.3, n_jobs=-1, random_state=0).fit(rows, labels[:, i])
            for i in range(2)
        ]
        for trees in self._trees:
            trees.n_jobs = 1  # small batches

    def foretell(self, features: FeatureSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return latencies and compilation times of programs in seconds, (n,) each."""
        rows = features.gathered()
        latency, build = (np.exp(trees.predict(rows)) for trees in self._trees)
        return latency, build


class SimulatedMeasurer:
    """Stands for a `ProgramMeasurer`: the oracle instead of compilers and devices.

    Attributes
    ----------
    elapsed
        Seconds that building and running would have taken so far.
    """

    def __init__(self, oracle: Oracle, callbacks: Sequence[Any], seed: int) -> None:
        self.callbacks, self.seconds, self.elapsed = tuple(callbacks), PhaseSeconds(), 0.0
        self._oracle, self._rng = oracle, np.random.default_rng(seed)

    def __enter__(self) -> SimulatedMeasurer:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def measure(self, requests: Sequence[MeasureRequest], on_result: Any = None) -> list[MeasureResult]:
        """Give every request the latency that is foretold for it."""
        schedules = [Schedule(request.mod) for request in requests]
        features = extract_features(requests[0].mod, requests[0].target, schedules, _BUILDERS)
        latencies, builds = self._oracle.foretell(features)
        latencies *= np.exp(self._rng.normal(0.0, _NOISE, len(latencies)))
        results = [
            MeasureResult(costs=(float(cost),), build_seconds=float(build), run_seconds=_RUN_SECONDS)
            for cost, build in zip(latencies, builds, strict=True)
        ]
        self.elapsed += fsum(builds) / _BUILDERS + _RUN_SECONDS * len(results)
        for position, result in enumerate(results if on_result else ()):
            on_result(position, result)
        return results


def gather(logs: Sequence[Path]) -> tuple[Oracle, list[Any], list[float]]:
    """Return what logs of the same tasks taught, these tasks and their weights."""
    parts: list[FeatureSet] = []
    seconds: list[float] = []
    builds: list[float] = []
    first = RecordLog(logs[0]).read()
    if not first.workloads:
        raise InvalidInputError(f"{logs[0]} must be a log of a tuning run; it holds no task")
    target = first.workloads[0].task.target
    tasks = load_tasks(first, target)
    for log in logs:
        contents = RecordLog(log).read()
        for task, described in tasks:
            mine = [
                r for r in for_target(contents.records, target) if r.task == described.key and r.is_trial and r.valid
            ]
            found = [(schedule, record) for record in mine if (schedule := _rebuilt(task, record)) is not None]
            if found:
                parts.append(extract_features(task.mod, task.target, [schedule for schedule, _ in found], _BUILDERS))
                seconds += [record.cost for _, record in found]
                builds += [record.result.build_seconds for _, record in found]
    if len(seconds) < _LEAST:
        raise InvalidInputError(f"the logs must hold at least {_LEAST} valid programs; got {len(seconds)}")
    oracle = Oracle(FeatureSet.concat(parts), np.array(seconds), np.array(builds))
    return oracle, [task for task, _ in tasks], [described.weight for _, described in tasks]


def _rebuilt(task: Any, record: MeasureRecord) -> Schedule | None:
    try:
        return rebuild_schedule(task.mod, record.trace)
    except InvalidInputError:
        return None  # of another TVM


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One policy with one seed: trials, seconds and best latencies of all tasks after each round."""

    policy: str
    seed: int
    trials: list[int]
    seconds: list[float]
    best: list[list[float | None]]


def simulate(policy: str, seed: int, work: Work, oracle: Oracle) -> Run:
    """Let a policy tune."""
    measurers: list[SimulatedMeasurer] = []

    def make_measurer(options: Any) -> SimulatedMeasurer:
        measurers.append(SimulatedMeasurer(oracle, options.measure_callbacks, seed))
        return measurers[-1]

    watch = _Watch(Run(policy=policy, seed=seed, trials=[], seconds=[], best=[]), measurers, len(work.tasks))
    contestants.ours(policy).tune(work, watch, make_measurer=make_measurer)
    return watch.made


class _Watch:
    """Takes down what is reported of a run."""

    def __init__(self, made: Run, measurers: Sequence[SimulatedMeasurer], tasks: int) -> None:
        self.made, self._measurers = made, measurers
        self._best: list[float | None] = [None] * tasks

    def __call__(
        self, task: int, phases: Mapping[str, float], costs: Sequence[float | None], trace_of: Callable[[int], str]
    ) -> None:
        known = [cost for cost in [self._best[task], *costs] if cost is not None]
        self._best[task] = min(known, default=None)
        self.made.trials.append(len(costs) + (self.made.trials[-1] if self.made.trials else 0))
        searched = sum(phases[phase] for phase in ("search", "train", "families"))
        self.made.seconds.append(searched + self._measurers[-1].elapsed)
        self.made.best.append(list(self._best))

    def choose(self, task: int, phases: Mapping[str, float], trace: str) -> None:
        raise NotImplementedError("there is nothing to choose from where every timing of a candidate is the same")


def show(runs: Sequence[Run], weights: Sequence[float]) -> str:
    """Return, for each policy, medians of trials and seconds until latencies are within factors of the best known."""
    known = [min(best for run in runs for best in [run.best[-1][i]] if best) for i in range(len(weights))]
    goal = float(np.dot(weights, known))
    header = ["policy", *(f"up to {factor:g}" for factor in _GOALS), "final, of the best known", "seconds"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for policy in dict.fromkeys(run.policy for run in runs):
        mine = [run for run in runs if run.policy == policy]
        curves = [[_sum(weights, best) / goal for best in run.best] for run in mine]
        cells = [_reached(mine, curves, factor) for factor in _GOALS]
        finals = [curve[-1] for curve in curves]
        final = f"{median(finals):.3f} ({min(finals):.3f} to {max(finals):.3f})"
        lines.append(f"| {policy} | {' | '.join(cells)} | {final} | {median(run.seconds[-1] for run in mine):.0f} |")
    return "\n".join(
        [*lines, "", "Trials / seconds until the weighted latency is so many times that of the best known."]
    )


def _sum(weights: Sequence[float], best: Sequence[float | None]) -> float:
    return fsum(weight * (np.inf if cost is None else cost) for weight, cost in zip(weights, best, strict=True))


def _reached(runs: Sequence[Run], curves: Sequence[Sequence[float]], factor: float) -> str:
    first = [next((i for i, value in enumerate(curve) if value <= factor), None) for curve in curves]
    found = [(run.trials[i], run.seconds[i]) for run, i in zip(runs, first, strict=True) if i is not None]
    if 2 * len(found) <= len(runs):
        return "never"
    return f"{median(trials for trials, _ in found):.0f} / {median(seconds for _, seconds in found):.0f}"


def run(options: argparse.Namespace) -> None:
    """Learn, simulate, show and write."""
    for name in ("trials", "per_round", "seeds"):
        whole_number(f"--{name.replace('_', '-')}", getattr(options, name), at_least=1)
    for policy in options.policies:
        contestants.check(policy)
        if not policy.startswith("sketch."):
            raise InvalidInputError(f"`--policies` must be of ours; got {policy!r}")
    if options.out:
        require_file("--out", options.out)
    oracle, tasks, weights = gather(options.logs)
    runs = []
    for seed in range(options.seeds):
        for policy in options.policies:
            trials = contestants.trials_of(policy, options.trials)
            job = Job(network="simulated", trials=trials, per_round=options.per_round, finalists=0, seed=seed)
            runs.append(simulate(policy, seed, Work(job=job, tasks=tasks, weights=weights), oracle))
            print(f"seed {seed}: {policy}", file=sys.stderr, flush=True)
    print(show(runs, weights))
    if options.out:
        raw = {"machine": describe(), "weights": weights, "runs": [asdict(made) for made in runs]}
        options.out.write_text(json.dumps(raw) + "\n")


def main() -> int:
    """Run the command line; 2 when it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "logs", type=Path, nargs="+", help="logs of the same tasks: of --records, or of `familyseer tune`"
    )
    parser.add_argument("--policies", nargs="+", default=["sketch.xgb", "sketch.xgb.family_op"], metavar="NAME")
    parser.add_argument("--trials", type=int, default=288, help="of each run (default 288)")
    parser.add_argument("--per-round", type=int, default=16, help="default 16")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, … (default 3)")
    parser.add_argument("--out", type=Path, help="raw results, JSON")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
