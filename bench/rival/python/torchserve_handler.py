"""A TorchServe handler of a batch: TorchServe gathers, this scores."""

import json
import os

import numpy as np
import onnxruntime

session = None


def handle(data, context):
    global session
    if session is None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            os.environ["RIVAL_MODEL"], options, providers=["CPUExecutionProvider"]
        )
    if data is None:
        return None
    bodies = [row.get("body") or row.get("data") for row in data]
    rows = [body if isinstance(body, dict) else json.loads(body) for body in bodies]
    features = np.array([row["features"] for row in rows], dtype=np.float32)
    return [{"score": float(value)} for value in session.run(None, {"features": features})[0][:, 0]]
