# SPDX-License-Identifier: Apache-2.0
"""The command line as a person meets it: exit codes, messages, interrupts, and a tiny network from end to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from familyseer import networks
from familyseer.cli import main
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.records import (
    UNTUNED,
    MeasureRecord,
    NetworkRecord,
    RecordLog,
    WorkloadRecord,
    trace_digest,
)
from familyseer.task import Task

TINY = ["bert_base", "--size", "tiny", "--option", "depth=1", "--option", "seq_len=4"]
QUICK = ["--per-round", "2", "--min-repeat-ms", "1", "--threads", "1", "--policy", "sketch.random"]
CPU = '{"kind":"llvm","num-cores":4}'
CONV = Task(key="c0ffee", name="conv", weight=2.0, flops=1e6, target=CPU)
POOL = Task(key="900", name="pool", target=CPU)


def failed(capsys, *arguments):
    """Return exit code and message of a command that ends badly, after checking that the message is one line."""
    try:
        code = main(list(map(str, arguments)))
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("familyseer")
    return code, captured.err


def trials_of(path):
    """Return the measured candidates of a log."""
    return [record for record in RecordLog(path).read().records if record.is_trial]


def write_log(path, *, target=CPU):
    """Write a log with a measured task, one that failed, a bad line and a torn end."""
    tasks = [Task(key=t.key, name=t.name, weight=t.weight, flops=t.flops, target=target) for t in (CONV, POOL)]
    crash = MeasureResult(error_no=MeasureErrorNo.RUNTIME_DEVICE, error_msg="worker process was killed by SIGILL")
    with RecordLog(path) as log:
        log.add_network(NetworkRecord(network="resnet18", size="tiny", target=target, options='{"depth":1}'))
        for task in tasks:
            log.add_workload(WorkloadRecord(task=task, workload="{}"))
        for task, result in ((tasks[0], MeasureResult(costs=(0.002,))), (tasks[1], crash)):
            log.append(
                MeasureRecord(
                    task=task.key, target=target, trace="[]", result=result, policy="sketch.xgb", tvm_version="0.27.0"
                )
            )
    with path.open("ab") as file:
        file.write(b'{"v":1,"kind":"surprise"}\n{"v":1,"kind":"mea')
    return path


# ---- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["tune"], "required: NETWORK"),
        (["tune", "resnet9"], "`NETWORK` must be resnet18, .*; got 'resnet9'"),
        (["tune", "model.pb"], "or a file model.onnx or model.pt2; got 'model.pb'"),
        (["tune", "resnet18", "--policy", "xgb"], "must be one of sketch.random, .*; got 'xgb'"),
        (["tune", "resnet18", "--trials", "0"], "--trials: must be an integer ≥ 1; got '0'"),
        (["tune", "resnet18", "--trials", "ten"], "--trials: must be an integer ≥ 1; got 'ten'"),
        (["tune", "resnet18", "--timeout", "nan"], "--timeout: must be a number of seconds > 0; got 'nan'"),
        (["tune", "resnet18", "--size", "huge"], "--size: invalid choice: 'huge'"),
        (["tune", "resnet18", "--tri", "5"], "unrecognized arguments: --tri 5"),
        (["tune", "resnet18", "--option", "depth"], "`--option` must be KEY=VALUE; got 'depth'"),
        (["tune", "resnet18", "--option", "seq_len=3"], "`seq_len` is not an option of network 'resnet18'"),
        (["tune", "resnet18", "--option", "depth=deep"], "`depth` must be an integer ≥ 1; got 'deep'"),
        (["tune", "missing.onnx", "--size", "tiny"], "`--size` and `--batch` are for built-in networks"),
        (["tune", "resnet18", "--log", "."], "must be a file; it is a folder"),
        (["tune", "resnet18", "--policy", "sketch.xgb", "--store", "s"], "`--store` serves family policies such as .*"),
        (["show", "missing.json"], "`LOG` must be an existing file; got 'missing.json'"),
        (["show", "."], "must be a file; it is a folder"),
        (["apply", "missing.json"], "`LOG` must be an existing file; got 'missing.json'"),
        (["families", "missing.json"], "`LOG` must be an existing file; got 'missing.json'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments, message, capsys, monkeypatch, tmp_path):
    """Exit code 2, one line on standard error that says what was expected, and no file left behind."""
    monkeypatch.chdir(tmp_path)

    code, text = failed(capsys, *arguments)

    assert code == 2
    assert re.search(message, text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["show", "apply", "families"])
def test_what_is_no_log_is_refused(command, capsys, tmp_path):
    """A binary file, and one of text that is not ours."""
    for content in (bytes(range(256)) * 40, b"a model\n"):
        (tmp_path / "log.json").write_bytes(content)
        code, text = failed(capsys, command, tmp_path / "log.json")
        assert code == 2
        assert "is not a familyseer log" in text


def test_a_place_that_cannot_be_written(capsys, tmp_path):
    """It is found before anything is built."""
    (tmp_path / "file").touch()

    code, text = failed(capsys, "tune", *TINY, "--log", tmp_path / "file" / "log.json")

    assert code == 2
    assert "cannot be written: " in text


def test_a_log_that_another_run_writes(capsys, tmp_path):
    """Two runs never share a log."""
    with RecordLog(tmp_path / "log.json"):
        code, text = failed(capsys, "tune", *TINY, "--log", tmp_path / "log.json")

    assert code == 2
    assert "another run is writing the log" in text


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{not json", "not JSON"),
        ("no-such-target", "`target` must be one that TVM can parse; got 'no-such-target'"),
        ('{"kind": "llvm"}', "`target` must say how many cores it has"),
    ],
)
def test_a_target_that_cannot_be_used(target, message, capsys, tmp_path):
    """The message is TVM's first line or ours, not a traceback."""
    code, text = failed(capsys, "tune", *TINY, "--log", tmp_path / "log.json", "--target", target)

    assert code == 2
    assert message in text


