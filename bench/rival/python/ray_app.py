"""Ray Serve with `serve.batch`: one replica, the proxy beside it."""

import os
import time

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=2048, ray_actor_options={"num_cpus": 0.1})
class Mlp:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["RIVAL_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    @serve.batch(max_batch_size=256, batch_wait_timeout_s=0.001)
    async def score(self, rows):
        return self.session.run(None, {"features": np.stack(rows)})[0][:, 0].tolist()

    async def __call__(self, request: Request):
        body = await request.json()
        return {"score": await self.score(np.array(body["features"], dtype=np.float32))}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["RIVAL_PORT"])})
    serve.run(Mlp.bind(), route_prefix="/score")
    while True:
        time.sleep(3600)
