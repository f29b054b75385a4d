# SPDX-License-Identifier: Apache-2.0
"""Make tables and figures of the raw results of the search benchmark.

``python -m benchmarks.report benchmarks/results/search-*.json --out benchmarks/results``

For each network the figure shows the weighted latency over seconds and over trials, the median of the seeds and their
whole range. Ratios compare a contestant with a baseline, stock MetaSchedule if none is named, on the same seed; the table
has the median of the seeds and, in brackets, the least and the most.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from pathlib import Path
from statistics import geometric_mean, median, median_low
from typing import Any

import numpy as np

from benchmarks.command import exit_status, require_folder
from benchmarks.curves import (
    SLACKS,
    Point,
    at_seconds,
    at_trials,
    curve,
    first_within,
    ratio,
    step,
    timed_latencies,
    untuned_latencies,
)
from benchmarks.machine import machine_of
from benchmarks.search.contestants import BASELINE
from benchmarks.search.document import is_timed, load
from familyseer.errors import InvalidInputError
from familyseer.ledger import PHASES
from familyseer.report.figures import pyplot, save_figure

Curves = dict[str, list[list[Point]]]
"""For each contestant one curve per seed."""


# Of a run's settings, those that must be equal for latencies and seconds of two files to stand in one table.
_SETTINGS = ("target", "size", "only", "threads", "per_round", "min_repeat_ms", "finalists", "final_timing")

_SLACK_NAMES = tuple(f"+{slack:.0%}" for slack in SLACKS)


def _seconds(point: Point) -> float:
    return point.seconds


def _trials(point: Point) -> float:
    return point.trials


def check(documents: Sequence[Mapping[str, Any]], paths: Sequence[Path], against: Sequence[str]) -> None:
    """Refuse results, read from `paths`, that do not belong together or lack a baseline."""
    for path, document in zip(paths, documents, strict=True):
        theirs, first = (machine_of(d["machine"]) for d in (document, documents[0]))
        if theirs != first:
            raise InvalidInputError(
                f"results must all be of one machine and the same versions; {path} is of {theirs}, {paths[0]} of {first}. "
                "Report them apart."
            )
        for name in _SETTINGS:
            here, there = document["settings"].get(name), documents[0]["settings"].get(name)
            if here != there:
                raise InvalidInputError(
                    f"results must all be of the same settings; {name} is {here!r} in {path} and {there!r} in {paths[0]}. "
                    "Report them apart."
                )
        for block in document["blocks"]:
            missing = [name for name in against if name not in block["runs"]]
            if missing:
                raise InvalidInputError(
                    f"every block must have a run of {missing[0]!r} to compare with; {path} has none for "
                    f"{block['network']} batch {block['batch']} seed {block['seed']}"
                )
    if not any(document["blocks"] for document in documents):
        raise InvalidInputError("there is no finished block in these results yet")


def group_blocks(documents: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the blocks by network and batch size, in order of their seeds; each must be there once."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for document in documents:
        for block in document["blocks"]:
            group = groups.setdefault((block["network"], block["batch"]), [])
            if any(other["seed"] == block["seed"] for other in group):
                raise InvalidInputError(
                    f"{block['network']} batch {block['batch']} seed {block['seed']} must be in one file only"
                )
            if group and (group[0]["trials"], list(group[0]["runs"])) != (block["trials"], list(block["runs"])):
                raise InvalidInputError(
                    f"all seeds of {block['network']} must have the same trials and contestants; report them apart"
                )
            group.append(block)
    return {key: sorted(group, key=lambda block: block["seed"]) for key, group in groups.items()}


def curves_of(blocks: Sequence[Mapping[str, Any]]) -> Curves:
    """Return all curves of one network."""
    curves: Curves = {name: [] for name in blocks[0]["runs"]}
    for block in blocks:
        latencies = timed_latencies(block["schedules"])
        untuned = untuned_latencies(block["schedules"], [task["name"] for task in block["tasks"]])
        weights = [task["weight"] for task in block["tasks"]]
        for name, rounds in block["runs"].items():
            curves[name].append(curve(rounds, weights, latencies, untuned))
    return curves


def spread(values: Sequence[float]) -> str:
    """Write the median and the range of ratios, 0 being a loss.

    Examples
    --------
    >>> spread([1.5, 2.0, 0.0]), spread([0.0, 1.2]), spread([2.0])
    ('1.50 (never to 2.00)', 'never (never to 1.20)', '2.00')
    """
    middle = _shown(_typical(values))
    return middle if len(values) == 1 else f"{middle} ({_shown(min(values))} to {_shown(max(values))})"


def _typical(values: Sequence[float]) -> float:
    """Return the median; between a loss and something else a loss."""
    return median(values) if median_low(values) else 0.0


def _shown(value: float) -> str:
    return "never" if value == 0 else f"{value:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])


def ratios(curves: Curves, baseline: str, name: str, of: Callable[[Point], float]) -> list[list[float]]:
    """Return, per slack and seed, how many times less a contestant needed to come within the baseline's final latency."""
    return [
        [
            ratio(
                first_within(base, base[-1].latency * (1 + slack)),
                first_within(own, base[-1].latency * (1 + slack)),
                of,
            )
            for base, own in zip(curves[baseline], curves[name], strict=True)
        ]
        for slack in SLACKS
    ]


