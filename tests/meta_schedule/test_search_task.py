# SPDX-License-Identifier: Apache-2.0
"""Tasks are made as with ``tvm.auto_scheduler``; what cannot be honoured is refused by name."""

from __future__ import annotations

import json

import pytest
from tvm import IRModule, te, topi
from tvm.target import Target

from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.meta_schedule.search_task import (
    _REGISTRY,
    HardwareParams,
    SearchTask,
    create_task,
    make_workload_key,
    register_workload,
)
from familyseer.meta_schedule.target import host_target

CPU = {"kind": "llvm", "mcpu": "znver4", "num-cores": 2}


def matmul(n, m, k):
    """Return A, B and their product."""
    a, b = te.placeholder((n, k), name="A"), te.placeholder((k, m), name="B")
    return [a, b, topi.matmul(a, b)]


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Give each test a registry that holds `matmul` alone."""
    for name in list(_REGISTRY):
        monkeypatch.delitem(_REGISTRY, name)
    monkeypatch.setitem(_REGISTRY, "matmul", matmul)
    return _REGISTRY


def test_register_as_decorator(registry):
    """The decorator returns the function and knows it by its name."""

    @register_workload
    def relu(n):
        data = te.placeholder((n,), name="data")
        return [data, topi.nn.relu(data)]

    assert registry["relu"] is relu
    assert SearchTask("relu", (8,), target=CPU).task.operator == "elementwise"


def test_register_under_another_name(registry):
    """The decorator takes a name."""

    @register_workload("product")
    def function(n, m, k):
        return matmul(n, m, k)

    assert registry["product"] is function
    assert "function" not in registry


def test_register_by_call(registry):
    """Name and function may be given at once."""
    assert register_workload("product", matmul) is matmul
    assert registry["product"] is matmul


def test_refuses_to_register_a_name_twice():
    """A second function of the same name would change what logs mean."""
    with pytest.raises(InvalidInputError, match=r"must be new; got 'matmul', which is registered. Pass override=True"):
        register_workload("matmul", lambda n: [])


def test_register_with_override(registry):
    """One may replace a function on purpose."""
    other = register_workload("matmul", lambda n, m, k: matmul(n, m, k), override=True)

    assert registry["matmul"] is other


@pytest.mark.parametrize("name", [5, None])
def test_refuses_to_register_under_no_name(name):
    """A name is a string."""
    with pytest.raises(InvalidInputError, match="`func_name` must be a function or its name; got "):
        register_workload(name, matmul)


@pytest.mark.parametrize("func", ["matmul", matmul])
def test_workload_key_is_literal(func):
    """A key is the JSON list of the name and the arguments."""
    assert make_workload_key(func, (8, [1, 2], "NCHW")) == '["matmul", 8, [1, 2], "NCHW"]'


@pytest.mark.parametrize("func", ["missing", len, 5, None])
def test_workload_key_of_unregistered_functions_is_refused(func):
    """The message lists what is registered."""
    with pytest.raises(InvalidInputError, match=r"must be registered with .*; got .*, known are \['matmul'\]"):
        make_workload_key(func, ())


@pytest.mark.parametrize("args", [(object(),), 8])
def test_workload_key_of_other_arguments_is_refused(args):
    """Arguments go through JSON."""
    with pytest.raises(InvalidInputError, match="`args` must be a sequence of numbers, strings and lists; got "):
        make_workload_key("matmul", args)


def func_of_matmul():
    """Return the product as a PrimFunc."""
    return te.create_prim_func(matmul(16, 8, 32))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"func": matmul, "args": (16, 8, 32)}, "matmul"),
        ({"func": "matmul", "args": (16, 8, 32)}, "matmul"),
        ({"workload_key": '["matmul", 16, 8, 32]'}, "matmul"),
        ({"func": func_of_matmul()}, "main"),
        ({"func": IRModule({"product": func_of_matmul()})}, "main"),
        ({"func": matmul, "args": (16, 8, 32), "desc": "first layer"}, "first layer"),
    ],
    ids=["function", "name", "workload_key", "PrimFunc", "IRModule", "desc"],
)
def test_all_ways_make_the_same_task(arguments, name):
    """However a workload is given, its key, FLOPs and operator are the same."""
    task = SearchTask(**arguments, target=CPU)

    expected = SearchTask(func_of_matmul(), target=CPU)
    assert task.workload_key == task.task.key == expected.task.key
    assert task.task.flops == 2 * 16 * 8 * 32
    assert task.task.operator == "dense"
    assert task.desc == task.task.name == name
    assert json.loads(task.task.target) == {**CPU, "keys": ["cpu"]}


def test_create_task_is_search_task():
    """The old name makes the same."""
    made = create_task(matmul, (16, 8, 32), CPU)

    assert made.task == SearchTask(matmul, (16, 8, 32), target=CPU).task


def test_lists_in_keys_are_tuples_for_the_function():
    """JSON has no tuples; a workload gets back what it was given."""
    seen = []

    @register_workload
    def shaped(shape):
        seen.append(shape)
        data = te.placeholder(shape, name="data")
        return [data, topi.nn.relu(data)]

    SearchTask(shaped, ((4, 8),), target=CPU)

    assert seen == [(4, 8)]


def test_refuses_workloads_that_return_no_list_of_tensors():
    """A module or a number is not what `register_workload` takes; iterating a tensor would never end."""
    register_workload("one", lambda: te.compute((8,), lambda i: i.astype("float32")))
    register_workload("number", lambda: 5)

    assert SearchTask("one", target=CPU).task.operator == "elementwise"
    with pytest.raises(InvalidInputError, match="workload 'number' must return a list of te tensors; got int"):
        SearchTask("number", target=CPU)


@pytest.mark.parametrize("key", ["5", "{}", "[]", "not json", ""])
def test_refuses_keys_that_are_none(key):
    """The message says what a key looks like."""
    with pytest.raises(InvalidInputError, match="must be a JSON list of a registered function and its arguments; got "):
        SearchTask(workload_key=key, target=CPU)


@pytest.mark.parametrize("key", ['["missing"]', '[["matmul"], 8]'])
def test_refuses_keys_of_unknown_functions(key):
    """A key is of no use without its function."""
    with pytest.raises(InvalidInputError, match="`func` must be registered"):
        SearchTask(workload_key=key, target=CPU)


def test_refuses_no_workload():
    """There must be something to tune."""
    with pytest.raises(InvalidInputError, match="`func` must be a registered workload, a PrimFunc or an IRModule"):
        SearchTask(target=CPU)


@pytest.mark.parametrize("more", [{"func": matmul}, {"args": (8, 8, 8)}])
def test_refuses_a_key_beside_a_function(more):
    """Of two workloads, one would be ignored."""
    with pytest.raises(InvalidInputError, match="`workload_key` must be given alone"):
        SearchTask(workload_key='["matmul", 16, 8, 32]', target=CPU, **more)


def test_refuses_arguments_for_a_module():
    """A module takes none."""
    with pytest.raises(InvalidInputError, match=r"`args` must be empty when `func` is a module; got \(8,\)"):
        SearchTask(func_of_matmul(), (8,), target=CPU)


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ({"compute_dag": object()}, "pass the PrimFunc or IRModule as `func`"),
        ({"layout_rewrite_option": 0}, "layout_free_placeholders"),
        ({"task_inputs": {"data": 1}}, "measure with your own runner"),
        ({"task_inputs_overwrite": True}, "measure with your own runner"),
        ({"task_inputs_save_to_file": True}, "measure with your own runner"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_refuses_what_the_engine_cannot_do(option, instead):
    """Nothing is silently ignored: the error names the argument and what to use."""
    name = next(iter(option))

    with pytest.raises(UnsupportedError, match=f"^`{name}` does not exist on the MetaSchedule engine; .*{instead}"):
        SearchTask(matmul, (16, 8, 32), target=CPU, **option)


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ({"layout_rewrite_option": 0}, "layout_free_placeholders"),
        ({"include_compatible": True}, "import the other log's records"),
    ],
)
def test_apply_best_refuses_what_the_engine_cannot_do(option, instead, tmp_path):
    """As the constructor."""
    task = SearchTask(matmul, (16, 8, 32), target=CPU)

    with pytest.raises(UnsupportedError, match=instead):
        task.apply_best(str(tmp_path / "log.json"), **option)


def test_apply_best_needs_a_record(tmp_path):
    """An empty log has no schedule; the message says what to do."""
    task = SearchTask(matmul, (16, 8, 32), target=CPU)

    with pytest.raises(InvalidInputError, match=r"must hold a valid schedule of 'matmul' .* Tune the task first\."):
        task.apply_best(str(tmp_path / "log.json"))


@pytest.mark.parametrize(
    ("mode", "problem"),
    [("cuda", "must be 'schedule' for llvm; got 'cuda'"), ("text", "'schedule' or 'cuda'; got 'text'")],
)
def test_print_best_refuses_other_modes(mode, problem, tmp_path):
    """Device source exists for a device only."""
    with pytest.raises(InvalidInputError, match=problem):
        SearchTask(matmul, (16, 8, 32), target=CPU).print_best(str(tmp_path / "log.json"), mode)


def test_target_host_becomes_the_host():
    """The program that starts kernels is compiled for it."""
    task = SearchTask(matmul, (16, 8, 32), target=CPU, target_host={"kind": "llvm", "num-cores": 4})

    assert task.target.attrs["num-cores"] == 2
    assert task.target.host.attrs["num-cores"] == 4


def test_the_machine_is_the_default_target():
    """None means the CPU of this machine."""
    assert dict(SearchTask(matmul, (16, 8, 32)).target.attrs) == dict(host_target().attrs)


@pytest.mark.parametrize(
    ("target", "mcpu"), [(None, host_target().attrs["mcpu"]), ({"kind": "llvm", "mcpu": "znver4"}, "znver4")]
)
def test_hardware_params_complete_a_target(target, mcpu):
    """The number of cores may come from there."""
    task = SearchTask(matmul, (16, 8, 32), target=target, hardware_params=HardwareParams(num_cores=7))

    assert task.target.attrs["num-cores"] == 7
    assert task.target.attrs["mcpu"] == mcpu


def test_hardware_params_of_a_gpu():
    """All that TVM's rules read of a GPU."""
    limits = HardwareParams(max_shared_memory_per_block=1024, max_threads_per_block=512, warp_size=64)
    task = SearchTask(matmul, (16, 8, 32), target={"kind": "cuda", "arch": "sm_80"}, hardware_params=limits)

    assert task.target.attrs["max_shared_memory_per_block"] == 1024
    assert task.target.attrs["max_threads_per_block"] == 512
    assert task.target.attrs["thread_warp_size"] == 64


