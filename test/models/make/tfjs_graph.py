"""A TFJS graph model (model.json and its shards) as the TensorFlow graph that it was made of."""

import base64
import json
import os

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

# What the converter fuses, and what it is made of.
FUSED = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative", "_FusedMatMul": "MatMul"}
NOT_FOR_THE_CORE = {"fused_ops", "num_args", "epsilon", "leakyrelu_alpha", "TArgs", "num_host_args", "host_args"}


class Graph:
    def __init__(self, path):
        with open(path, encoding="utf8") as file:
            model = json.load(file)
        weights = read_weights(os.path.dirname(path), model["weightsManifest"])
        graph_def = tf.compat.v1.GraphDef()
        graph_def.versions.producer = 1645
        for node in model["modelTopology"]["node"]:
            graph_def.node.extend(unfuse(read_node(node, weights)))
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(graph_def, name="")
        self.session = tf.compat.v1.Session(graph=graph)
        self.inputs, self.outputs = tensors(graph, model)

    def run(self, inputs):
        feeds = {tensor: inputs[name].astype(tensor.dtype.as_numpy_dtype) for name, tensor in self.inputs.items()}
        names = list(self.outputs)
        return dict(zip(names, self.session.run([self.outputs[name] for name in names], feeds)))


def tensors(graph, model):
    """By the signature, else the placeholders and the nodes that nothing reads."""
    signature = model.get("signature") or model.get("userDefinedMetadata", {}).get("signature") or {}

    def named(which):
        found = signature.get(which, {})
        return {name: graph.get_tensor_by_name(full(one["name"])) for name, one in found.items()}

    operations = [op for op in graph.get_operations() if op.type != "NoOp"]
    inputs = named("inputs") or {op.name: op.outputs[0] for op in operations if op.type == "Placeholder"}
    outputs = named("outputs") or {
        op.name: op.outputs[0] for op in operations if not any(out.consumers() for out in op.outputs)
    }
    return inputs, outputs


def full(name):
    return name if ":" in name else name + ":0"


def read_weights(folder, manifest):
    weights = {}
    for group in manifest:
        data = b"".join(open(os.path.join(folder, path), "rb").read() for path in group["paths"])
        at = 0
        for spec in group["weights"]:
            quantization = spec.get("quantization")
            dtype = np.dtype((quantization or spec)["dtype"])
            count = int(np.prod(spec["shape"]))
            values = np.frombuffer(data, dtype, count, at).reshape(spec["shape"])
            at += count * dtype.itemsize
            if quantization is not None:
                values = values.astype(spec["dtype"])
                if "scale" in quantization:
                    values = (values * quantization["scale"] + quantization["min"]).astype(spec["dtype"])
            weights[spec["name"]] = values
        assert at == len(data), f"{at} bytes of {len(data)} are weights"
    return weights


def read_node(node, weights):
    read = json_format.ParseDict(plain(node), tf.compat.v1.NodeDef(), ignore_unknown_fields=True)
    if read.op == "Const":
        # TFJS keeps 64-bit integers as 32-bit ones.
        dtype = tf.as_dtype(read.attr["dtype"].type).as_numpy_dtype
        read.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights[read.name].astype(dtype)))
    return read


def plain(value):
    """Older files write bytes as lists of character codes."""
    if isinstance(value, dict):
        return {key: plain_list(one) if key == "list" else text(one) if key == "s" else plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def plain_list(value):
    return {key: [text(one) for one in many] if key == "s" else plain(many) for key, many in value.items()}


def text(value):
    return base64.b64encode(bytes(value)).decode() if isinstance(value, list) else value


def unfuse(node):
    """A fused operation as its core, its bias and its activation."""
    if node.op == "Prelu":
        return prelu(node.name, *node.input)
    if node.op not in FUSED:
        return [node]
    steps = [step.decode() for step in node.attr["fused_ops"].list.s]
    core = tf.compat.v1.NodeDef(name=node.name + "/core", op=FUSED[node.op], input=node.input[:2])
    for key, value in node.attr.items():
        if key not in NOT_FOR_THE_CORE:
            core.attr[key].CopyFrom(value)
    nodes = [core]
    extra = list(node.input[2:])
    for i, step in enumerate(steps):
        name = node.name if i == len(steps) - 1 else f"{node.name}/{step}"
        before = nodes[-1].name
        if step == "Prelu":
            nodes += prelu(name, before, extra.pop(0))
            continue
        inputs = [before, extra.pop(0)] if step == "BiasAdd" else [before]
        after = float_node(name, step, inputs)
        if step == "LeakyRelu":
            after.attr["alpha"].f = node.attr["leakyrelu_alpha"].f
        nodes.append(after)
    return nodes


def prelu(name, x, alpha):
    """relu(x) - alpha * relu(-x)"""
    return [
        float_node(name + "/positive", "Relu", [x]),
        float_node(name + "/negated", "Neg", [x]),
        float_node(name + "/negative", "Relu", [name + "/negated"]),
        float_node(name + "/scaled", "Mul", [alpha, name + "/negative"]),
        float_node(name, "Sub", [name + "/positive", name + "/scaled"]),
    ]


def float_node(name, op, inputs):
    node = tf.compat.v1.NodeDef(name=name, op=op, input=inputs)
    node.attr["T"].type = tf.float32.as_datatype_enum
    return node
