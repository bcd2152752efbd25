"""Answers lines "rows times" of stdin with microseconds a run of a SavedModel, called as TensorFlow in Python is.

Started by time-tensorflow.ts, which takes turns with it.
"""
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
import numpy
import tensorflow

score = tensorflow.saved_model.load(sys.argv[1]).signatures["serving_default"]


def run(features):
    return score(features=tensorflow.constant(features))["score"].numpy()


def per_run(rows, times):
    features = (numpy.arange(rows * 64, dtype=numpy.float32) % 17 / 17).reshape(rows, 64)
    for _ in range(200):
        run(features)
    begin = time.perf_counter()
    for _ in range(times):
        first = run(features)[0, 0]
    return (time.perf_counter() - begin) / times * 1e6, first


print(tensorflow.__version__, flush=True)
for line in sys.stdin:
    rows, times = map(int, line.split())
    print(*per_run(rows, times), flush=True)
