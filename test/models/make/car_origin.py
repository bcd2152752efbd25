"""
Where a car comes from, by its name: text in, text out. A SavedModel with a table that is read from an asset, trained on
cars.json of the npm package vega-datasets.

    python car_origin.py    writes ../repository/workflows/car-origin/1/saved_model
"""

import json
import os
import shutil
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# The same weights each time.
os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")

import numpy as np
import tensorflow as tf

HERE = os.path.dirname(os.path.abspath(__file__))
CARS = os.path.join(HERE, "../../../node_modules/vega-datasets/data/cars.json")
MODEL = os.path.join(HERE, "../repository/workflows/car-origin/1/saved_model")
ORIGINS = ["Europe", "Japan", "USA"]
UNKNOWN_WORDS = 8
WIDTH = 8


class CarOrigin(tf.Module):
    def __init__(self, vocabulary):
        super().__init__()
        with open(vocabulary, encoding="utf8") as file:
            words = sum(1 for _ in file)
        table = tf.lookup.TextFileInitializer(
            vocabulary, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        self.table = tf.lookup.StaticVocabularyTable(table, UNKNOWN_WORDS)
        random = tf.random.Generator.from_seed(1)
        self.vectors = tf.Variable(random.normal([words + UNKNOWN_WORDS, WIDTH], stddev=0.3))
        self.weights = tf.Variable(random.normal([WIDTH, len(ORIGINS)], stddev=0.3))
        self.bias = tf.Variable(tf.zeros([len(ORIGINS)]))
        self.origins = tf.constant(ORIGINS)

    def logits(self, names):
        words = tf.strings.split(tf.strings.regex_replace(tf.strings.lower(names), "[^a-z0-9]+", " "))
        vectors = tf.gather(self.vectors, self.table.lookup(words.flat_values))
        mean = tf.math.unsorted_segment_mean(vectors, words.value_rowids(), words.nrows())
        return mean @ self.weights + self.bias

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "name")])
    def serve(self, name):
        probabilities = tf.nn.softmax(self.logits(name))
        best = tf.argmax(probabilities, axis=1)
        return {"origin": tf.gather(self.origins, best), "sure": tf.reduce_max(probabilities, axis=1)}


def main():
    with open(CARS, encoding="utf8") as file:
        cars = json.load(file)
    names = np.array([car["Name"] for car in cars])
    labels = np.array([ORIGINS.index(car["Origin"]) for car in cars])
    held_out = np.arange(len(cars)) % 5 == 0

    words = sorted({word for name in names[~held_out] for word in "".join(c if c.isalnum() else " " for c in name).split()})
    # The table is named after the path of its file: a relative one is the same everywhere.
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    vocabulary = "words.txt"
    with open(vocabulary, "w", encoding="utf8") as file:
        file.write("".join(word + "\n" for word in words))

    model = CarOrigin(vocabulary)
    optimizer = tf.keras.optimizers.Adam(0.05)
    for _ in range(120):
        with tf.GradientTape() as tape:
            logits = model.logits(tf.constant(names[~held_out]))
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels[~held_out], logits))
        variables = [model.vectors, model.weights, model.bias]
        gradients = [tf.convert_to_tensor(one) for one in tape.gradient(loss, variables)]
        optimizer.apply_gradients(zip(gradients, variables))

    answers = model.serve(tf.constant(names[held_out]))["origin"].numpy()
    right = np.mean([answer.decode() == ORIGINS[label] for answer, label in zip(answers, labels[held_out])])
    shutil.rmtree(MODEL, ignore_errors=True)
    tf.saved_model.save(model, MODEL, signatures=model.serve, options=tf.saved_model.SaveOptions(save_debug_info=False))
    shutil.rmtree(folder)
    size = sum(os.path.getsize(os.path.join(at, name)) for at, _, found in os.walk(MODEL) for name in found)
    print(f"{MODEL}: {size} bytes, right for {right:.2f} of the cars not seen")


if __name__ == "__main__":
    main()
