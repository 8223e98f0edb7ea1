"""Writes a trained net as ONNX, with the metadata that `cipherloom compile` reads.

Relies on: weights and batch statistics as `nets` lays them out. Promises: opset 17, IR version 8, batch size 1, float32,
deterministic bytes; `cipherloom.input`, `cipherloom.ranges` and `cipherloom.std` in the metadata.
"""

import json
import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import nets

INPUT = "image"
RANGE_MARGIN = 0.1
RANGE_DIGITS = 3


def write(path, name, params, stats, summary):
    """Writes NETS[name] to `path`; `summary` is {tensor: (min, max, mean, std)} on the training set."""
    net = nets.NETS[name]
    nodes, weights, channels = [], [], 1
    previous = INPUT
    for layer in net:
        out = nets.tensor_name(net, layer)
        node, tensors, channels = _node(layer, previous, out, (params, stats, channels))
        nodes.append(node)
        weights += [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tensors.items()]
        previous = out
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="cipherloom models/train")
    for key, value in _metadata(summary).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, separators=(",", ":"))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _node(layer, x, out, state):
    """The layer's node, its weight tensors by name, and the channels of its output."""
    params, stats, channels = state
    name = layer.name
    tensors, op, attributes, inputs = {}, None, {}, [x]
    match layer:
        case nets.Conv(_, maps, kernel, stride, pad):
            w = np.asarray(params[name]["w"]).reshape(kernel, kernel, channels, maps)
            tensors = {f"{name}.weight": w.transpose(3, 2, 0, 1).copy(), f"{name}.bias": np.asarray(params[name]["b"])}
            op, channels = "Conv", maps
            attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        case nets.Dense():
            w = np.asarray(params[name]["w"])
            tensors = {f"{name}.weight": w.T.copy(), f"{name}.bias": np.asarray(params[name]["b"])}
            op, attributes = "Gemm", {"transB": 1}
        case nets.BatchNorm():
            values = (params[name]["gamma"], params[name]["beta"], *stats[name])
            tensors = {f"{name}.{k}": np.asarray(v) for k, v in zip(("scale", "bias", "mean", "var"), values)}
            op, attributes = "BatchNormalization", {"epsilon": nets.BN_EPSILON}
        case nets.Square():
            op, inputs = "Mul", [x, x]
        case nets.Relu():
            op = "Relu"
        case nets.AvgPool():
            op, attributes = "AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}
        case nets.Flatten():
            op, attributes = "Flatten", {"axis": 1}
    node = helper.make_node(op, inputs + list(tensors), [out], name=name, **attributes)
    return node, tensors, channels


def _metadata(summary):
    described = {
        "layout": "NCHW", "shape": [1, 1, 28, 28], "scale": 1 / 255, "mean": [0.0], "std": [1.0],
        "labels": [str(d) for d in range(10)],
    }
    ranges = {k: [_outward(lo, -1), _outward(hi, 1)] for k, (lo, hi, _, _) in summary.items()}
    ranges[INPUT] = [0.0, 1.0]  # exact: a pixel is u8 / 255
    spread = {k: [float(f"{mean:.6g}"), float(f"{std:.6g}")] for k, (_, _, mean, std) in summary.items()}
    return {"cipherloom.input": described, "cipherloom.ranges": ranges, "cipherloom.std": spread}


def _outward(value, direction):
    """`value` moved by the margin towards `direction` (-1 down, 1 up), then rounded so to 3 significant digits."""
    value = float(value) + direction * RANGE_MARGIN * abs(float(value))
    if value == 0:
        return 0.0
    unit = RANGE_DIGITS - 1 - math.floor(math.log10(abs(value)))
    whole = math.floor(value * 10.0**unit) if direction < 0 else math.ceil(value * 10.0**unit)
    return float(f"{whole}e{-unit}") + 0.0
