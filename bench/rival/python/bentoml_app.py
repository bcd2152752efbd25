"""BentoML with adaptive batching, one worker; numpy in and out over JSON."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Mlp:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["RIVAL_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=1000, route="/score")
    def score(self, features: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"features": np.asarray(features, dtype=np.float32)})[0]
