# SPDX-License-Identifier: Apache-2.0
"""A user's tuning script, as it runs on TVM 0.16 and on TVM 0.27; the tests of both engines run this one file.

python tests/example.py llvm tuning.json 64
"""

import sys

from tvm import te

from familyseer import auto_scheduler


@auto_scheduler.register_workload
def matmul_relu(n, m, k):
    """Return the tensors of a matrix product with relu."""
    a = te.placeholder((n, k), name="A")
    b = te.placeholder((k, m), name="B")
    r = te.reduce_axis((0, k), name="r")
    c = te.compute((n, m), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="C")
    d = te.compute((n, m), lambda i, j: te.max(c[i, j], te.const(0, "float32")), name="D")
    return [a, b, d]


def main(target, log_file, num_measure_trials):
    """Tune three matrix products and print their best latencies."""
    shapes = [(64, 64, 32), (64, 128, 32), (128, 64, 32)]
    tasks = [auto_scheduler.SearchTask(func=matmul_relu, args=shape, target=target) for shape in shapes]

    tuner = auto_scheduler.TaskScheduler(tasks, [1, 2, 1], load_log_file=log_file)
    tune_option = auto_scheduler.TuningOptions(
        num_measure_trials=num_measure_trials,
        num_measures_per_round=8,
        runner=auto_scheduler.LocalRunner(number=1, repeat=1, min_repeat_ms=10),
        measure_callbacks=[auto_scheduler.RecordToFile(log_file)],
    )
    params = {"evolutionary_search_population": 128}
    tuner.tune(tune_option, search_policy="sketch.xgb.family_op", search_policy_params=params)

    for task, latency in zip(tasks, tuner.best_costs, strict=True):
        _, best_result = auto_scheduler.load_best_record(log_file, task.workload_key)
        assert best_result.error_no == 0
        print(f"{task.workload_key}: {latency * 1e6:.1f} us")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
