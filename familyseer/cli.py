# SPDX-License-Identifier: Apache-2.0
"""The command ``familyseer``: tune a network, show a log, apply it."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from familyseer import __version__, networks
from familyseer.errors import FamilySeerError, InvalidInputError
from familyseer.families.keys import DEFAULT_POLICY, POLICY_NAMES
from familyseer.networks import Network
from familyseer.progress import RoundProgress
from familyseer.records import LogContents, RecordLog, for_target
from familyseer.report import (
    failure_diagnosis,
    gain_rows,
    render_gains,
    render_tasks,
    task_rows,
    uncovered,
    untuned_latencies,
)

__all__ = ["main"]

_FAILED, _BAD_INPUT, _INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done; 1: something failed or the tuned network computes something else; 2: bad input; 130: interrupted.
    """
    options = _parser().parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    _log_to(Console(stderr=True), options.verbose)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        command: Callable[[argparse.Namespace, Console], int] = options.command
        return command(options, console)
    except InvalidInputError as err:
        print(f"familyseer: {err}", file=sys.stderr)
        return _BAD_INPUT
    except FamilySeerError as err:
        print(f"familyseer: {err}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print(_farewell(options), file=sys.stderr)
        return _INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _farewell(options: argparse.Namespace) -> str:
    if options.command is not _tune:
        return "familyseer: interrupted"
    return (
        f"familyseer: interrupted. Everything measured is in {_log_path(options)}; "
        "the same command goes on from there and measures nothing twice."
    )


def _log_to(console: Console, verbose: int) -> None:
    handler = RichHandler(console=console, show_path=False, show_time=False)
    logger = logging.getLogger("familyseer")
    logger.handlers = [handler]
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="familyseer", description="Tune neural networks with Apache TVM.")
    parser.add_argument("--version", action="version", version=f"familyseer {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_tune(commands)
    _add_show(commands)
    _add_apply(commands)
    return parser


def _add_tune(commands: Any) -> None:
    tune = commands.add_parser("tune", help="tune a network", description="Tune a network and check what came of it.")
    _add_network(tune)
    tune.add_argument("--trials", type=int, default=None, help="candidates to measure in all (default: 64 per task)")
    tune.add_argument("--per-round", type=int, default=64, help="candidates of one round at most (default: 64)")
    tune.add_argument(
        "--policy", default=DEFAULT_POLICY, help=f"one of {', '.join(POLICY_NAMES)} (default: %(default)s)"
    )
    tune.add_argument("--log", type=Path, default=None, help="log to write and resume from (default: NETWORK.json)")
    tune.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    tune.add_argument("--early-stopping", type=int, default=None, help="stop when so many trials improved nothing")
    tune.add_argument("--min-repeat-ms", type=int, default=100, help="shortest timing of a candidate (default: 100)")
    tune.add_argument("--timeout", type=float, default=15, help="seconds to build or run a candidate (default: 15)")
    tune.add_argument("--threads", type=int, default=0, help="threads that a kernel may use (default: num-cores)")
    tune.add_argument("--cache-flush", action="store_true", help="flush the CPU's caches before each timing")
    tune.add_argument("--no-check", action="store_true", help="do not compare the outputs with the untuned network's")
    tune.set_defaults(command=_tune)


def _add_network(parser: argparse.ArgumentParser) -> None:
    known = ", ".join(networks.names())
    parser.add_argument("network", metavar="NETWORK", help=f"{known}, or a file model.onnx or model.pt2")
    parser.add_argument("--target", default="llvm", help="llvm (this machine), a tag or JSON (default: %(default)s)")
    parser.add_argument("--size", default="full", help="full or tiny, for built-in networks (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="batch size, for built-in networks (default: 1)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="e.g. width=0.5, seq_len=128, depth=2"
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: debug")


def _add_show(commands: Any) -> None:
    show = commands.add_parser("show", help="show a log", description="Show what a tuning log holds.")
    show.add_argument("log", type=Path, metavar="LOG")
    show.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    show.set_defaults(command=_show)


def _add_apply(commands: Any) -> None:
    apply = commands.add_parser(
        "apply", help="compile a network with a log", description="Compile a network with the best records of a log."
    )
    apply.add_argument("log", type=Path, metavar="LOG")
    _add_network(apply)
    apply.add_argument("--output", type=Path, default=None, help="library to write, e.g. tuned.so")
    apply.add_argument("--no-check", action="store_true", help="do not compare the outputs with the untuned network's")
    apply.set_defaults(command=_apply)


def _load(options: argparse.Namespace) -> Network:
    suffix = Path(options.network).suffix
    if suffix in (".onnx", ".pt2"):
        from familyseer.meta_schedule import frontends

        return (frontends.from_onnx if suffix == ".onnx" else frontends.from_torch_export)(options.network)
    return networks.build(options.network, batch=options.batch, size=options.size, **_settings(options.option))


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInputError(f"`--option` must be KEY=VALUE; got {pair!r}")
        try:
            settings[key.replace("-", "_")] = json.loads(value)
        except ValueError:
            settings[key.replace("-", "_")] = value
    return settings


def _target(options: argparse.Namespace) -> Any:
    from familyseer.meta_schedule.target import resolve_target

    text = options.target
    try:
        return resolve_target(json.loads(text) if text.startswith("{") else text)
    except ValueError as err:
        raise InvalidInputError(str(err)) from err


def _log_path(options: argparse.Namespace) -> Path:
    return options.log or Path(f"{Path(options.network).stem}.json")


def _tune(options: argparse.Namespace, console: Console) -> int:
    from familyseer import auto_scheduler
    from familyseer.meta_schedule import session
    from familyseer.meta_schedule.relax import extract

    target, log = _target(options), _log_path(options)
    builder = auto_scheduler.LocalBuilder(timeout=options.timeout)
    runner = auto_scheduler.LocalRunner(
        timeout=options.timeout,
        min_repeat_ms=options.min_repeat_ms,
        enable_cpu_cache_flush=options.cache_flush,
        max_threads=options.threads,
    )
    network = _load(options)
    found = extract(network.mod, network.params, target)
    console.print(f"{network.name}: {len(found.tasks)} tasks for {target}; log {log}")
    if found.left_out:
        console.print(f"nothing to tune in {', '.join(sorted(found.left_out))}")
    trials = 64 * len(found.tasks) if options.trials is None else options.trials
    with RoundProgress(trials, console) as progress:
        tune_option = auto_scheduler.TuningOptions(
            trials,
            early_stopping=options.early_stopping,
            num_measures_per_round=options.per_round,
            builder=builder,
            runner=runner,
            measure_callbacks=[auto_scheduler.RecordToFile(log), progress],
        )
        scheduler = auto_scheduler.TaskScheduler(
            found.tasks, found.weights, load_log_file=log, callbacks=[progress], seed=options.seed
        )
        session.measure_untuned(found.tasks, scheduler.described, builder, runner, log)
        summary = scheduler.tune(tune_option, options.policy)
    console.print(f"{summary.message}, in {summary.seconds:.0f} s ({_phases(scheduler)})")
    return _report_and_check(options, console, network, target, log)


def _phases(scheduler: Any) -> str:
    snapshot = scheduler.ledger.snapshot()
    phases = ("search", "build", "run", "train", "other")
    return ", ".join(f"{phase} {snapshot.phase_seconds(phase):.0f} s" for phase in phases)


def _report_and_check(options: argparse.Namespace, console: Console, network: Network, target: Any, log: Path) -> int:
    """Print latencies before and after, and whether the tuned network computes what the untuned one does."""
    from familyseer import auto_scheduler
    from familyseer.meta_schedule import session
    from familyseer.meta_schedule.relax import compile_network

    _print_tables(console, RecordLog(log).read())
    applied = auto_scheduler.ApplyHistoryBest(log)
    tuned = applied.compile(network.mod, network.params, target)
    if getattr(options, "output", None):
        tuned.export_library(str(options.output))
        console.print(f"wrote {options.output}")
    if options.no_check:
        return 0
    untuned = compile_network(network.mod, network.params, target)
    arguments = network.example_inputs()
    before, after = (session.latency_of(executable, arguments, target) for executable in (untuned, tuned))
    console.print(f"whole network: {before * 1e3:.3f} ms untuned, {after * 1e3:.3f} ms tuned, {before / after:.2f}x")
    outcome = session.compare_outputs(*(session.run_network(e, arguments, target) for e in (untuned, tuned)))
    verdict = "the same as" if outcome.equal else "NOT the same as"
    console.print(
        f"the tuned network computes {verdict} the untuned one: "
        f"largest relative difference {outcome.error:.1e}, tolerance {outcome.tolerance:.0e}"
    )
    return 0 if outcome.equal else _FAILED


def _print_tables(console: Console, contents: LogContents) -> None:
    for target in dict.fromkeys(workload.task.target for workload in contents.workloads):
        tasks = [workload.task for workload in contents.workloads if workload.task.target == target]
        rows = task_rows(tasks, contents.records, target)
        untuned = untuned_latencies(contents.records, target)
        console.print(f"\ntarget {target}")
        console.print(render_tasks(rows))
        if untuned:
            console.print("\n" + render_gains(gain_rows(rows, untuned)))
        for task in uncovered(rows):
            mine = [record for record in for_target(contents.records, target) if record.task == task.key]
            if mine:
                console.print("\n" + failure_diagnosis(task.name, mine))


def _show(options: argparse.Namespace, console: Console) -> int:
    if not options.log.exists():
        raise InvalidInputError(f"`LOG` must be an existing file; got {str(options.log)!r}")
    contents = RecordLog(options.log).read()
    if not contents.workloads and not contents.records:
        console.print(f"{options.log}: no records")
    _print_tables(console, contents)
    for line in contents.quarantined:
        console.print(f"line {line.number} is left out: {line.reason}")
    if contents.torn:
        console.print("the last line was cut off in writing and is left out; the next run repairs it")
    return 0


def _apply(options: argparse.Namespace, console: Console) -> int:
    if not options.log.exists():
        raise InvalidInputError(f"`LOG` must be an existing file; got {str(options.log)!r}")
    return _report_and_check(options, console, _load(options), _target(options), options.log)
