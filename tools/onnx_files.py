"""A siamese network as ONNX files, which OpenCV runs without TensorFlow: the form in which the shipped network is loaded.

Sums are float32; a layer that was trained in bfloat16 still rounds its inputs, kernel and output to it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  # lets NumPy know bfloat16
import numpy as np
import onnx

from lfwstudy.errors import StudyError
from lfwstudy.system.files import replacing
from lfwstudy.verify.network import HEAD, TOWER

# Read by the oldest OpenCV that the package allows.
OPSET, IR_VERSION = 13, 8


def write_onnx(model: Any, folder: Path) -> None:
    """Write the tower, from `image` (n, 1, side, side) to embedding, and the head, from `left` and `right` to log-odds.

    Raises StudyError for a layer that has no ONNX form here.
    """
    tower, head = model.get_layer("tower"), model.get_layer("head")
    _Graph({"image": (1, *tower.input_shape[1:3])}).save(tower.layers, folder / TOWER)
    embedding = tower.output_shape[1:]
    _Graph({"left": embedding, "right": embedding}).save(head.layers[:-1], folder / HEAD)  # without the sigmoid


class _Graph:
    """An ONNX graph that grows node by node, from inputs with these shapes for one image or pair."""

    def __init__(self, inputs: dict[str, Sequence[int]]) -> None:
        self.inputs, self.nodes, self.constants = inputs, list[onnx.NodeProto](), list[onnx.TensorProto]()

    def add(self, kind: str, *inputs: str | np.ndarray | float, outputs: int = 1, **attributes: Any) -> str:
        """Add a node whose inputs are values by name or constants; returns the name of its first output."""
        names = [f"{kind}{len(self.nodes)}.{number}" for number in range(outputs)]
        given = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self.nodes.append(onnx.helper.make_node(kind, given, names, **attributes))
        return names[0]

    def save(self, layers: Sequence[Any], path: Path) -> None:
        """Add a chain of Keras layers and write the graph."""
        values = tuple(self.inputs)
        for layer in layers:
            kind = type(layer).__name__
            if kind != "InputLayer":
                if kind not in _FORMS:
                    raise StudyError(f"layer {layer.name}: {kind} has no ONNX form in {__name__}")
                values = (_FORMS[kind](self, layer, *values),)

        def described(name: str, shape: Sequence[int | None]) -> onnx.ValueInfoProto:
            return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, *shape])

        inputs = [described(name, shape) for name, shape in self.inputs.items()]
        outputs = [described(values[0], [None])]
        graph = onnx.helper.make_graph(self.nodes, path.stem, inputs, outputs, self.constants)
        opset = onnx.helper.make_opsetid("", OPSET)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        with replacing(path) as temporary:
            temporary.write_bytes(model.SerializeToString(deterministic=True))

    def _constant(self, value: np.ndarray | float) -> str:
        values = np.asarray(value)
        name = f"constant{len(self.constants)}"
        kind = np.int64 if values.dtype.kind == "i" else np.float32
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values, kind), name))
        return name


def _weights(layer: Any) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in layer.get_weights()]


def _convolution(graph: _Graph, layer: Any, x: str) -> str:
    kernel, *bias = _weights(layer)
    padding = {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding]
    shape = {"kernel_shape": layer.kernel_size, "strides": layer.strides, "auto_pad": padding}
    kernel = kernel.transpose(3, 2, 0, 1).astype(layer.compute_dtype)
    return _rounded(graph, layer, graph.add("Conv", _rounded(graph, layer, x), kernel, *bias, **shape))


def _batch_norm(graph: _Graph, layer: Any, x: str) -> str:
    normed = graph.add("BatchNormalization", x, *_weights(layer), epsilon=layer.epsilon)
    return _rounded(graph, layer, normed)


def _pooling(graph: _Graph, layer: Any, x: str) -> str:
    return graph.add("MaxPool", x, kernel_shape=layer.pool_size, strides=layer.strides)


def _mean(graph: _Graph, layer: Any, x: str) -> str:
    return graph.add("Flatten", graph.add("GlobalAveragePool", x))


def _generalised_mean(graph: _Graph, layer: Any, x: str) -> str:
    (power,) = _weights(layer)
    raised = graph.add("Pow", graph.add("Clip", x, 1e-4), power)
    return graph.add("Pow", _mean(graph, layer, raised), 1 / power)


def _flatten(graph: _Graph, layer: Any, x: str) -> str:
    return graph.add("Flatten", graph.add("Transpose", x, perm=[0, 2, 3, 1]))  # Keras has the channels last


def _dense(graph: _Graph, layer: Any, x: str) -> str:
    y = graph.add("Gemm", x, *_weights(layer))
    return {"linear": lambda: y, "sigmoid": lambda: graph.add("Sigmoid", y)}[layer.activation.__name__]()


def _difference(graph: _Graph, layer: Any, a: str, b: str) -> str:
    return graph.add("Abs", graph.add("Sub", a, b))


def _cosine(graph: _Graph, layer: Any, a: str, b: str) -> str:
    return _sum(graph, graph.add("Mul", _unit_length(graph, a), _unit_length(graph, b)))


def _local_cosine(graph: _Graph, layer: Any, a: str, b: str) -> str:
    (cohort,) = _weights(layer)
    nearest = np.array([min(layer.neighbours, layer.size)])

    def usual(embeddings: str) -> str:
        cosines = graph.add("MatMul", _unit_length(graph, embeddings), cohort.T)
        return graph.add("ReduceMean", graph.add("TopK", cosines, nearest, outputs=2, axis=1), axes=[1], keepdims=1)

    mean = graph.add("Mul", graph.add("Add", usual(a), usual(b)), 0.5)
    return graph.add("Sub", _cosine(graph, layer, a, b), mean)


def _calibration(graph: _Graph, layer: Any, x: str) -> str:
    scale, shift = _weights(layer)
    return graph.add("Add", graph.add("Mul", x, scale), shift)


def _rounded(graph: _Graph, layer: Any, x: str) -> str:
    """Values as the layer rounds them: to the 8 bits of bfloat16 by float32 arithmetic (Dekker 1971), as OpenCV has no such type."""
    if layer.compute_dtype != "bfloat16":
        return x
    large = graph.add("Mul", x, 2.0**16 + 1)
    return graph.add("Sub", large, graph.add("Sub", large, x))


def _unit_length(graph: _Graph, x: str) -> str:
    length = graph.add("Sqrt", graph.add("Add", _sum(graph, graph.add("Mul", x, x)), 1e-12))
    return graph.add("Div", x, length)


def _sum(graph: _Graph, x: str) -> str:
    return graph.add("ReduceSum", x, np.array([1]), keepdims=1)


# By class name of the layers of `lfwstudy.network.siamese`.
_FORMS: dict[str, Callable[..., str]] = {
    "AbsoluteDifference": _difference,
    "Calibration": _calibration,
    "Convolution": _convolution,
    "Cosine": _cosine,
    "Dense": _dense,
    "Dropout": lambda graph, layer, x: x,
    "Flatten": _flatten,
    "FusedBatchNormalization": _batch_norm,
    "GeneralisedMean": _generalised_mean,
    "GlobalAveragePooling2D": _mean,
    "LocalCosine": _local_cosine,
    "Pooling": _pooling,
    "ReLU": lambda graph, layer, x: graph.add("Relu", x),
}
