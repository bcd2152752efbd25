"""
Boosted trees that expect a car's miles per gallon: scikit-learn on cars.json of the npm package vega-datasets.

    python trees.py    writes ../repository/workflows/fuel-economy/1/model.onnx
"""

import json
import os

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor

HERE = os.path.dirname(os.path.abspath(__file__))
CARS = os.path.join(HERE, "../../../node_modules/vega-datasets/data/cars.json")
MODEL = os.path.join(HERE, "../repository/workflows/fuel-economy/1/model.onnx")
FEATURES = ["Cylinders", "Displacement", "Horsepower", "Weight_in_lbs", "Acceleration"]


def read_cars():
    with open(CARS, encoding="utf8") as file:
        cars = json.load(file)
    cars = [car for car in cars if all(car[name] is not None for name in [*FEATURES, "Miles_per_Gallon"])]
    features = [[*(car[name] for name in FEATURES), int(car["Year"][:4])] for car in cars]
    return np.array(features, "float32"), np.array([car["Miles_per_Gallon"] for car in cars])


def train():
    """The trees, and the correlation on every fifth car, which they have not seen."""
    features, miles = read_cars()
    held_out = np.arange(len(miles)) % 5 == 0
    trees = GradientBoostingRegressor(n_estimators=120, max_depth=3, learning_rate=0.08, random_state=1)
    trees.fit(features[~held_out], miles[~held_out])
    return trees, np.corrcoef(trees.predict(features[held_out]), miles[held_out])[0, 1]


if __name__ == "__main__":
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    trees, correlation = train()
    inputs = [("features", FloatTensorType([None, len(FEATURES) + 1]))]
    model = convert_sklearn(trees, initial_types=inputs, final_types=[("miles_per_gallon", FloatTensorType([None, 1]))])
    os.makedirs(os.path.dirname(MODEL), exist_ok=True)
    with open(MODEL, "wb") as file:
        file.write(model.SerializeToString())
    print(f"{MODEL}: {os.path.getsize(MODEL)} bytes, correlation on cars not seen {correlation:.3f}")