def test_a_log_of_another_target_is_left_as_it_is(capsys, tmp_path):
    """It is refused before the first measurement, and not a byte is written to it."""
    path = tmp_path / "log.json"
    with RecordLog(path) as log:
        log.add_workload(WorkloadRecord(task=CONV, workload="{}"))
        log.append(MeasureRecord(task=CONV.key, target=CPU, trace="[]", result=MeasureResult(costs=(1.0,))))
    before = path.read_bytes()

    code, text = failed(capsys, "tune", *TINY, "--log", path, "--target", '{"kind": "llvm", "num-cores": 2}')

    assert code == 2
    assert "its 1 records are for" in text
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_files_that_are_no_models(name, capsys, tmp_path):
    """A missing file and one of noise."""
    pytest.importorskip({"model.onnx": "onnx", "model.pt2": "torch"}[name])
    log = tmp_path / "log.json"
    assert failed(capsys, "tune", tmp_path / name, "--log", log)[0] == 2
    (tmp_path / name).write_bytes(bytes(range(256)))

    code, text = failed(capsys, "tune", tmp_path / name, "--log", log)

    assert code == 2
    assert name in text
    assert not log.exists()


@pytest.mark.parametrize("output", ["tuned.txt", "no/such/folder/tuned.so"])
def test_an_output_that_cannot_be_written(output, capsys, tmp_path):
    """It is found before anything is compiled."""
    code, text = failed(capsys, "apply", write_log(tmp_path / "log.json"), "--output", tmp_path / output)

    assert code == 2
    assert "`--output` must be" in text


@pytest.mark.parametrize("command", [[], ["tune"], ["show"], ["apply"]])
def test_help_is_complete(command, capsys):
    """Every option is explained, and so are the exit codes."""
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])

    text = capsys.readouterr().out
    assert end.value.code == 0
    assert "130 interrupted" in text
    blocks = re.split(r"\n  (?=[-{])", text.split("options:")[1].split("\n\n")[0])[1:]
    assert blocks
    assert [block for block in blocks if not re.search(r"( {2,}|\n +)\S.*", block)] == []


# ---- show