def ratio_table(curves: Curves, baseline: str, of: Callable[[Point], float]) -> str:
    """Return the ratios of all contestants."""
    rows = [[name, *map(spread, ratios(curves, baseline, name, of))] for name in curves]
    return table(["contestant", *_SLACK_NAMES], rows)


def mean_table(networks: Sequence[Curves], baseline: str, of: Callable[[Point], float]) -> str:
    """Return geometric means over networks of the medians over seeds; never, if that is so of any network."""
    rows = []
    for name in networks[0]:
        medians = [[_typical(values) for values in ratios(curves, baseline, name, of)] for curves in networks]
        rows.append(
            [
                name,
                *(_shown(0.0 if min(column) == 0 else geometric_mean(column)) for column in zip(*medians, strict=True)),
            ]
        )
    return table(["contestant", *_SLACK_NAMES], rows)


def equal(curves: Curves, baseline: str, name: str) -> tuple[list[float], list[float]]:
    """Return, per seed, the baseline's latency over a contestant's after as many trials, and when the baseline ends."""
    pairs = list(zip(curves[baseline], curves[name], strict=True))
    trials = [min(base[-1].trials, own[-1].trials) for base, own in pairs]
    return (
        [at_trials(base, count) / at_trials(own, count) for (base, own), count in zip(pairs, trials, strict=True)],
        [base[-1].latency / at_seconds(own, base[-1].seconds) for base, own in pairs],
    )


def mean_final_table(networks: Sequence[Curves], baseline: str) -> str:
    """Return geometric means over networks of the medians over seeds of `equal`, and the range of these medians."""
    rows = []
    for name in networks[0]:
        medians = [[median(values) for values in equal(curves, baseline, name)] for curves in networks]
        cells = [
            f"{geometric_mean(column):.2f} ({min(column):.2f} to {max(column):.2f})"
            for column in zip(*medians, strict=True)
        ]
        rows.append([name, *cells])
    return table(["contestant", "at equal trials", "at equal time"], rows)


def latency_table(curves: Curves, trials: int) -> str:
    """Return the latency of each seed, ms, after a quarter, half and all of `trials`."""
    marks = [trials // 4, trials // 2, trials]
    rows = [
        [name, *(", ".join(f"{1e3 * at_trials(points, mark):.2f}" for points in own) for mark in marks)]
        for name, own in curves.items()
    ]
    return table(["contestant", *(f"{mark} trials" for mark in marks)], rows)


def final_table(curves: Curves, baseline: str, blocks: Sequence[Mapping[str, Any]]) -> str:
    """Return final latencies, how they compare at equal trials and when the baseline ends, and where the time went.

    Shares of what families and training take are of the wall time of each seed, and medians of the seeds.
    """
    rows = []
    for name, own in curves.items():
        compared = map(spread, equal(curves, baseline, name))
        ends = [block["runs"][name][-1]["seconds"] for block in blocks]
        phases = [f"{median(end.get(phase, 0.0) for end in ends):.0f}" for phase in PHASES]
        shares = [_share(ends, phase) for phase in ("families", "train")]
        latency, seconds = median(p[-1].latency for p in own), median(p[-1].seconds for p in own)
        rows.append([name, f"{latency * 1e3:.3f}", *compared, f"{seconds:.0f}", *phases, *shares])
    header = ["contestant", "final ms", "at equal trials", "at equal time", "seconds"]
    return table([*header, *PHASES, "families, %", "train, %"], rows)


def _share(ends: Sequence[Mapping[str, float]], phase: str) -> str:
    """Write how much of the wall time a phase took, in percent: the median of the seeds."""
    return f"{median(100 * end.get(phase, 0.0) / fsum(end.values()) for end in ends):.1f}"


def draw(curves: Curves, title: str, paths: Sequence[Path]) -> None:
    """Draw the weighted latency over seconds and over trials; that of ablations dashed."""
    figure, panels = pyplot().subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for panel, of, label in zip(panels, (_seconds, _trials), ("seconds", "trials"), strict=True):
        for name, own in curves.items():
            start = max(_warm_up_end(points, of) for points in own)
            grid = np.linspace(start, max(of(points[-1]) for points in own), 300)
            values = np.array([[step(points, where, of) for where in grid] for points in own]) * 1e3
            dashes = "--" if ":" in name else "-"
            (line,) = panel.plot(grid, np.median(values, axis=0), dashes, label=name, linewidth=1.4)
            panel.fill_between(grid, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.12)
        panel.set_xlabel(label)
        panel.set_yscale("log")
        panel.grid(alpha=0.3, which="both")
    panels[0].set_ylabel("weighted latency, ms")
    panels[1].legend(fontsize=8)
    figure.suptitle(title)
    save_figure(figure, paths)


def _warm_up_end(points: Sequence[Point], of: Callable[[Point], float]) -> float:
    """Return where a curve has come within ten times its end: before, untuned tasks hide everything."""
    found = first_within(points, 10 * points[-1].latency)
    assert found is not None
    return of(found)


def provenance(document: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]]) -> str:
    """Return with which settings, when and where blocks were measured."""
    settings, machine = document["settings"], document["machine"]
    final = settings.get("final_timing")
    timing = (
        f"{final['passes']} passes of at least {final['pass_ms']} ms at {final['stack_places']} places of the stack"
        if final
        else "not recorded"
    )
    return (
        f"Target `{settings.get('target')}`, size {settings.get('size')}, rounds of {settings.get('per_round')}, candidates "
        f"timed for at least {settings.get('min_repeat_ms')} ms; final timing: {timing}. Measured {_dates(blocks)} on "
        f"{machine['cores']} cores (`{machine['cpu']}`)."
    )


