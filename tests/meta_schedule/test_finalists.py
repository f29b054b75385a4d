# SPDX-License-Identifier: Apache-2.0
"""Finalists: rivals for the best record are timed again, together, on the real device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from familyseer import auto_scheduler
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.finalists import finalists_of
from familyseer.meta_schedule.measure_record import MeasureInput, RecordToFile, State, load_best_record
from familyseer.records import FINALIST, UNTUNED, MeasureRecord, Ranking, RecordLog

from .test_search_policy import QUICK
from .test_task_scheduler import options, tasks

CLOSE = (1.00e-9, 1.04e-9, 1.02e-9, 1.50e-9)
"""Latencies that no program has: what is timed again is told apart from it."""


class _Policy:
    name, seed, round = "sketch.xgb", 0, 0


def traces(task, count: int) -> list[str]:
    """Return different schedules of a task."""
    policy = auto_scheduler.SketchPolicy(task, seed=1)
    return [State.of(task, schedule).trace for schedule in policy.propose(count)]


def written(log: Path, costs=CLOSE, which=(0,)) -> list:
    """Write a log in which some tasks have one round of these latencies."""
    chosen = [tasks()[i] for i in which]
    record = RecordToFile(log)
    for task in chosen:
        for trace, cost in zip(traces(task, len(costs)), costs, strict=True):
            record(_Policy, [MeasureInput(task, State(task, trace))], [MeasureResult(costs=(cost,))])
    record.finish()
    return chosen


def finish(log: Path, chosen, trials: int, **changes):
    """Resume a run whose budget may be spent, and return how it ended and what the log has of finalists."""
    scheduler = auto_scheduler.TaskScheduler(chosen, load_log_file=log, callbacks=[])
    summary = scheduler.tune(options(trials, log, finalists=3, **changes), "sketch.xgb", QUICK)
    records = RecordLog(log).read().records
    return scheduler, summary, [record for record in records if record.policy == FINALIST]


def test_rivals_are_timed_again_and_these_timings_decide(tmp_path):
    """Three of four were within 5 %: they are timed in three passes, count as no trials, and the log's best is one of them."""
    log = tmp_path / "log.json"
    [task] = written(log)
    old = RecordLog(log).read().records

    scheduler, summary, finals = finish(log, [task], len(CLOSE))

    assert (summary.trials, scheduler.ct) == (4, 4)
    assert {record.trace for record in finals} == {record.trace for record in old[:3]}
    assert [len(record.result.costs) for record in finals] == [3, 3, 3]
    assert finals == sorted(finals, key=lambda record: record.cost), "a log that ends here has the best"
    assert summary.score == finals[0].cost > 1e-7
    found, result = load_best_record(log, task.workload_key, task.target)
    assert (found.state.trace, result.costs) == (finals[0].trace, finals[0].result.costs)


def test_nothing_is_timed_twice(tmp_path):
    """The same command again finds the dispute settled, and a new trial that is slower opens none."""
    log = tmp_path / "log.json"
    [task] = written(log)
    _, first, finals = finish(log, [task], len(CLOSE))

    _, again, finals_again = finish(log, [task], len(CLOSE))
    assert finals_again == finals
    assert again.trials == first.trials

    slow = replace(finals[0], policy="sketch.xgb", round=1, result=MeasureResult(costs=(1.0,)))
    with RecordLog(log) as appended:
        appended.append(replace(slow, trace=RecordLog(log).read().records[3].trace))
    assert finish(log, [task], len(CLOSE) + 1)[2] == finals


def test_each_task_has_its_own(tmp_path):
    """Rivals of two tasks are timed in one go; a task with one clear best is left as it is."""
    log = tmp_path / "log.json"
    chosen = written(log, which=(0, 1))
    _, _, finals = finish(log, chosen, 2 * len(CLOSE))
    assert [record.task for record in finals] == [chosen[0].workload_key] * 3 + [chosen[1].workload_key] * 3

    clear = tmp_path / "clear.json"
    [task] = written(clear, costs=(1e-9, 1.2e-9))
    assert finish(clear, [task], 2)[2] == []


def test_it_can_be_switched_off(tmp_path):
    """`finalists=0` measures nothing that is no trial."""
    log = tmp_path / "log.json"
    [task] = written(log)
    scheduler = auto_scheduler.TaskScheduler([task], load_log_file=log, callbacks=[])
    scheduler.tune(options(len(CLOSE), log, finalists=0), "sketch.xgb", QUICK)
    assert len(RecordLog(log).read().records) == len(CLOSE)


