"""Triton's Python backend by nvidia-pytriton, with dynamic batching: what its wheel brings."""

import os

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["RIVAL_MODEL"], options, providers=["CPUExecutionProvider"])


@batch
def score(features):
    return {"score": session.run(None, {"features": features})[0]}


config = TritonConfig(
    http_address="127.0.0.1",
    http_port=int(os.environ["RIVAL_PORT"]),
    allow_grpc=False,
    allow_metrics=False,
    log_verbose=0,
)
with Triton(config=config) as triton:
    triton.bind(
        model_name="mlp",
        infer_func=score,
        inputs=[Tensor(name="features", dtype=np.float32, shape=(64,))],
        outputs=[Tensor(name="score", dtype=np.float32, shape=(1,))],
        config=ModelConfig(max_batch_size=256, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
    )
    triton.serve()
