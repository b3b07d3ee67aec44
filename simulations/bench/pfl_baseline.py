# mypy: ignore-errors
"""The bench's round as a user of Apple's pfl would write it. Runs in an environment of its own (.venv-pfl), without us.

FederatedAveraging over a SimulatedBackend, central Gaussian mechanism with per-user clipping, one full-batch SGD step a
user, the same network and shapes, all of the users in every round. pfl has no local SGD for numpy, so the step is
written by hand and `train_one_user` calls it: at this size that is faster than pfl's own PyTorch path. Its noise is one
draw of floats for a round, where ours is integers for every device.

    python pfl_baseline.py USERS ROUNDS      prints one JSON list: seconds of each round after the first
"""

import json
import sys
import time

import numpy as np
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.base import StatefulModel
from pfl.privacy import CentrallyAppliedPrivacyMechanism, GaussianMechanism
from pfl.stats import MappedVectorStatistics

SIZES = (27, 32, 16, 1)
ROWS = 64


class NumpyNetwork(StatefulModel):
    """Dense network with ReLU hidden layers and one logit; kernels and biases by name."""

    def __init__(self, seed):
        random = np.random.default_rng(seed)
        self.weights = {}
        for i, (n_in, n_out) in enumerate(zip(SIZES[:-1], SIZES[1:], strict=True)):
            self.weights[f"k{i}"] = random.normal(0, np.sqrt(2 / n_in), (n_in, n_out)).astype(np.float32)
            self.weights[f"b{i}"] = np.zeros(n_out, np.float32)

    def do_sgd(self, dataset, params):
        for _ in range(params.local_num_epochs):
            for x, y in dataset.iter(params.local_batch_size):
                self._step(x, y, np.float32(params.local_learning_rate))

    def _step(self, x, y, rate):
        w = self.weights
        h1 = np.maximum(x @ w["k0"] + w["b0"], 0)
        h2 = np.maximum(h1 @ w["k1"] + w["b1"], 0)
        p = 1 / (1 + np.exp(-(h2 @ w["k2"] + w["b2"])))
        d3 = (p - y[:, None]) / np.float32(ROWS)
        d2 = (d3 @ w["k2"].T) * (h2 > 0)
        d1 = (d2 @ w["k1"].T) * (h1 > 0)
        slopes = {"k0": x.T @ d1, "b0": d1.sum(0), "k1": h1.T @ d2, "b1": d2.sum(0), "k2": h2.T @ d3, "b2": d3.sum(0)}
        for name, slope in slopes.items():
            w[name] -= rate * slope

    def get_parameters(self, placeholders=None):
        if placeholders is None:
            return MappedVectorStatistics({name: value.copy() for name, value in self.weights.items()})
        for name, value in self.weights.items():
            placeholders[name][...] = value
        return placeholders

    def set_parameters(self, parameters):
        for name in self.weights:
            self.weights[name][...] = parameters[name]

    def get_model_difference(self, other_parameters, clone=False):
        return MappedVectorStatistics({name: value - other_parameters[name] for name, value in self.weights.items()})

    def apply_model_update(self, statistics):
        for name in self.weights:
            self.weights[name] += statistics[name].astype(np.float32)
        return self, Metrics()

    def evaluate(self, dataset, name_formatting_fn=lambda name: name, eval_params=None):
        return Metrics()

    def save(self, dir_path):
        raise NotImplementedError

    def load(self, dir_path):
        raise NotImplementedError


class NumpyFederatedAveraging(FederatedAveraging):
    def train_one_user(self, initial_model_state, model, user_dataset, central_context):
        model.do_sgd(user_dataset, central_context.model_train_params)
        return model.get_model_difference(initial_model_state), Metrics()


class Rounds(TrainingProcessCallback):
    def __init__(self):
        self.times = []

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        self.times.append(time.perf_counter())
        return False, Metrics()


def main(users, rounds):
    random = np.random.default_rng(0)
    x = random.normal(size=(users, ROWS, SIZES[0])).astype(np.float32)
    y = (random.random((users, ROWS)) < 0.3).astype(np.float32)
    sampler = get_user_sampler("minimize_reuse", list(range(users)))
    data = FederatedDataset(lambda user: Dataset((x[user], y[user]), user_id=str(user)), sampler)
    mechanism = CentrallyAppliedPrivacyMechanism(GaussianMechanism(0.1, 1.0))
    backend = SimulatedBackend(training_data=data, val_data=data, postprocessors=[mechanism])
    parameters = NNAlgorithmParams(
        central_num_iterations=rounds + 1, evaluation_frequency=10**9, train_cohort_size=users, val_cohort_size=0
    )
    train = NNTrainHyperParams(local_num_epochs=1, local_learning_rate=0.3, local_batch_size=None)
    clock = Rounds()
    NumpyFederatedAveraging().run(
        parameters,
        backend,
        NumpyNetwork(0),
        train,
        NNEvalHyperParams(local_batch_size=None),
        callbacks=[clock],
        send_metrics_to_platform=False,
    )
    print(json.dumps(np.diff(clock.times).tolist()))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