class _Flaky(auto_scheduler.ProgramMeasurer):
    """The real measurer, in whose hands some traces fail."""

    bad: frozenset[int] = frozenset()

    def measure(self, requests, on_result=None):
        failed = MeasureResult(error_no=MeasureErrorNo.RUNTIME_DEVICE, error_msg="the kernel raised")
        return [
            failed if hash(str(request.mod)) in self.bad else result
            for request, result in zip(requests, super().measure(requests, on_result), strict=True)
        ]


@pytest.mark.parametrize("failing", [1, 3])
def test_finalists_that_fail(tmp_path, monkeypatch, caplog, failing):
    """One that fails now cannot be the best any more; where all do, the first timings stand."""
    log = tmp_path / "log.json"
    [task] = written(log)
    records = RecordLog(log).read().records
    bad = {hash(str(State(task, record.trace).schedule.mod)) for record in records[:failing]}
    monkeypatch.setattr(_Flaky, "bad", frozenset(bad))
    monkeypatch.setattr("familyseer.meta_schedule.task_scheduler.ProgramMeasurer", _Flaky)

    finals = finish(log, [task], len(CLOSE))[2]

    best = load_best_record(log, task.workload_key, task.target)[0].state.trace
    if failing == 1:
        assert [record.valid for record in finals] == [True, True, False]
        assert best == finals[0].trace != records[0].trace
    else:
        assert finals == []
        assert best == records[0].trace
        assert "All finalists of" in caplog.text


def record(cost: float, policy: str = "sketch.xgb", number: int = 0, task: str = "t") -> MeasureRecord:
    """Return a record whose trace names its cost."""
    return MeasureRecord(
        task=task, target='{"kind":"llvm"}', trace=f"[[],[{cost}]]", policy=policy, round=number,
        result=MeasureResult(costs=(cost,)),
    )  # fmt: skip


def latencies(ranking: Ranking) -> list[float]:
    """Return the ranked latencies of task t."""
    return [found.cost for found in ranking.ranked("t")]


def test_what_a_ranking_makes_of_finalists():
    """They push out trials before them and each other's older timings, not the untuned program; later trials compete."""
    ranking = Ranking(4).extend([record(5.0, UNTUNED), record(1.0), record(2.0)])
    assert latencies(ranking) == [1.0, 2.0, 5.0]
    ranking.extend([record(3.0, FINALIST, 1), record(4.0, FINALIST, 1)])
    assert latencies(ranking) == [3.0, 4.0, 5.0]
    ranking.add(record(3.5, number=2))
    assert latencies(ranking) == [3.0, 3.5, 4.0, 5.0]
    ranking.add(record(3.75, FINALIST, 2))
    assert latencies(ranking) == [3.75, 5.0]


def test_a_ranking_keeps_the_first_of_equals_and_no_more_than_asked_for():
    """Of a hundred records the three fastest remain, in order of their latency."""
    ranking = Ranking(3).extend(record(float(cost)) for cost in range(100, 0, -1))
    assert latencies(ranking) == [1.0, 2.0, 3.0]
    twins = Ranking().extend([record(1.0), replace(record(1.0), trace="[]")])
    assert twins.best()["t"].trace == "[[],[1.0]]"


@pytest.mark.parametrize(
    ("costs", "finalists"),
    [((1.0,), []), ((1.0, 1.06), []), ((1.0, 1.05), [1.0, 1.05]), ((1.0, 1.01, 1.02, 1.03), [1.0, 1.01, 1.02])],
)
def test_who_is_a_finalist(costs, finalists):
    """Up to three within 5 % of the best, if there are two."""
    task = tasks()[0].task
    ranking = Ranking(3).extend(record(cost, task=task.key) for cost in costs)
    assert [found.cost for found in finalists_of(ranking, [task], 3).get(task.key, [])] == finalists


def test_rivals_can_be_further_apart():
    """Where timings differ by much."""
    task = tasks()[0].task
    ranking = Ranking(3).extend(record(cost, task=task.key) for cost in (1.0, 1.5, 1.6))
    assert [found.cost for found in finalists_of(ranking, [task], 3, 1.5)[task.key]] == [1.0, 1.5]
