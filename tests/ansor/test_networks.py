# SPDX-License-Identifier: Apache-2.0
"""A relay network from end to end, and measuring over RPC."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import tvm
from tvm import relay
from tvm.contrib import graph_executor
from tvm.rpc.server import Server
from tvm.rpc.tracker import Tracker

from familyseer import auto_scheduler
from tests.ansor.workloads import QUICK, options, products

SHAPE = (1, 3, 16, 16)


def network() -> tuple[tvm.IRModule, dict[str, np.ndarray]]:
    """Return a small convolutional classifier and its weights."""
    x, w, b = relay.var("x", shape=SHAPE), relay.var("w", shape=(8, 3, 3, 3)), relay.var("b", shape=(10, 8))
    y = relay.nn.relu(relay.nn.conv2d(x, w, padding=(1, 1), channels=8, kernel_size=(3, 3)))
    y = relay.nn.softmax(relay.nn.dense(relay.nn.batch_flatten(relay.nn.global_avg_pool2d(y)), b))
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype("float32") for name, shape in [("w", (8, 3, 3, 3)), ("b", (10, 8))]}
    return tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(y), y)), weights


def output_of(folder: Path, log: Path | None = None) -> np.ndarray:
    """Compile the network, with the best schedules of a log where one is given, and run it."""
    mod, params = network()
    config = {"tir.disable_vectorize": True, "relay.backend.use_auto_scheduler": log is not None}
    best = auto_scheduler.ApplyHistoryBest(str(log)) if log else nullcontext()
    with best, tvm.transform.PassContext(opt_level=3, config=config):
        library = relay.build(mod, target="c", params=params)
    file = folder / f"{'tuned' if log else 'untuned'}.so"
    includes = [f"-I{path}" for path in tvm._ffi.libinfo.find_include_path()]
    library.export_library(str(file), cc="gcc", options=["-O2", "-w", "-std=gnu11", *includes])
    machine = graph_executor.GraphModule(tvm.runtime.load_module(str(file))["default"](tvm.cpu()))
    machine.set_input("x", np.random.default_rng(1).normal(size=SHAPE).astype("float32"))
    machine.run()
    return machine.get_output(0).numpy()


def test_a_tuned_network_computes_what_the_untuned_one_does(host, tmp_path):
    """Tasks from relay, a family policy, the best of its log applied."""
    log = tmp_path / "log.json"
    mod, params = network()
    tasks, weights = auto_scheduler.extract_tasks(mod["main"], params, "c", hardware_params=host.hardware())
    scheduler = auto_scheduler.TaskScheduler(tasks, weights, callbacks=[], load_log_file=str(log))
    summary = scheduler.tune(options(16, log), "sketch.xgb.family_op", dict(QUICK))

    assert summary.trials == 16
    assert sorted(task.operator for task in scheduler.described) == ["conv2d", "dense", "pool", "softmax"]
    assert all(cost < 1 for cost in scheduler.best_costs)
    np.testing.assert_allclose(output_of(tmp_path, log), output_of(tmp_path), rtol=1e-4, atol=1e-6)


def test_measuring_over_rpc(host, tmp_path):
    """A tracker and a server of TVM's own, on loopback."""
    log = tmp_path / "log.json"
    tracker = Tracker(host="127.0.0.1", port=9190, port_end=9290, silent=True)
    address = ("127.0.0.1", tracker.port)
    server = Server(
        host="127.0.0.1",
        port=9291,
        port_end=9390,
        key="here",
        tracker_addr=address,
        silent=True,
        server_init_callback=host.mend_rpc_server,
    )
    try:
        runner = auto_scheduler.RPCRunner("here", *address, number=1, repeat=1, min_repeat_ms=0, timeout=60)
        scheduler = auto_scheduler.TaskScheduler(products(), callbacks=[])
        summary = scheduler.tune(options(6, log, runner=runner), "sketch.xgb.family_op", dict(QUICK))
    finally:
        server.terminate()
        tracker.terminate()
    assert summary.trials == 6
    assert all(cost < 1 for cost in scheduler.best_costs)
