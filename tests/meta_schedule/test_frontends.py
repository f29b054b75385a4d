# SPDX-License-Identifier: Apache-2.0
"""Networks read from ONNX and torch.export files; each half is skipped where its extra is not installed."""

from __future__ import annotations

import sys
import zipfile

import numpy as np
import pytest
import tvm
from tvm import relax

from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.meta_schedule.frontends import from_onnx, from_torch_export
from familyseer.meta_schedule.lowering import legalize_and_fuse


def run(network, inputs):
    """Bind, lower, compile and run an imported network."""
    mod = legalize_and_fuse(network.mod, network.params)
    target = tvm.target.Target({"kind": "llvm", "num-cores": 1})
    executable = tvm.compile(mod, target=target, relax_pipeline=relax.get_pipeline("default_build"))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    return machine["main"](*[tvm.runtime.tensor(array) for array in inputs]).numpy()


def kernel_names(network):
    """Return the names of the kernels of the lowered network, sorted."""
    mod = legalize_and_fuse(network.mod, network.params)
    return sorted(var.name_hint for var in mod.get_global_vars() if var.name_hint != "main")


@pytest.mark.parametrize("read", [from_onnx, from_torch_export])
def test_refuses_what_is_not_a_file(read, tmp_path):
    """A missing file and a directory are told apart."""
    with pytest.raises(InvalidInputError, match=r"`path` must be a model file; got .*gone.bin', which does not exist"):
        read(tmp_path / "gone.bin")
    with pytest.raises(InvalidInputError, match=r"`path` must be a model file; got .*, which is a directory"):
        read(tmp_path)


@pytest.mark.parametrize(("read", "extra"), [(from_onnx, "onnx"), (from_torch_export, "torch")])
def test_names_the_extra_that_is_missing(read, extra, tmp_path, monkeypatch):
    """Without its package, the message is the command that installs it."""
    (tmp_path / "model").write_bytes(b"")
    monkeypatch.setitem(sys.modules, extra, None)

    with pytest.raises(
        UnsupportedError, match=rf"needs the package '{extra}'. Install it with: pip install 'familyseer\[{extra}\]'"
    ):
        read(tmp_path / "model")


# ---- ONNX


@pytest.fixture(scope="module")
def onnx():
    """Provide the package, or skip."""
    return pytest.importorskip("onnx", reason="the extra [onnx] is not installed")


@pytest.fixture
def write_onnx(onnx, tmp_path):
    """Provide the weights of relu(conv(x)), averaged, times a matrix, and what writes it for a batch size."""
    rng = np.random.default_rng(0)
    weights = {
        "W": rng.standard_normal((4, 3, 1, 1)).astype("float32"),
        "B": rng.standard_normal(4).astype("float32"),
        "L": rng.standard_normal((4, 5)).astype("float32"),
    }

    def write(batch, last="MatMul"):
        node, value, float32 = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            [
                node("Conv", ["in.x", "W", "B"], ["c"]),
                node("Relu", ["c"], ["r"]),
                node("GlobalAveragePool", ["r"], ["g"]),
                node("Flatten", ["g"], ["f"]),
                node(last, ["f", "L"], ["y"]),
            ],
            "small",
            [value("in.x", float32, [batch, 3, 8, 8])],
            [value("y", float32, [batch, 5])],
            [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        path = tmp_path / "small.onnx"
        opset = onnx.helper.make_opsetid("", 17)
        onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
        return path

    return weights, write


def test_onnx_model_computes_what_numpy_computes(write_onnx):
    """Weights become parameters, the input keeps its name as far as Relax allows."""
    weights, write = write_onnx
    network = from_onnx(write(2))
    (x,) = network.example_inputs(1)

    assert (network.name, network.inputs) == ("small", {"in_x": ((2, 3, 8, 8), "float32")})
    assert {name: array.shape for name, array in network.params.items()} == {n: w.shape for n, w in weights.items()}
    convolved = np.einsum("oc,nchw->nohw", weights["W"][:, :, 0, 0], x) + weights["B"][None, :, None, None]
    expected = np.maximum(convolved, 0).mean((2, 3)) @ weights["L"]
    np.testing.assert_allclose(run(network, [x]), expected, rtol=1e-4, atol=1e-5)


def test_onnx_convolution_fuses_with_bias_and_activation(write_onnx):
    """The reshape of the constant bias is folded, that of the pooled image is a view."""
    assert kernel_names(from_onnx(write_onnx[1](1))) == ["fused_conv2d_add_relu", "matmul", "mean"]


def test_onnx_dynamic_shapes_are_refused_or_fixed(write_onnx):
    """The message says which input and how to fix it; doing so helps."""
    path = write_onnx[1]("batch")

    with pytest.raises(InvalidInputError, match=r"static shapes; got .*batch.* for input 'in_x'. Pass `shapes="):
        from_onnx(path)
    assert from_onnx(path, shapes={"in.x": (4, 3, 8, 8)}).inputs == {"in_x": ((4, 3, 8, 8), "float32")}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": (1, 3, 8, 8)}, r"`shapes` must name inputs of the model; got 'y'. Its inputs: in.x"),
        ({"in.x": (0, 3, 8, 8)}, r"`shapes\['in.x'\]` must be positive integers; got \(0, 3, 8, 8\)"),
    ],
)
def test_onnx_shapes_are_checked(write_onnx, shapes, message):
    """Unknown names list the valid ones."""
    path = write_onnx[1]("batch")

    with pytest.raises(InvalidInputError, match=message):
        from_onnx(path, shapes=shapes)


