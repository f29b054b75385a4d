# SPDX-License-Identifier: Apache-2.0
"""The commands themselves; each returns its exit code."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from familyseer.cli.arguments import describe_network, load_network, log_path, target_of
from familyseer.errors import EnvironmentFailure, InvalidInputError, LogError
from familyseer.families.keys import DEFAULT_POLICY, PolicyName
from familyseer.ledger import PHASES
from familyseer.networks import Network
from familyseer.progress import RoundProgress
from familyseer.records import LogContents, NetworkRecord, RecordLog, for_target, same_target, trials_for
from familyseer.report import (
    draw_families,
    failure_diagnosis,
    gain_rows,
    network_text,
    render_families,
    render_gains,
    render_left_out,
    render_summary,
    render_tasks,
    task_rows,
    uncovered,
    untuned_latencies,
)

__all__ = ["apply", "families", "show", "tune"]

_TRIALS_PER_TASK = 64


def tune(options: argparse.Namespace, console: Console) -> int:
    """Tune a network, then show what came of it."""
    describe_network(options, "{}")  # fails before anything slow is imported
    log = log_path(options)
    if options.store is not None and PolicyName.parse(options.policy).family == "shared":
        raise InvalidInputError(f"`--store` serves family policies such as {DEFAULT_POLICY}; got {options.policy}")
    _try_to_write(log)
    from familyseer.meta_schedule.relax import extract
    from familyseer.meta_schedule.target import target_json

    target = target_of(options.target)
    record = describe_network(options, target_json(target))
    trials_for(RecordLog(log).read().records, record.target, log)  # refuses a log of another target
    network = load_network(record)
    found = extract(network.mod, network.params, target)
    console.print(f"{network_text(record)}: {len(found.tasks)} tasks for {record.target}; log {log}")
    if found.left_out:
        console.print(f"nothing to tune in {', '.join(sorted(found.left_out))}")
    trials = _trials(options.trials, len(found.tasks), network.name)
    with RecordLog(log) as writer:
        writer.add_network(record)
    _search(options, console, found, trials, log)
    code = _print_tables(console, RecordLog(log).read(), record.target)
    return code or _compile_and_check(console, network, target, log, check=not options.no_check)


def _try_to_write(log: Path) -> None:
    """Fail now where the log cannot be read, written or locked, and leave no empty file behind."""
    writer, existed = RecordLog(log), log.exists()
    writer.open_for_append()
    try:
        if not existed:
            log.unlink()  # while it is locked, so that no other run can have taken it up
    finally:
        writer.close()


def _trials(wanted: int | None, tasks: int, name: str) -> int:
    if not tasks:
        raise InvalidInputError(
            f"`NETWORK` must have something to tune; {name} has no kernel with a choice of schedules"
        )
    trials = _TRIALS_PER_TASK * tasks if wanted is None else wanted
    if trials < tasks:
        raise InvalidInputError(f"`--trials` must be at least {tasks}, one for each task; got {trials}")
    return trials


def _search(options: argparse.Namespace, console: Console, found: Any, trials: int, log: Path) -> None:
    from familyseer import auto_scheduler
    from familyseer.meta_schedule.session import measure_untuned

    builder = auto_scheduler.LocalBuilder(timeout=options.timeout)
    runner = auto_scheduler.LocalRunner(
        timeout=options.timeout,
        min_repeat_ms=options.min_repeat_ms,
        enable_cpu_cache_flush=options.cache_flush,
        max_threads=options.threads,
    )
    with RoundProgress(trials, console) as shown:
        progress: Any = shown  # it has the methods that the callbacks of both need
        tune_option = auto_scheduler.TuningOptions(
            trials,
            early_stopping=options.early_stopping,
            min_gain=options.min_gain,
            num_measures_per_round=options.per_round,
            builder=builder,
            runner=runner,
            measure_callbacks=[auto_scheduler.RecordToFile(log), progress],
        )
        scheduler = auto_scheduler.TaskScheduler(
            found.tasks, found.weights, load_log_file=log, callbacks=[progress], seed=options.seed, store=options.store
        )
        measure_untuned(found.tasks, scheduler.described, builder, runner, log)
        summary = scheduler.tune(tune_option, options.policy)
    snapshot = scheduler.ledger.snapshot()
    phases = ", ".join(f"{phase} {snapshot.phase_seconds(phase):.0f} s" for phase in PHASES)
    restored = f" ({summary.restored_trials} of them before)" if summary.restored_trials else ""
    console.print(f"{summary.message}{restored}, in {summary.seconds:.0f} s ({phases})")


def _print_tables(console: Console, contents: LogContents, target: str) -> int:
    """Print all tables of one target; return 1 when not one of its tasks has a valid record."""
    tasks = [workload.task for workload in contents.workloads if same_target(workload.task.target, target)]
    rows = task_rows(tasks, contents.records, target)
    untuned = untuned_latencies(contents.records, target)
    console.print("\n" + render_summary(contents, target))
    console.print("\n" + render_tasks(rows))
    if untuned:
        console.print("\n" + render_gains(gain_rows(rows, untuned)))
    for task in uncovered(rows):
        records = for_target(contents.records, target)
        mine = [r.result for r in records if r.task == task.key and r.is_trial]
        if mine:
            console.print("\n" + failure_diagnosis(task.name, mine))
    return int(len(uncovered(rows)) == len(rows))


def show(options: argparse.Namespace, console: Console) -> int:
    """Print what a log holds."""
    _require_log(options.log)
    contents = RecordLog(options.log).read()
    if not contents.workloads:
        console.print(f"{options.log}: no records")
    for target in dict.fromkeys(workload.task.target for workload in contents.workloads):
        _print_tables(console, contents, target)
    for line in render_left_out(contents):
        console.print(line)
    return 0


def families(options: argparse.Namespace, console: Console) -> int:
    """Print which tasks of a log are families, and draw their cross-accuracy."""
    _require_log(options.log)
    targets = dict.fromkeys(workload.task.target for workload in RecordLog(options.log).read().workloads)
    if not targets:
        raise LogError(f"the log {str(options.log)!r} must hold records; it has none")
    if options.figure is not None and len(targets) > 1:
        raise InvalidInputError(f"`--figure` needs a log of one target; {str(options.log)!r} has {len(targets)}")
    from familyseer.meta_schedule.families import map_families

    for target in targets:
        found = map_families(options.log, target)
        console.print(f"target {target}\n\n{render_families(found)}")
        if options.figure is not None:
            draw_families(found, options.figure)
            console.print(f"wrote {options.figure}")
    return 0


def apply(options: argparse.Namespace, console: Console) -> int:
    """Compile a network with the best records of a log."""
    _require_log(options.log)
    _require_writable(options.output)
    contents = RecordLog(options.log).read()
    record = _wanted_network(options, contents)
    from familyseer.meta_schedule.target import target_json

    target = target_of(options.target or record.target)
    if not any(r.valid and same_target(r.target, target_json(target)) for r in contents.records):
        raise LogError(
            f"the log {str(options.log)!r} must hold a valid record for target {target_json(target)}; it has none"
        )
    network = load_network(record)
    console.print(f"{network_text(record)} for {target_json(target)}")
    return _compile_and_check(console, network, target, options.log, check=not options.no_check, output=options.output)


def _require_log(log: Path) -> None:
    if not log.exists():
        raise InvalidInputError(f"`LOG` must be an existing file; got {str(log)!r}")


def _require_writable(output: Path | None) -> None:
    if output is None:
        return
    if output.suffix != ".so":
        raise InvalidInputError(f"`--output` must be a file FILE.so; got {str(output)!r}")
    if output.is_dir() or not os.access(output if output.exists() else output.parent, os.W_OK):
        raise InvalidInputError(f"`--output` must be a file that can be written; got {str(output)!r}")


def _wanted_network(options: argparse.Namespace, contents: LogContents) -> NetworkRecord:
    """Return the network that the command line names, else the one that the log tells of."""
    logged = [n for n in contents.networks if options.target is None or _is_for(n, options.target)]
    if options.network is not None:
        targets = list(dict.fromkeys(n.target for n in logged))
        return describe_network(options, targets[0] if options.target is None and len(targets) == 1 else "{}")
    if options.size or options.batch or options.option:
        raise InvalidInputError("`--size`, `--batch` and `--option` must come with a `NETWORK`")
    if len(logged) != 1:
        known = "; ".join(f"{network_text(n)} for {n.target}" for n in logged) or "no network"
        raise InvalidInputError(
            f"`NETWORK` must be given, as the log {str(options.log)!r} tells of {known}. "
            f"For example: familyseer apply {options.log} resnet18"
        )
    return logged[0]


def _is_for(network: NetworkRecord, text: str) -> bool:
    from familyseer.meta_schedule.target import target_json

    return same_target(network.target, target_json(target_of(text)))


def _compile_and_check(
    console: Console, network: Network, target: Any, log: Path, *, check: bool, output: Path | None = None
) -> int:
    """Compile with the log's best records; print what that gains and whether it still computes the same."""
    from familyseer import auto_scheduler
    from familyseer.meta_schedule import relax, session

    applied = auto_scheduler.ApplyHistoryBest(log)
    tuned = applied.compile(network.mod, network.params, target)
    served = [kernel for kernel in applied.kernels if kernel.latency is not None]
    if not served and not any(kernel.unbeaten for kernel in applied.kernels):
        raise LogError(
            f"the log {str(log)!r} has no record for any kernel of {network.name}. Was another network tuned?"
        )
    console.print(f"\n{len(served)} of {len(applied.kernels)} kernels of {network.name} have a schedule from {log}")
    if output is not None:
        _export(tuned, output)
        console.print(f"wrote {output}")
    if not check:
        return 0
    session.use_cores(target)
    untuned = relax.compile_network(network.mod, network.params, target)
    arguments = network.example_inputs()
    before, after = (session.latency_of(executable, arguments, target) for executable in (untuned, tuned))
    console.print(f"whole network: {before * 1e3:.3f} ms untuned, {after * 1e3:.3f} ms tuned, {before / after:.2f}x")
    outcome = session.compare_outputs(*(session.run_network(e, arguments, target) for e in (untuned, tuned)))
    console.print(
        f"the tuned network computes {'the same as' if outcome.equal else 'NOT the same as'} the untuned one: "
        + (outcome.reason or f"largest relative difference {outcome.error:.1e}, tolerance {outcome.tolerance:.0e}")
    )
    return 0 if outcome.equal else 1


def _export(executable: Any, output: Path) -> None:
    try:
        executable.export_library(str(output))
    except (OSError, RuntimeError) as err:
        raise EnvironmentFailure(
            f"the library {str(output)!r} cannot be written: {str(err).strip().splitlines()[0]}"
        ) from err
