"""LitServe with its batching: one inference worker, batches of what came within a millisecond."""

import os

import litserve
import numpy as np
import onnxruntime


class Mlp(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["RIVAL_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    def decode_request(self, request):
        return np.array(request["features"], dtype=np.float32)

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, features):
        return self.session.run(None, {"features": features})[0]

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"score": float(output[0])}


if __name__ == "__main__":
    api = Mlp(max_batch_size=256, batch_timeout=0.001, api_path="/score")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["RIVAL_PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
