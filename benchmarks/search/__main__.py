# SPDX-License-Identifier: Apache-2.0
"""Find out how long, and how many trials, each tuner needs to reach the same latency.

``python -m benchmarks.search --network bert_base --seeds 3 --trials 320 --out benchmarks/results/search-bert.json``

For each network, batch size and seed, all contestants tune the same tasks in turns, round by round, each in a process of
its own. Then the best schedules that they had at any moment are timed again together. Results are written after each
of the two; the same command goes on from there after an interruption. ``python -m benchmarks.report`` reads them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks import raw
from benchmarks.command import exit_status, require_file, require_folder
from benchmarks.machine import commit, describe, today
from benchmarks.search import contestants, document
from benchmarks.search.block import BlockFailure, run_contestants
from benchmarks.search.job import SIZES, Job, Work, network_options, prepare
from familyseer.errors import InvalidInputError

_TELL_SECONDS = 30.0


@dataclass(slots=True)
class Progress:
    """Prints how far the matrix is and how long it will still take."""

    total: int
    per_block: int
    before: int = 0
    started: float = field(default_factory=time.monotonic)
    _told: float = 0.0
    _trials: dict[str, int] = field(default_factory=dict)

    def start_block(self, title: str) -> None:
        """Begin a block."""
        self._trials = {}
        print(f"{title}: preparing", flush=True)

    def tell(self, title: str, name: str, trials: int, seconds: float) -> None:
        """Take note of a round."""
        self._trials[name] = trials
        now = time.monotonic()
        if now - self._told < _TELL_SECONDS:
            return
        self._told = now
        done = self.before + sum(self._trials.values())
        left = (now - self.started) * (self.total - done) / max(done, 1)
        print(f"{title}: {name} {trials} trials in {seconds:.0f} s; {_left(left)} left", flush=True)

    def end_block(self) -> None:
        """Finish a block, whether it measured all its trials or not."""
        done = sum(self._trials.values())
        self.before += done
        self.total += done - self.per_block


def _left(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def run_block(job: Job, options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Run all contestants; what they found is not timed yet."""
    progress.start_block(job.title)
    work, provenance = prepare(job), _provenance()
    try:
        with TemporaryDirectory(prefix="benchmark-") as folder:
            runs = run_contestants(
                job,
                options.baselines,
                options.logs or Path(folder),
                {"TVM_NUM_THREADS": os.environ["TVM_NUM_THREADS"]},
                lambda name, trials, seconds: progress.tell(job.title, name, trials, seconds),
            )
    finally:
        progress.end_block()
    return {
        "network": job.network,
        "batch": job.batch,
        "seed": job.seed,
        "trials": job.trials,
        "tasks": [
            {"name": task.desc, "weight": weight, "operator": task.task.operator}
            for task, weight in zip(work.tasks, work.weights, strict=True)
        ],
        "runs": runs,
        "schedules": None,
        "tuned": provenance,
        "timed": None,
    }


def time_block(job: Job, block: dict[str, Any]) -> dict[str, Any]:
    """Return `block` with the schedules that its contestants found timed together."""
    from benchmarks.search.remeasure import remeasure

    print(f"{job.title}: timing the finalists together", flush=True)
    provenance = _provenance()
    return block | {"schedules": remeasure(prepare(job), block["runs"]), "timed": provenance}


def _provenance() -> dict[str, str]:
    """Return what a block must say of when it was made, and with which code."""
    return {"date": today(), "commit": commit()}


def _check_budgets(jobs: Iterable[Job]) -> None:
    """Refuse jobs that cannot be done before the first begins."""
    for job in {(job.network, job.batch): job for job in jobs}.values():
        print(f"{job.network} batch {job.batch}: checking", flush=True)
        _check_budget(prepare(job))


