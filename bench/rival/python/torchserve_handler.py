"""A TorchServe handler of a batch: TorchServe gathers, this scores."""

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
    features = np.frombuffer(b"".join(row["body"] for row in data), dtype=np.float32).reshape(-1, 64)
    scores = session.run(None, {"features": features})[0].tobytes()
    return [scores[i : i + 4] for i in range(0, len(scores), 4)]