def test_hardware_params_take_what_they_lack_from_their_target():
    """As in TVM: what is None comes from `target`."""
    described = HardwareParams(target=Target({"kind": "llvm", "num-cores": 5})).complete({"kind": "llvm"})

    assert described["num-cores"] == 5


@pytest.mark.parametrize(
    "name", ["vector_unit_bytes", "cache_line_bytes", "max_local_memory_per_block", "max_vthread_extent"]
)
def test_hardware_params_that_the_rules_fix_are_refused(name):
    """They would have no effect."""
    with pytest.raises(UnsupportedError, match=rf"^MetaSchedule fixes {name} in its rules .* name the CPU or GPU in"):
        HardwareParams(**{name: 16})


def test_the_host_of_hardware_params_is_refused():
    """It would have no effect."""
    with pytest.raises(UnsupportedError, match=r"`target_host` .* give it to SearchTask instead"):
        HardwareParams(target_host="llvm")


@pytest.mark.parametrize("name", ["num_cores", "max_shared_memory_per_block", "max_threads_per_block", "warp_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_hardware_params_are_whole_numbers(name, value):
    """A device has at least one of each."""
    with pytest.raises(InvalidInputError, match=f"`{name}` must be an integer ≥ 1; got {value}"):
        HardwareParams(**{name: value})


def test_refuses_other_hardware_params():
    """A dict of limits belongs into the target."""
    with pytest.raises(InvalidInputError, match=r"`hardware_params` must be HardwareParams; got \{'num_cores': 4\}"):
        SearchTask(matmul, (16, 8, 32), target=CPU, hardware_params={"num_cores": 4})


def test_says_what_it_is():
    """The text of a task names it, its key and its target."""
    task = SearchTask(matmul, (16, 8, 32), target=CPU)

    assert repr(task) == f"SearchTask('matmul', workload_key='{task.workload_key}', target='llvm')"
