"""FastAPI as its tutorial has it: a pydantic model in, a dict out; `def`, so that Starlette's thread pool scores."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["RIVAL_MODEL"], options, providers=["CPUExecutionProvider"])

app = FastAPI()


class Request(BaseModel):
    features: list[float]


@app.post("/score")
def score(request: Request):
    features = np.array([request.features], dtype=np.float32)
    return {"score": float(session.run(None, {"features": features})[0][0, 0])}