def _check_budget(work: Work) -> None:
    job = work.job
    if job.trials < len(work.tasks) * job.per_round:
        raise InvalidInputError(
            f"`--trials` must be at least {len(work.tasks) * job.per_round}, one round of {job.per_round} for each of the "
            f"{len(work.tasks)} tasks of {job.network}; got {job.trials}"
        )


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", nargs="+", required=True, help="networks of familyseer.networks")
    parser.add_argument("--batch", nargs="+", type=int, default=[1], help="batch sizes (default 1)")
    parser.add_argument("--size", choices=SIZES, default="small", help="few layers (default), or the published depth")
    parser.add_argument(
        "--target", default="llvm", help='"llvm" (this machine), "cuda" or a tag such as nvidia/nvidia-h100'
    )
    parser.add_argument(
        "--baselines", "--contestants", nargs="+", default=list(contestants.NAMES), metavar="NAME",
        help=f"who takes part (default: all of {', '.join(contestants.NAMES)})",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, … (default 3)")
    parser.add_argument(
        "--trials", type=int, required=True, help="candidates that each contestant measures, per network"
    )
    parser.add_argument("--per-round", type=int, default=16, help="candidates of a round (default 16; TVM's is 64)")
    parser.add_argument("--min-repeat-ms", type=int, default=100, help="shortest timing while tuning (default 100)")
    parser.add_argument(
        "--finalists", type=int, default=3,
        help="candidates per task that all but stock time again at the end, as familyseer tune does (default 3; 0: none)",
    )  # fmt: skip
    parser.add_argument("--only", default="", help="tune only tasks whose name contains this")
    parser.add_argument("--logs", type=Path, help="keep there what contestants print")
    parser.add_argument("--records", type=Path, help="keep there the tuning logs of our policies")
    parser.add_argument(
        "--store", type=Path, help="what runs on other networks learnt, for contestants with the flag warm_store"
    )
    parser.add_argument("--out", type=Path, required=True, help="raw results, JSON")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run what is missing in ``options.out``; return 1 when a contestant broke a block, which the next call tries again."""
    os.environ.setdefault("TVM_NUM_THREADS", str(psutil.cpu_count(logical=False)))
    from benchmarks.search.remeasure import final_timing

    _check(options)
    settings = {
        name: getattr(options, name)
        for name in ("size", "target", "baselines", "trials", "per_round", "min_repeat_ms", "finalists", "only")
    } | {"threads": os.environ["TVM_NUM_THREADS"], "final_timing": final_timing()}
    settings |= {"store": _digest(options.store)} if options.store else {}
    found = document.resume(options.out, describe(), settings)
    jobs = [
        Job(
            network=network, batch=batch, size=options.size, target=options.target, trials=options.trials,
            per_round=options.per_round, min_repeat_ms=options.min_repeat_ms,
            finalists=options.finalists, seed=seed, only=options.only,
            records=str(options.records or ""), store=str(options.store or ""),
        )
        for network in options.network
        for batch in options.batch
        for seed in range(options.seeds)
    ]  # fmt: skip
    blocks = {(block["network"], block["batch"], block["seed"]): block for block in found["blocks"]}
    missing = [job for job in jobs if job.block not in blocks]
    _check_budgets(missing)
    per_block = sum(contestants.trials_of(name, options.trials) for name in options.baselines)
    progress = Progress(total=len(missing) * per_block, per_block=per_block)
    failed: list[str] = []

    def keep(job: Job, block: dict[str, Any]) -> None:
        blocks[job.block] = block
        raw.write(options.out, found | {"blocks": list(blocks.values())})

    for job in jobs:
        if job in missing:
            try:
                keep(job, run_block(job, options, progress))
            except BlockFailure as err:
                hint = "" if options.logs else "\n--logs DIR keeps what contestants print"
                print(f"error: {job.title}: {err}{hint}", file=sys.stderr, flush=True)
                failed.append(job.title)
                continue
        if not document.is_timed(blocks[job.block]):
            keep(job, time_block(job, blocks[job.block]))
    print(f"{len(blocks)} blocks in {options.out}; now: python -m benchmarks.report {options.out}")
    if failed:
        print(f"error: {len(failed)} failed: {', '.join(failed)}; the same command tries them again", file=sys.stderr)
    return 1 if failed else 0


def _digest(store: Path) -> str:
    """Return what tells stores apart."""
    files = sorted(store.glob("*.npz"))
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()[:12]


def _check(options: argparse.Namespace) -> None:
    for name in options.baselines:
        contestants.check(name)
        if "warm_store" in name and not (options.store and list(options.store.glob("*.npz"))):
            raise InvalidInputError(
                f"`--store` must be a folder that `familyseer tune --store` filled, for {name}; got {options.store}"
            )
    for name, what in [("baselines", "contestant"), ("network", "network"), ("batch", "batch size")]:
        values = getattr(options, name)
        if len(set(values)) != len(values):
            raise InvalidInputError(f"`--{name}` must name each {what} once; got {' '.join(map(str, values))}")
    for network in options.network:
        network_options(network, options.size)
    for name in ("seeds", "trials", "per_round", "min_repeat_ms"):
        if getattr(options, name) < 1:
            raise InvalidInputError(f"`--{name.replace('_', '-')}` must be at least 1; got {getattr(options, name)}")
    if options.finalists < 0:
        raise InvalidInputError(f"`--finalists` must be at least 0; got {options.finalists}")
    if min(options.batch) < 1:
        raise InvalidInputError(f"`--batch` must be at least 1; got {min(options.batch)}")
    require_file("--out", options.out)
    for name, folder in [("--records", options.records), ("--logs", options.logs)]:
        if folder is not None:
            require_folder(name, folder)


def main() -> int:
    """Run the command line; 1 when a block failed, 2 when it was refused, 130 when it was interrupted."""
    options = make_parser().parse_args()
    try:
        return exit_status(lambda: run(options))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what is in --out", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