def _dates(blocks: Sequence[Mapping[str, Any]]) -> str:
    made = [block.get(what) or {} for block in blocks for what in ("tuned", "timed")]
    if not all("date" in entry and "commit" in entry for entry in made):
        return "on a date that was not recorded"
    days, commits = sorted({entry["date"] for entry in made}), sorted({entry["commit"] for entry in made})
    return f"{' to '.join(dict.fromkeys([days[0], days[-1]]))} at {', '.join(commits)}"


def write_report(documents: Sequence[Mapping[str, Any]], folder: Path, against: Sequence[str] = (BASELINE,)) -> str:
    """Write the figures into `folder` and return the report."""
    machine = documents[0]["machine"]
    parts = [
        "# Search benchmark",
        f"{machine['cores']} cores (`{machine['cpu']}`), Python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        + ". Commits and commands: "
        + "; ".join(
            f"{', '.join(f'`{command}`' for command in d['commands'])} at {d['machine']['commit']}" for d in documents
        )
        + ".",
        "All figures but seconds come from timing all contestants' schedules together at the end. A ratio above 1 means: "
        "better than the baseline on the same seed; median of the seeds (least to most). *never*: not reached, a loss. "
        "*At equal time*: when the baseline ends; who has spent all trials before holds what it had.",
    ]
    groups = group_blocks(documents)
    networks = [curves_of(blocks) for blocks in groups.values()]
    if len(networks) > 1 and all(curves.keys() == networks[0].keys() for curves in networks):
        parts.append("## All networks")
        for baseline in against:
            parts += [
                f"Time ratio to the final latency of `{baseline}` plus …, geometric mean of the networks' medians\n\n"
                f"{mean_table(networks, baseline, _seconds)}",
                f"Trial ratio to the same\n\n{mean_table(networks, baseline, _trials)}",
                f"Final latency of `{baseline}` over that of the contestant, geometric mean of the networks' medians (least to "
                f"most of the networks)\n\n{mean_final_table(networks, baseline)}",
            ]
    for ((network, batch), blocks), curves in zip(groups.items(), networks, strict=True):
        name = f"search-{network}-b{batch}"
        title = f"{network}, batch {batch}, {len(blocks[0]['tasks'])} tasks, {blocks[0]['trials']} trials"
        draw(
            curves,
            f"{title}, {len(blocks)} seed{'s' * (len(blocks) > 1)}",
            [folder / f"{name}.svg", folder / f"{name}.png"],
        )
        parts += [
            f"## {title}, seeds {', '.join(str(block['seed']) for block in blocks)}",
            provenance(documents[0], blocks),
            f"![weighted latency over seconds and trials]({name}.svg)",
            f"Latency by seed, ms\n\n{latency_table(curves, blocks[0]['trials'])}",
        ]
        for baseline in against:
            parts += [
                f"Time ratio to the final latency of `{baseline}` plus …\n\n{ratio_table(curves, baseline, _seconds)}",
                f"Trial ratio to the same\n\n{ratio_table(curves, baseline, _trials)}",
                f"Final latency, that of `{baseline}` over it, and seconds by phase\n\n"
                f"{final_table(curves, baseline, blocks)}",
            ]
    return "\n\n".join(parts) + "\n"


def _finished(document: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, "blocks": [block for block in document["blocks"] if is_timed(block)]}


def run(options: argparse.Namespace) -> None:
    """Read, check, write and show."""
    require_folder("--out", options.out)
    documents = [_finished(load(path)) for path in options.results]
    check(documents, options.results, options.against)
    report = write_report(documents, options.out, options.against)
    (options.out / "search.md").write_text(report)
    print(report)


def main() -> int:
    """Run the command line; 2 when results were refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", type=Path, help="raw results of python -m benchmarks.search")
    parser.add_argument(
        "--against", nargs="+", default=[BASELINE], metavar="NAME", help=f"baselines (default {BASELINE})"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder (default %(default)s)")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
