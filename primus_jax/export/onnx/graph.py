"""Builds an ONNX graph node by node; the weights may be stored in eight bits.

Written without PyTorch, so that whoever trained with JAX can export with JAX.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError

# ReduceMean takes its axes as an attribute up to 17; the intermediate representation of its time.
OPSET = 17
IR_VERSION = 8
# Steps of eight bits on each side of zero.
STEPS = 127.0


def import_onnx() -> ModuleType:
    """The package, or a PrimusError that names the extra."""
    try:
        import onnx
    except ImportError as error:
        raise PrimusError("ONNX needs a package: pip install 'primus-jax[onnx]'.") from error
    return onnx


class Graph:
    """Nodes and constants; every method adds to them and returns the name of its result.

    Args:
        tensors: weights by PyTorch name.
        int8: store the weights of every layer in eight bits, one scale for each of its outputs.
            Linear layers also round their input, row by row, and multiply integers; convolutions
            and the recurrent layer are computed in float32 from the rounded weights.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], int8: bool = False):
        self.tensors, self.int8 = tensors, int8
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._onnx = import_onnx()

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """One operator; the name of its last output, which ends the names of all."""
        name = f"{op}_{len(self.nodes)}"
        names = [""] * (outputs - 1) + [name]
        self.nodes.append(self._onnx.helper.make_node(op, list(inputs), names, name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A constant array."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def integers(self, *values: int) -> str:
        """A constant list of int64, for shapes and places."""
        return self.constant(values, np.int64)

    def weight(self, name: str) -> np.ndarray:
        """A weight by PyTorch name."""
        return self.tensors[name]

    def stored(self, weight: np.ndarray, axis: int = 0) -> str:
        """A weight as it is, or in eight bits with a scale for each index of `axis`."""
        if not self.int8:
            return self.constant(weight)
        rounded, scale = quantised(weight, axis)
        name = self.constant(rounded, np.int8)
        return self.node("DequantizeLinear", name, self.constant(scale), axis=axis)

    def linear(self, x: str, name: str) -> str:
        """`nn.Linear`: `[batch, in]` -> `[batch, out]`."""
        weight, bias = self.weight(f"{name}.weight"), self.constant(self.weight(f"{name}.bias"))
        if not self.int8:
            return self.node("Gemm", x, self.constant(weight), bias, transB=1)
        rounded, scale = quantised(weight, 0)
        largest = self.node("ReduceMax", self.node("Abs", x), axes=[1])
        step = self.node("Max", largest, self.constant(1e-12))
        step = self.node("Div", step, self.constant(STEPS))
        whole = self.node("Cast", self.node("Round", self.node("Div", x, step)), to=3)
        product = self.node("MatMulInteger", whole, self.constant(rounded.T, np.int8))
        product = self.node("Mul", self.node("Cast", product, to=1), step)
        return self.node("Add", self.node("Mul", product, self.constant(scale)), bias)

    def conv(self, x: str, name: str, **attributes: Any) -> str:
        """`nn.Conv1d` over `[batch, channels, time]`, with or without a bias."""
        inputs = [x, self.stored(self.weight(f"{name}.weight"))]
        if f"{name}.bias" in self.tensors:
            inputs.append(self.constant(self.weight(f"{name}.bias")))
        return self.node("Conv", *inputs, **attributes)

    def gru(self, steps: str, name: str) -> str:
        """Final state of `nn.GRU`: `[steps, batch, in]` -> `[batch, hidden]`."""
        weights = [self.weight(f"{name}.{kind}_l0") for kind in ("weight_ih", "weight_hh")]
        biases = [self.weight(f"{name}.{kind}_l0") for kind in ("bias_ih", "bias_hh")]
        inputs = [self.stored(_update_first(weight)[None], axis=1) for weight in weights]
        bias = np.concatenate([_update_first(bias) for bias in biases])[None]
        state = self.node(
            "GRU", steps, *inputs, self.constant(bias), outputs=2,
            hidden_size=weights[1].shape[1], linear_before_reset=1,
        )  # fmt: skip
        return self.node("Squeeze", state, self.integers(0))

    def gelu(self, x: str) -> str:
        """The exact GELU, x Phi(x)."""
        erf = self.node("Erf", self.node("Mul", x, self.constant(np.sqrt(0.5))))
        half = self.node("Mul", x, self.constant(0.5))
        return self.node("Mul", half, self.node("Add", erf, self.constant(1)))

    def slice(self, x: str, start: int, stop: int, axis: int) -> str:
        """`x[start:stop]` along `axis`."""
        return self.node("Slice", x, self.integers(start), self.integers(stop), self.integers(axis))

    def square(self, x: str) -> str:
        """`x * x`."""
        return self.node("Mul", x, x)

    def root(self, x: str, epsilon: float) -> str:
        """`sqrt(x + epsilon)`."""
        return self.node("Sqrt", self.node("Add", x, self.constant(epsilon)))

    def mean(self, x: str, axis: int) -> str:
        """Mean along an axis, which is kept."""
        return self.node("ReduceMean", x, axes=[axis])

    def concat(self, parts: Sequence[str], axis: int) -> str:
        """Concatenation along an axis."""
        return self.node("Concat", *parts, axis=axis)

    def descending(self, x: str, count: int) -> str:
        """The last axis, of `count` values, from the largest to the smallest."""
        name = f"TopK_{len(self.nodes)}"
        names, inputs = [name, f"{name}_places"], [x, self.integers(count)]
        self.nodes.append(self._onnx.helper.make_node("TopK", inputs, names, name))
        return name

    def model(
        self,
        outputs: Mapping[str, tuple[str, int]],
        time: int,
        about: str,
        inputs: Sequence[str] = ("imu",),
    ) -> Any:
        """The checked `onnx.ModelProto`, from inputs `[batch, time, 6]` to `outputs`.

        Args:
            outputs: name of an output -> name of a result, `[batch, width]`, and its width.
            time: samples of a window.
            about: what the model says it is.
            inputs: their names.
        """
        helper, float32 = self._onnx.helper, self._onnx.TensorProto.FLOAT
        nodes = [
            *self.nodes,
            *(helper.make_node("Identity", [it], [name]) for name, (it, _) in outputs.items()),
        ]
        graph = helper.make_graph(
            nodes,
            "primus_encoder",
            [helper.make_tensor_value_info(name, float32, ["batch", time, 6]) for name in inputs],
            [
                helper.make_tensor_value_info(name, float32, ["batch", width])
                for name, (_, width) in outputs.items()
            ],
            [self._onnx.numpy_helper.from_array(v, n) for n, v in self.constants.items()],
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="primus-jax",
            doc_string=about,
        )  # fmt: skip
        self._onnx.checker.check_model(model, full_check=True)
        return model


def quantised(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """A weight in eight bits -> (int8, the scale for each index of `axis`)."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.maximum(np.abs(weight).max(others, keepdims=True), 1e-12) / STEPS
    return np.rint(weight / scale).astype(np.int8), scale.reshape(-1).astype(np.float32)


def _update_first(rows: np.ndarray) -> np.ndarray:
    """Gates in PyTorch's order (reset, update, new) -> in that of ONNX (update, reset, new)."""
    reset, update, new = np.split(rows, 3)
    return np.concatenate([update, reset, new])