@pytest.mark.parametrize("content", [b"", b"not a model\n", bytes(range(256)) * 10])
def test_refuses_what_is_not_onnx(onnx, tmp_path, content):
    """Empty, text and binary files are no models."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(InvalidInputError, match=r"model.onnx' must be an ONNX model; "):
        from_onnx(path)


def test_refuses_a_truncated_onnx_file(write_onnx):
    """Half a download is not a model."""
    path = write_onnx[1](1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(InvalidInputError, match=r"must be an ONNX model; "):
        from_onnx(path)


def test_names_the_onnx_operator_that_tvm_lacks(write_onnx):
    """An unknown operator is the model's, not the user's, mistake: the message holds its name."""
    path = write_onnx[1](1, last="Frobnicate")

    with pytest.raises(UnsupportedError, match=r"TVM cannot import '.*small.onnx': .*Frobnicate"):
        from_onnx(path)


# ---- torch.export


@pytest.fixture(scope="module")
def torch():
    """Provide the package, or skip."""
    return pytest.importorskip("torch", reason="the extra [torch] is not installed")


@pytest.fixture(scope="module")
def exported(torch, tmp_path_factory):
    """Export convolution, normalisation, an attention layer and a linear head; return folder, input and output."""

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.norm = torch.nn.BatchNorm2d(8)
            self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = torch.nn.Linear(8, 4)

        def forward(self, x):
            x = torch.relu(self.norm(self.conv(x)))
            return self.head(self.layer(x.flatten(2).transpose(1, 2)).mean(1))

    torch.manual_seed(0)
    model, x = Small(), torch.randn(2, 3, 6, 6)
    model(x)  # batch statistics other than 0 and 1
    model.eval()
    folder = tmp_path_factory.mktemp("torch")
    torch.export.save(torch.export.export(model, (x,)), str(folder / "small.pt2"))
    dynamic = torch.export.export(model, (x,), dynamic_shapes={"x": {0: torch.export.Dim("n")}})
    torch.export.save(dynamic, str(folder / "dynamic.pt2"))
    torch.save(model.state_dict(), str(folder / "weights.pt2"))
    with torch.no_grad():
        return folder, x.numpy(), model(x).numpy()


def test_torch_program_computes_what_torch_computes(exported):
    """The imported, lowered and compiled network equals torch's own output."""
    folder, x, expected = exported
    network = from_torch_export(folder / "small.pt2")

    assert (network.name, network.inputs) == ("small", {"x": ((2, 3, 6, 6), "float32")})
    np.testing.assert_allclose(run(network, [x]), expected, rtol=1e-3, atol=1e-5)


def test_torch_batch_normalisation_folds_into_the_convolution(exported):
    """Convolution, normalisation and ReLU are one kernel with a single addition."""
    names = kernel_names(from_torch_export(exported[0] / "small.pt2"))

    assert [name for name in names if "conv2d" in name] == ["fused_conv2d_add_relu"]


def test_torch_linear_layers_do_not_copy_their_weights(exported):
    """No kernel broadcasts anything, as those of a decomposed linear layer on a transposed input do."""
    names = kernel_names(from_torch_export(exported[0] / "small.pt2"))

    assert [name for name in names if "broadcast" in name] == []


def test_torch_dynamic_shapes_are_refused(exported):
    """The message names the input and the remedy."""
    with pytest.raises(
        InvalidInputError, match=r"static shapes; got .* for input 'x'. Export the program without `dynamic_shapes`"
    ):
        from_torch_export(exported[0] / "dynamic.pt2")


def test_refuses_weights_without_a_program(exported):
    """A state dictionary is an archive, but holds no program."""
    with pytest.raises(InvalidInputError, match=r"must be a program written by torch.export.save; it cannot be read"):
        from_torch_export(exported[0] / "weights.pt2")


def test_refuses_what_is_not_a_torch_program(torch, tmp_path):
    """Neither text nor a foreign archive is a program."""
    (tmp_path / "text.pt2").write_text("not a program")
    with zipfile.ZipFile(tmp_path / "foreign.pt2", "w") as archive:
        archive.writestr("readme", "hello")

    with pytest.raises(
        InvalidInputError, match=r"must be a program written by torch.export.save; it is not even an archive"
    ):
        from_torch_export(tmp_path / "text.pt2")
    with pytest.raises(InvalidInputError, match=r"must be a program written by torch.export.save; it cannot be read"):
        from_torch_export(tmp_path / "foreign.pt2")