def test_show(capsys, tmp_path):
    """Network, policies, the table, the diagnosis of what failed, and the lines left out; whole lines, on a pipe too."""
    assert main(["show", str(write_log(tmp_path / "log.json"))]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines() == [
        "",
        f"target {CPU}",
        'network resnet18, tiny, {"depth":1}',
        "2 trials by sketch.xgb, seed 0, TVM 0.27.0",
        "",
        "task   weight  trials  valid  best ms   share  GFLOP/s  failures",
        "----------------------------------------------------------------",
        "conv        2       1      1   2.0000  100.0%      0.5  -",
        "pool        1       1      0        -       -        -  1 crash",
        "----------------------------------------------------------------",
        "total               2      1   4.0000                   1 crash",
        "1 of 2 tasks without a valid record, left out of the total: pool",
        "",
        "Task 'pool': every candidate of 1 failed.",
        "",
        "     1  crash (RUNTIME_DEVICE)",
        "",
        "First messages:",
        "  RUNTIME_DEVICE: worker process was killed by SIGILL",
        "",
        "What to try:",
        "- The target's `mcpu` has instructions that this CPU lacks; set it to this CPU's.",
        "line 6 is left out: unknown line: v=1, kind='surprise'",
        "the last line was cut off in writing and is left out; the next run repairs it",
    ]


def test_show_of_an_empty_log(capsys, tmp_path):
    """An empty log is a log."""
    (tmp_path / "log.json").touch()

    assert main(["show", str(tmp_path / "log.json")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'log.json'}: no records\n"


def test_show_stops_quietly_when_nobody_reads_on(tmp_path):
    """A reader such as `head` may leave early."""
    log = write_log(tmp_path / "log.json")
    with log.open("ab") as file:
        file.write(b"\n" + b'{"v":1,"kind":"surprise"}\n' * 5000)
    shell = f"{sys.executable} -m familyseer show {log} | head -n 1"

    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout, done.stderr) == ("\n", "")


# ---- from end to end


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Tune a tiny network once for several tests, with a store beside its log; return the log."""
    log = tmp_path_factory.mktemp("tuned") / "bert.json"
    families = ["--policy", "sketch.xgb.family_op", "--store", str(log.parent / "store")]
    assert main(["tune", *TINY, *QUICK, *families, "--trials", "9", "--log", str(log), "--no-check"]) == 0
    return log


def test_tune_spends_its_budget_and_remembers_the_network(tuned):
    """One trial of each task, one measurement of each untuned program, and one line that tells what was tuned."""
    contents = RecordLog(tuned).read()

    assert len(trials_of(tuned)) == len(list((tuned.parent / "store").glob("*.task.npz"))) == 9
    assert Counter(r.policy for r in contents.records)[UNTUNED] == len(contents.workloads)
    [network] = contents.networks
    assert (network.network, network.size, network.batch, network.options) == (
        "bert_base",
        "tiny",
        1,
        '{"depth":1,"seq_len":4}',
    )


def test_fewer_trials_than_tasks_are_refused(tuned, capsys):
    """The message says how many there are."""
    assert main(["tune", *TINY, "--trials", "2", "--log", str(tuned)]) == 2
    assert re.search(r"`--trials` must be at least \d+, one for each task; got 2", capsys.readouterr().err)


def test_tuning_again_measures_nothing(tuned, capsys):
    """The budget counts what the log has; the tuned network is checked and computes the same."""
    before = tuned.read_bytes()

    assert main(["tune", *TINY, *QUICK, "--trials", "9", "--log", str(tuned)]) == 0

    out = capsys.readouterr().out
    assert "all 9 trials are spent (9 of them before)" in out
    assert "the tuned network computes the same as the untuned one" in out
    assert tuned.read_bytes() == before


def test_families_are_shown_where_little_is_measured(tuned, capsys, tmp_path):
    """Of a log of few trials by another policy: families by operator, no figure."""
    assert main(["families", str(tuned)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^dense +\w+ +1 +- +- +- +shared +- +-$", out, re.MULTILINE)
    assert re.search(r"^\d tasks in \d families; 0 tasks have enough measurements$", out, re.MULTILINE)

    code, text = failed_after_output(capsys, "families", tuned, "--figure", tmp_path / "map.svg")
    assert (code, "a figure needs at least 2 tasks with enough measurements; got 0. Tune for longer" in text) == (
        2,
        True,
    )


def test_apply_knows_the_network_and_writes_a_library(tuned, capsys, tmp_path):
    """The library, loaded back, computes what the untuned network does."""
    import tvm

    from familyseer.meta_schedule.relax import compile_network
    from familyseer.meta_schedule.session import compare_outputs, run_network
    from familyseer.meta_schedule.target import resolve_target

    library = tmp_path / "tuned.so"

    assert main(["apply", str(tuned), "--no-check", "--output", str(library)]) == 0

    assert f"wrote {library}" in capsys.readouterr().out
    network = networks.build("bert_base", size="tiny", depth=1, seq_len=4)
    target, arguments = resolve_target("llvm"), network.example_inputs()
    untuned = run_network(compile_network(network.mod, network.params, target), arguments, target)
    loaded = run_network(tvm.runtime.load_module(str(library)), arguments, target)
    assert compare_outputs(untuned, loaded).equal
    assert not np.array_equal(untuned[0], np.zeros_like(untuned[0]))


def test_an_onnx_file_is_tuned_and_remembered(capsys, tmp_path, monkeypatch):
    """Its dynamic input gets a shape by option; `apply` finds file and shape in the log, from any folder."""
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(np.ones((8, 4), "float32"), "weight")
    image, result = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])
        for name, size in (("image", 8), ("result", 4))
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["image", "weight"], ["result"])], "g", [image], [result], [weight]
    )
    monkeypatch.chdir(tmp_path)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), "dense.onnx")
    assert failed(capsys, "tune", "dense.onnx")[0] == 2

    assert main(["tune", "dense.onnx", "--option", "image=[16,8]", *QUICK, "--trials", "2"]) == 0
    monkeypatch.chdir("/")
    assert main(["apply", str(tmp_path / "dense.json")]) == 0

    assert len(trials_of(tmp_path / "dense.json")) == 2
    assert capsys.readouterr().out.count("computes the same as the untuned one") == 2


def test_apply_refuses_what_the_log_cannot_serve(tuned, capsys, tmp_path):
    """Another network, another target, an option without a network, and a log that tells of no network."""
    code, text = failed_after_output(capsys, "apply", tuned, "resnet18", "--size", "tiny", "--option", "depth=1")
    assert (code, "has no record for any kernel of" in text) == (2, True)
    code, text = failed(capsys, "apply", tuned, *TINY, "--target", '{"kind": "llvm", "num-cores": 77}')
    assert (code, "must hold a valid record for target" in text) == (2, True)
    code, text = failed(capsys, "apply", tuned, "--size", "tiny")
    assert (code, "must come with a `NETWORK`" in text) == (2, True)
    (tmp_path / "log.json").touch()
    code, text = failed(capsys, "apply", tmp_path / "log.json")
    assert (code, "tells of no network" in text) == (2, True)


def failed_after_output(capsys, *arguments):
    """Return exit code and last message of a command that ends badly after it wrote something."""
    code = main(list(map(str, arguments)))
    return code, capsys.readouterr().err.splitlines()[-1]


def test_a_wrong_tuned_network_is_a_failure(tuned, capsys, monkeypatch):
    """Exit code 1 and a plain word, when the outputs differ."""
    from familyseer.meta_schedule import session

    run = session.run_network
    calls = iter([1.0, 1.01])
    monkeypatch.setattr(session, "run_network", lambda *a: [out * next(calls) for out in run(*a)[:1]])

    assert main(["apply", str(tuned)]) == 1
    assert "computes NOT the same as the untuned one: largest relative difference 1.0e-02" in capsys.readouterr().out


def test_tuning_for_a_gpu_without_one(capsys, tmp_path):
    """One sentence says that no device is visible; exit code 1."""
    import tvm

    if tvm.runtime.device("cuda").exist:
        pytest.skip("a CUDA device is visible")
    target = '{"kind": "cuda", "arch": "sm_80", "max_threads_per_block": 1024, "max_shared_memory_per_block": 49152}'

    code, text = failed_after_output(
        capsys, "tune", *TINY, *QUICK, "--log", tmp_path / "log.json", "--target", target, "--trials", "20"
    )

    assert code == 1
    assert text.startswith("familyseer: no CUDA device 0 is visible")


@pytest.mark.gpu
def test_a_gpu_tunes_and_computes_the_same(capsys, tmp_path):
    """All candidates but a few run there, what they gave serves the network, and that computes what it did untuned."""
    import tvm

    if not tvm.runtime.device("cuda").exist:
        pytest.skip("needs a CUDA device")
    log = str(tmp_path / "log.json")
    families = ["--policy", "sketch.xgb.family_op", "--target", "cuda"]
    assert main(["tune", *TINY, *QUICK, *families, "--trials", "36", "--log", log]) == 0

    assert "computes the same as the untuned one" in capsys.readouterr().out
    records = [record for record in RecordLog(log).read().records if record.is_trial]
    assert len(records) == 36
    assert sum(record.valid for record in records) >= 30


# ---- interrupts


def wait_for_trials(log: Path, count: int, alive) -> bool:
    """Wait until a log holds some trials; whether it came to that."""
    for _ in range(3000):
        if log.exists() and log.read_bytes().count(b'"policy":"sketch.random"') >= count:
            return True
        if not alive():
            return False
        time.sleep(0.1)
    return False


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path, capsys):
    """Exit code 130, no process left, a word on how to go on; then the rest of the budget and no candidate twice."""
    log = tmp_path / "bert.json"
    command = ["tune", *TINY, *QUICK, "--trials", "18", "--log", str(log), "--no-check"]
    process = subprocess.Popen(
        [sys.executable, "-m", "familyseer", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert wait_for_trials(log, 3, lambda: process.poll() is None), process.communicate()
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "Traceback" not in message
    assert message.rstrip().endswith(
        f"All that was measured is in {log}; run the same command again to go on from there."
    )
    assert family
    assert psutil.wait_procs(family, timeout=20)[1] == []
    first = len(trials_of(log))
    assert 3 <= first < 18

    assert main(command) == 0

    trials = trials_of(log)
    assert len(trials) == 18
    assert f"({first} of them before)" in capsys.readouterr().out
    assert Counter((r.task, trace_digest(r.trace)) for r in trials).most_common(1)[0][1] == 1


def test_sigterm_stops_like_ctrl_c(tmp_path, capsys):
    """A scheduler's polite signal ends a run in the same way, and the handlers are as before."""
    log = tmp_path / "bert.json"
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    done = threading.Event()

    def send():
        if wait_for_trials(log, 1, lambda: not done.is_set()):
            os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        code = main(["tune", *TINY, *QUICK, "--trials", "200", "--log", str(log), "--no-check"])
    finally:
        done.set()
        sender.join()

    assert code == 130
    assert "run the same command again" in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert trials_of(log)
