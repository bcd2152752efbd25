"""
The home frameworks of the networks, as a process that computes what it is asked: TensorFlow for TFJS models and
SavedModels, onnxruntime for ONNX, scikit-learn for the trees.

A message is a line of JSON and then the bytes of its tensors, both ways: {"load": {format, path}} is answered by
{"model", "inputs", "outputs"}, {"run": model, "tensors"} by {"tensors"}. Text goes inside the line.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np

DTYPES = {"f32": "float32", "f64": "float64", "i32": "int32", "i64": "int64", "u8": "uint8", "bool": "bool"}
OURS = {name: ours for ours, name in DTYPES.items()} | {"object": "string", "string": "string"}


class Tfjs:
    def __init__(self, path):
        from tfjs_graph import Graph

        self.graph = Graph(path)
        self.inputs = [tf_spec(name, tensor) for name, tensor in self.graph.inputs.items()]
        self.outputs = [tf_spec(name, tensor) for name, tensor in self.graph.outputs.items()]
        # What TFJS knows of these is 32 bits.
        for spec in self.inputs + self.outputs:
            spec["dtype"] = {"i64": "i32", "u8": "i32"}.get(spec["dtype"], spec["dtype"])
        self.run = self.graph.run


class SavedModel:
    def __init__(self, path):
        import tensorflow as tf

        # Kept: its signature does not hold on to it.
        self.model = tf.saved_model.load(path)
        self.signature = self.model.signatures["serving_default"]
        self.inputs = [tf_spec(name, one) for name, one in self.signature.structured_input_signature[1].items()]
        self.outputs = [tf_spec(name, one) for name, one in self.signature.structured_outputs.items()]

    def run(self, inputs):
        import tensorflow as tf

        outputs = self.signature(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}


class Onnx:
    def __init__(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [onnx_spec(one) for one in self.session.get_inputs()]
        self.outputs = [onnx_spec(one) for one in self.session.get_outputs()]

    def run(self, inputs):
        names = [spec["name"] for spec in self.outputs]
        return dict(zip(names, self.session.run(names, inputs)))


class Trees(Onnx):
    """Its tensors are those of the ONNX file, its answers scikit-learn's."""

    def __init__(self, path):
        super().__init__(path)
        from trees import train

        self.trees, _ = train()

    def run(self, inputs):
        (features,) = inputs.values()
        return {self.outputs[0]["name"]: self.trees.predict(features).astype("float32").reshape(-1, 1)}


def tf_spec(name, tensor):
    shape = [None if size is None or size < 0 else int(size) for size in tensor.shape]
    return {"name": name, "dtype": OURS[tensor.dtype.name], "shape": shape}


def onnx_spec(value):
    dtype = {"tensor(float)": "f32", "tensor(double)": "f64", "tensor(int64)": "i64", "tensor(int32)": "i32"}
    shape = [size if isinstance(size, int) else None for size in value.shape]
    return {"name": value.name, "dtype": dtype[value.type], "shape": shape}


def load(format, path):
    if format == "onnx":
        return Trees(path) if "fuel-economy" in path else Onnx(path)
    return {"tfjs": Tfjs, "savedmodel": SavedModel}[format](path)


def read_tensors(headers, source):
    tensors = {}
    for header in headers:
        if header["dtype"] == "string":
            values = np.array([text.encode() for text in header["text"]], dtype=object)
        else:
            values = np.frombuffer(source.read(header["bytes"]), DTYPES[header["dtype"]])
        tensors[header["name"]] = values.reshape(header["shape"])
    return tensors


def write_tensors(tensors, specs, target):
    headers, payload = [], []
    for spec in specs:
        value = np.asarray(tensors[spec["name"]])
        header = {"name": spec["name"], "dtype": spec["dtype"], "shape": list(value.shape)}
        if spec["dtype"] == "string":
            header["text"] = [text.decode() for text in value.ravel()]
        else:
            payload.append(np.ascontiguousarray(value.astype(DTYPES[spec["dtype"]])).tobytes())
            header["bytes"] = len(payload[-1])
        headers.append(header)
    target.write(json.dumps({"tensors": headers}).encode() + b"\n" + b"".join(payload))


def main():
    # Libraries print: only messages go to where answers are read.
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    models = []
    for line in iter(sys.stdin.buffer.readline, b""):
        message = json.loads(line)
        if "load" in message:
            model = load(**message["load"])
            models.append(model)
            answer = {"model": len(models) - 1, "inputs": model.inputs, "outputs": model.outputs}
            target.write(json.dumps(answer).encode() + b"\n")
        else:
            model = models[message["run"]]
            outputs = model.run(read_tensors(message["tensors"], sys.stdin.buffer))
            write_tensors(outputs, model.outputs, target)
        target.flush()


main()
