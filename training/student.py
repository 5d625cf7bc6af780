"""The student during training: the trunk with batch normalisation, a projection to the teacher's space, the losses."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simquery.embedders.mini import network
from simquery.embedders.mini.archive import fold

MOMENTUM = 0.99
EPSILON = 1e-3


class Normalisation(keras.layers.Layer):  # type: ignore[misc]
    """Batch normalisation by TensorFlow's fused kernel, on a CPU in bfloat16 twice as fast as Keras' own."""

    def build(self, shape: Any) -> None:
        """Make gain, offset and the running statistics: float32 (channels,), whatever type the layer computes with."""

        def add(name: str, initial: str, trainable: bool) -> Any:
            return self.add_weight(
                name=name, shape=shape[-1:], initializer=initial, trainable=trainable, dtype="float32", autocast=False
            )

        self.gain, self.offset = add("gain", "ones", True), add("offset", "zeros", True)
        self.mean, self.variance = add("mean", "zeros", False), add("variance", "ones", False)

    def call(self, x: Any, training: bool = False) -> Any:
        """Normalise by the batch's statistics during training, otherwise by the running ones."""
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
    """Build the student: from pixels to features (n, 7, 7, dims) and their projection to the teacher's axes."""
    trunk = network.trunk(lambda x, name: Normalisation(name=f"{name}_norm")(x))
    projected = keras.layers.Conv2D(axes, 1, name="projection")(trunk.output)
    return keras.Model(trunk.input, [trunk.output, projected], name="student")


def pooled(maps: Any) -> Any:
    """Average maps over all positions, and scale to length 1: from (n, 7, 7, d) to float32 (n, d)."""
    return tf.math.l2_normalize(tf.reduce_mean(tf.cast(maps, tf.float32), (1, 2)), 1)


def losses(
    features: Any, projected: Any, target: Any, seen: tuple[Any, Any], sharpness: Any, *, temperature: float
) -> tuple[Any, Any, Any]:
    """Measure the distance between student and teacher in three ways.

    Parameters
    ----------
    features
        The student's features (n, 7, 7, dims).
    projected
        The same features, projected (n, 7, 7, axes).
    target
        The teacher's maps (n, 7, 7, axes).
    seen
        Pooled features of the m views before these, by student (m, dims) and teacher (m, axes).
    sharpness
        Learnt scalar that multiplies the student's cosines before they are compared.
    temperature
        Divisor of the teacher's cosines: the smaller it is, the more the nearest neighbours count.

    Returns
    -------
    direction, map, relation
        Scalars. 1 - cosine of the pooled vectors; squared error of the maps relative to the teacher's own power;
        divergence between both sides' neighbourhoods in the batch and the views before it, measured on the
        final embedding (distributions over a queue as in "SEED: Self-supervised Distillation for Visual
        Representation", Fang et al. 2021; there the student is compared with the teacher's vectors, here with its own,
        as in "Similarity-Preserving Knowledge Distillation", Tung and Mori 2019).
    """
    projected, target = (tf.cast(x, tf.float32) for x in (projected, target))
    wanted = pooled(target)
    direction = 1 - tf.reduce_mean(tf.reduce_sum(pooled(projected) * wanted, 1))
    map_error = tf.reduce_mean(tf.square(projected - target)) / tf.reduce_mean(tf.square(target))

    embedding = pooled(features)
    # A picture's similarity to itself carries no information, so both distributions leave it out.
    itself = tf.pad(1e4 * tf.eye(tf.shape(target)[0]), [[0, 0], [0, tf.shape(seen[0])[0]]])
    ours, theirs = tf.concat([embedding, seen[0]], 0), tf.concat([wanted, seen[1]], 0)
    teacher = tf.nn.softmax(tf.matmul(wanted, theirs, transpose_b=True) / temperature - itself)
    student = tf.nn.log_softmax(tf.matmul(embedding, ours, transpose_b=True) * sharpness - itself)
    entropy = -tf.reduce_sum(teacher * tf.math.log(teacher + 1e-20), 1)
    relation = tf.reduce_mean(-tf.reduce_sum(teacher * student, 1) - entropy)
    return direction, map_error, relation


def convolutions(student: Any) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return kernel and bias of every convolution of the trunk, with the normalisation folded in."""
    folded = {}
    for layer in student.layers:
        if isinstance(layer, Normalisation):
            name = layer.name.removesuffix("_norm")
            gain, offset, mean, variance = (np.asarray(v) for v in layer.get_weights())
            scale = gain / np.sqrt(variance + EPSILON)
            folded[name] = fold(student.get_layer(name).get_weights()[0], scale, offset - mean * scale)
    return folded
