"""The student while it learns: the trunk with batch normalisation, a projection to the teacher's space, the losses."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simquery.embedders.mini import network
from simquery.embedders.mini.weights import fold

TEMPERATURE = 0.1
MOMENTUM = 0.99
EPSILON = 1e-3


class Normalisation(keras.layers.Layer):  # type: ignore[misc]
    """Batch normalisation by TensorFlow's fused kernel: twice as fast on a CPU in bfloat16 as Keras' own."""

    def build(self, shape: Any) -> None:
        """Make gain, offset and the running statistics: float32 (channels,) whatever the layer computes in."""

        def add(name: str, initial: str, trainable: bool) -> Any:
            return self.add_weight(
                name=name, shape=shape[-1:], initializer=initial, trainable=trainable, dtype="float32", autocast=False
            )

        self.gain, self.offset = add("gain", "ones", True), add("offset", "zeros", True)
        self.mean, self.variance = add("mean", "zeros", False), add("variance", "ones", False)

    def call(self, x: Any, training: bool = False) -> Any:
        """Normalise by the batch's statistics while training, else by the running ones."""
        empty = tf.zeros([0])
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.gain,
            offset=self.offset,
            mean=empty if training else self.mean.value,
            variance=empty if training else self.variance.value,
            epsilon=EPSILON,
            is_training=training,
        )
        if training:
            self.mean.assign(MOMENTUM * self.mean + (1 - MOMENTUM) * mean)
            self.variance.assign(MOMENTUM * self.variance + (1 - MOMENTUM) * variance)
        return y


def build(axes: int) -> Any:
    """The student: from pixels to (features (n, 7, 7, dims), the same projected to the teacher's axes)."""
    trunk = network.trunk(lambda x, name: Normalisation(name=f"{name}_norm")(x))
    projected = keras.layers.Conv2D(axes, 1, name="projection")(trunk.output)
    return keras.Model(trunk.input, [trunk.output, projected], name="student")


def losses(features: Any, projected: Any, target: Any, sharpness: Any) -> tuple[Any, Any, Any]:
    """How far the student is from the teacher, in three ways.

    Parameters
    ----------
    features
        The student's features (n, 7, 7, dims).
    projected
        The same, projected (n, 7, 7, axes).
    target
        The teacher's maps (n, 7, 7, axes).
    sharpness
        Scalar, learnt: what the student's cosines are multiplied by before they are compared.

    Returns
    -------
    direction, map, relation
        Scalars. 1 - cosine of the pooled vectors; squared error of the maps relative to the teacher's own power;
        divergence between both sides' neighbourhoods within the batch (as in "Similarity-Preserving Knowledge
        Distillation", Tung and Mori 2019, but as distributions), measured on the embedding that ships.
    """
    features, projected, target = (tf.cast(x, tf.float32) for x in (features, projected, target))
    wanted = tf.math.l2_normalize(tf.reduce_mean(target, (1, 2)), 1)
    direction = 1 - tf.reduce_mean(
        tf.reduce_sum(tf.math.l2_normalize(tf.reduce_mean(projected, (1, 2)), 1) * wanted, 1)
    )
    power = tf.reduce_mean(tf.square(target))
    map_error = tf.reduce_mean(tf.square(projected - target)) / power

    embedding = tf.math.l2_normalize(tf.reduce_mean(features, (1, 2)), 1)
    # A picture's similarity to itself says nothing: it is taken out of both distributions.
    itself = 1e4 * tf.eye(tf.shape(target)[0])
    teacher = tf.nn.softmax(tf.matmul(wanted, wanted, transpose_b=True) / TEMPERATURE - itself)
    student = tf.nn.log_softmax(tf.matmul(embedding, embedding, transpose_b=True) * sharpness - itself)
    entropy = -tf.reduce_sum(teacher * tf.math.log(teacher + 1e-20), 1)
    relation = tf.reduce_mean(-tf.reduce_sum(teacher * student, 1) - entropy)
    return direction, map_error, relation


def convolutions(student: Any) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Kernel and bias of every convolution that ships, the normalisation folded in."""
    folded = {}
    for layer in student.layers:
        if isinstance(layer, Normalisation):
            name = layer.name.removesuffix("_norm")
            gain, offset, mean, variance = (np.asarray(v) for v in layer.get_weights())
            scale = gain / np.sqrt(variance + EPSILON)
            folded[name] = fold(student.get_layer(name).get_weights()[0], scale, offset - mean * scale)
    return folded
