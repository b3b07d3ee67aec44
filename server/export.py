"""The interest DNN as one .tflite file: signatures `infer`, `train` and `fit`, builtin ops only, theta as an input.

Why by hand: Keras' own gradients convert to ops that a phone's runtime does not have (ReluGrad, stateless_uniform), and
weights that are resource variables cannot be swapped by passing them. So theta goes in and comes out as one flat vector
in the layout of `shared.network`, and the backward pass is written out. `keras_model` is the reference that tests
compare it with. This is the only module that imports TensorFlow; nothing else imports this module.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf

from shared.network import NetworkSpec

FLOAT = tf.float32


def keras_model(spec: NetworkSpec, *, l2: float = 0.0, dropout: float = 0.0, masked: bool = False) -> Any:
    """The same network in Keras: ReLU layers with L2 kernels and dropout, one sigmoid.

    With `masked`, dropout is a second input (batch, n_hidden) instead of a random layer, so that a run can be repeated.
    """
    keras = tf.keras
    rows = keras.Input((spec.n_features,))
    mask = keras.Input((spec.n_hidden,))
    hidden, at = rows, 0
    for size in spec.hidden:
        hidden = keras.layers.Dense(size, "relu", kernel_regularizer=keras.regularizers.L2(l2))(hidden)
        if masked:
            hidden = keras.layers.Multiply()([hidden, mask[:, at : at + size]])
        elif dropout:
            hidden = keras.layers.Dropout(dropout)(hidden)
        at += size
    p = keras.layers.Dense(1, "sigmoid", kernel_regularizer=keras.regularizers.L2(l2))(hidden)
    return keras.Model([rows, mask] if masked else rows, p)


class InterestModule(tf.Module):  # type: ignore[misc]
    """Forward, backward and SGD on a flat theta, in ops that every TFLite runtime has."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec

    def _layers(self, theta: Any) -> list[Any]:
        sizes = [int(tf.TensorShape(s).num_elements()) for s in self.spec.shapes]
        out, at = [], 0
        for size, shape in zip(sizes, self.spec.shapes, strict=True):
            out.append(tf.reshape(theta[at : at + size], shape))
            at += size
        return out

    def _activations(self, layers: list[Any], x: Any, mask: Any | None) -> list[Any]:
        out, at = [x], 0
        for kernel, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            hidden = tf.nn.relu(tf.matmul(out[-1], kernel) + bias)
            if mask is not None:
                hidden = hidden * mask[:, at : at + kernel.shape[1]]
            at += kernel.shape[1]
            out.append(hidden)
        return [*out, tf.matmul(out[-1], layers[-2]) + layers[-1]]

    def _step(self, theta: Any, x: Any, y: Any, weight: Any, mask: Any, rate: Any, l2: Any) -> tuple[Any, Any]:
        """Theta after one SGD step, and the loss before it."""
        layers = self._layers(theta)
        *hidden, logits = self._activations(layers, x, mask)
        logit = logits[:, 0]
        delta = ((tf.sigmoid(logit) - y) * weight)[:, None]
        parts: list[Any] = []
        at = self.spec.n_hidden
        for i in range(len(hidden) - 1, -1, -1):
            kernel = layers[2 * i]
            from_kernel = tf.matmul(hidden[i], delta, transpose_a=True) + 2.0 * l2 * kernel
            parts = [tf.reshape(from_kernel, (-1,)), tf.reduce_sum(delta, 0), *parts]
            if i:
                at -= self.spec.hidden[i - 1]
                delta = tf.matmul(delta, kernel, transpose_b=True) * tf.cast(hidden[i] > 0, FLOAT)
                delta = delta * mask[:, at : at + self.spec.hidden[i - 1]]
        bce = tf.nn.relu(logit) - logit * y + tf.math.log(1.0 + tf.exp(-tf.abs(logit)))
        penalty = tf.add_n([tf.reduce_sum(kernel * kernel) for kernel in layers[::2]])
        return theta - rate * tf.concat(parts, 0), tf.reduce_sum(bce * weight) + l2 * penalty

    def signatures(self) -> dict[str, Any]:
        """The three functions of the file. N rows, S steps of B rows, P weights, H hidden units."""
        features, p, h = self.spec.n_features, self.spec.n_parameters, self.spec.n_hidden

        def tensor(name: str, *shape: int | None, dtype: Any = FLOAT) -> Any:
            return tf.TensorSpec(shape, dtype, name)

        rows = [tensor("x", None, features), tensor("y", None), tensor("weight", None)]
        rates = [tensor("theta", p), tensor("learning_rate"), tensor("l2")]

        @tf.function(input_signature=[tensor("x", None, features), tensor("theta", p)])  # type: ignore[untyped-decorator]
        def infer(x: Any, theta: Any) -> dict[str, Any]:
            """p (N,) of rows x (N, F)."""
            return {"p": tf.sigmoid(self._activations(self._layers(theta), x, None)[-1][:, 0])}

        @tf.function(input_signature=[*rows, tensor("mask", None, h), *rates])  # type: ignore[untyped-decorator]
        def train(x: Any, y: Any, weight: Any, mask: Any, theta: Any, learning_rate: Any, l2: Any) -> dict[str, Any]:
            """One SGD step on all N rows."""
            new, loss = self._step(theta, x, y, weight, mask, learning_rate, l2)
            return {"theta": new, "loss": loss}

        picks = [tensor("rows", None, None, dtype=tf.int32), tensor("masks", None, None, h)]

        @tf.function(input_signature=[*rows, *picks, *rates])  # type: ignore[untyped-decorator]
        def fit(
            x: Any, y: Any, weight: Any, rows: Any, masks: Any, theta: Any, learning_rate: Any, l2: Any
        ) -> dict[str, Any]:
            """S steps in one call, step s on rows[s]. Returns [theta, mean loss] (P + 1,).

            One vector, because LiteRT.js returns garbage for a WHILE result that is directly an output.
            """
            n_steps = tf.shape(rows)[0]

            def body(s: Any, state: Any, total: Any) -> tuple[Any, Any, Any]:
                pick = tf.gather(rows, s)
                mask = tf.gather(masks, s)
                batch = tf.gather(x, pick), tf.gather(y, pick), tf.gather(weight, pick)
                new, loss = self._step(state, *batch, mask, learning_rate, l2)
                return s + 1, new, total + loss

            _, new, total = tf.while_loop(lambda s, *_: s < n_steps, body, (0, theta, 0.0))
            return {"fitted": tf.concat([new, [total / tf.cast(n_steps, FLOAT)]], 0)}

        return {"infer": infer, "train": train, "fit": fit}


def build(spec: NetworkSpec) -> bytes:
    """The .tflite file's bytes. Conversion fails, rather than falls back, on an op that is not builtin."""
    module = InterestModule(spec)
    with tempfile.TemporaryDirectory() as folder:
        concrete = {name: f.get_concrete_function() for name, f in module.signatures().items()}
        tf.saved_model.save(module, folder, signatures=concrete)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(concrete))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.allow_custom_ops = False
        return bytes(converter.convert())


def main() -> None:
    """`python -m server.export FILE`: writes the file and prints its SHA-256, to be pinned in client/model/runtime.py."""
    parser = argparse.ArgumentParser(description="Export the interest DNN as a .tflite file (needs TensorFlow).")
    parser.add_argument("file", type=Path)
    parser.add_argument("--features", type=int, default=27)
    parser.add_argument("--hidden", type=int, nargs="+", default=[32, 16])
    arguments = parser.parse_args()
    model = build(NetworkSpec(arguments.features, tuple(arguments.hidden)))
    arguments.file.write_bytes(model)
    print(f"{hashlib.sha256(model).hexdigest()}  {len(model)} bytes")


if __name__ == "__main__":
    main()
