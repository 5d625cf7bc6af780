"""Embedders that are Keras models."""

import contextlib
import hashlib
import json
import logging
import socket
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simquery.embedders.backend import has_gpu, load_tensorflow
from simquery.embedders.cpu import CpuInference, agrees
from simquery.embedders.embedder import Features, Pixels
from simquery.embedders.networks import Network
from simquery.embedders.weights import find_weights, missing_weights
from simquery.errors import EmbedderError, UnknownModelError, WeightsError
from simquery.pictures.decoding import RESAMPLING

__all__ = ["KerasEmbedder", "application_embedder", "file_embedder"]

_CONNECT_SECONDS = 30.0
_VECTOR_RANK, _MAP_RANK = 2, 4
_MIXED = "mixed_float16"
_LARGEST_BATCH = {"GPU": 256, "CPU": 32}
"""Pictures in one batch; halved each time that memory runs out (docs/adr/0022)."""

_LONGEST_CONFIGURATION = 64 << 20
"""Most bytes that a saved model's configuration may have; a longer one is taken for a decompression bomb."""

logger = logging.getLogger(__name__)


class KerasEmbedder:
    """A Keras model as an embedder.

    Parameters
    ----------
    name
        Model name.
    model
        `keras.Model` with one input of shape (n, height, width, 3) and one output: a vector, or a feature map, which
        is averaged over its positions.
    preprocess
        Function on tensors, from float32 pixel values 0-255 to the model's input; None if the model takes pixel values.
    identity
        Description of what determines the result besides the model; part of the fingerprint.

    Raises
    ------
    WeightsError
        When the model has other inputs or outputs.
    """

    def __init__(
        self, name: str, model: Any, preprocess: Callable[[Any], Any] | None = None, identity: str = ""
    ) -> None:
        tf = load_tensorflow()
        _, height, width, channels = _shape(model.input_shape, (_MAP_RANK,)) or (None,) * _MAP_RANK
        if height is None or width is None or channels != 3:  # noqa: PLR2004
            raise WeightsError(
                f"Model '{name}' has input of shape {model.input_shape}; it must take RGB pictures of a fixed size."
            )
        dims = (_shape(model.output_shape, (_VECTOR_RANK, _MAP_RANK)) or (None,))[-1]
        if dims is None:
            raise WeightsError(
                f"Model '{name}' has output of shape {model.output_shape}; it must return one vector of a fixed length,"
                " or one feature map, for each picture."
            )
        self.name = name
        self.dims = int(dims)
        self.input_size: tuple[int, int] = (int(height), int(width))
        self._preprocess = preprocess
        self._identity = f"{identity}|{self.input_size}|{RESAMPLING}"
        self._out_of_memory = tf.errors.ResourceExhaustedError
        self._batch = _LARGEST_BATCH["GPU" if has_gpu() else "CPU"]
        self._use(model, "tensorflow")

    def _use(self, model: Any, inference: str) -> None:
        tf = load_tensorflow()
        preprocess = self._preprocess

        def features(pixels: Any) -> Any:
            values = tf.cast(pixels, tf.float32)
            output = tf.cast(model(preprocess(values) if preprocess else values, training=False), tf.float32)
            return tf.reduce_mean(output, axis=(1, 2)) if len(output.shape) == _MAP_RANK else output

        signature = [tf.TensorSpec((None, *self.input_size, 3), tf.uint8)]
        self._model = model
        self._features = tf.function(features, input_signature=signature)
        self._accelerated: CpuInference | None = None
        self.fingerprint = _fingerprint(model, self._identity)
        self.inference = inference
        """Engine that computes the embeddings: ``tensorflow``, ``openvino``, or ``tensorflow mixed_float16``."""

    def embed(self, batch: Pixels) -> Features:
        """Return the feature vectors of a batch of pictures, in the same order."""
        if self._accelerated is not None:
            return self._accelerated(batch)
        step = self._batch  # `_embed` makes it smaller when memory runs out
        return np.concatenate(
            [self._embed(batch[start : start + step]) for start in range(0, max(len(batch), 1), step)]
        )

    def mix_precision(self) -> None:
        """Compute in float16 from now on, with weights in float32.

        This changes the fingerprint, because the vectors differ too much from float32 vectors to be compared with them.
        """
        self._identity += f"|{_MIXED}"
        self._use(_mixed(self._model), f"tensorflow {_MIXED}")

    def accelerate(self) -> bool:
        """Let OpenVINO compute the embeddings from now on, unless its results differ; return whether it does."""
        try:
            compiled = CpuInference(self._features.get_concrete_function(), self.input_size, self.dims)
            same, difference = agrees(self.embed, compiled, self.input_size)
        except Exception as error:  # noqa: BLE001  (it may not know a layer, or this processor)
            logger.warning("OpenVINO cannot run '%s' (%s); TensorFlow runs it.", self.name, _first_line(error))
            return False
        if same:
            self._accelerated, self.inference = compiled, "openvino"
        else:
            logger.warning(
                "OpenVINO's embeddings of '%s' differ by %.1e from TensorFlow's; TensorFlow runs it.",
                self.name,
                difference,
            )
        logger.debug("embeddings of '%s' by OpenVINO differ by %.1e", self.name, difference)
        return same

    def _embed(self, batch: Pixels) -> Features:
        # On processors with AVX-512, TensorFlow uses another kernel for a batch of one; the last digits then differ.
        alone = len(batch) == 1
        try:
            return np.asarray(self._features(np.repeat(batch, 2, axis=0) if alone else batch), np.float32)[: len(batch)]
        except self._out_of_memory as error:
            if alone:
                raise EmbedderError(
                    f"Model '{self.name}' runs out of memory with a single picture: end other programs that use memory"
                    " (or the GPU, if there is one), or choose a smaller model."
                ) from error
            self._batch = max(1, len(batch) // 2)
            logger.info("'%s': not enough memory for %d pictures at once", self.name, len(batch))
            return np.concatenate([self._embed(half) for half in np.array_split(batch, 2)])


def application_embedder(
    network: Network, layer: str | None, weights_dir: Path | None, file: Path | None = None
) -> KerasEmbedder:
    """Build the embedder of a network of `keras.applications`, with weights from this machine or downloaded by Keras.

    Parameters
    ----------
    network
        The network.
    layer
        Keras name of the layer at which to cut the network; by default `Network.layer`.
    weights_dir
        Folder that is searched for weights first.
    file
        Weights file to use; by default the one that `find_weights` finds.

    Raises
    ------
    WeightsError
        When the weights are missing or do not fit.
    UnknownModelError
        When the network has no such layer.
    """
    load_tensorflow()
    import keras  # noqa: PLC0415

    file = file or find_weights(network, weights_dir)
    build = getattr(keras.applications, network.application)
    arguments = dict(network.arguments) | {"include_top": network.include_top}
    if not network.include_top:
        arguments["input_shape"] = (network.side, network.side, 3)
    if file is None:
        model = _download(network, lambda: build(weights="imagenet", **arguments), weights_dir)
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of layers without weights in the file
                model = build(weights=str(file), **arguments)
        except (ValueError, OSError, KeyError, UserWarning) as error:
            raise WeightsError(
                f"'{file}' does not hold the weights of '{network.name}': {_first_line(error)}"
            ) from error
    name = f"{network.name}@{layer}" if layer else network.name
    cut = layer or (network.layer if network.include_top else None)
    if cut:
        model = _cut(keras, model, cut, network.name)
    preprocess = getattr(keras.applications, network.module).preprocess_input
    return KerasEmbedder(name, model, preprocess, f"{network.module}|{layer or network.layer}")


def file_embedder(name: str, file: Path) -> KerasEmbedder:
    """Build the embedder of a saved Keras model (``.keras`` or ``.h5``) that takes pixel values 0-255.

    Keras loads the file in safe mode: code in it is refused and never run.

    Raises
    ------
    WeightsError
        When the file cannot be read as a Keras model, or holds code.
    """
    if not file.is_file():
        raise WeightsError(f"Model '{name}' is set to '{file}', which is not a file.")
    load_tensorflow()
    import keras  # noqa: PLC0415

    try:
        identity = _configuration(file)
        model = keras.models.load_model(file, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError, RecursionError, zipfile.BadZipFile) as error:
        if "safe_mode" in str(error):
            raise WeightsError(
                f"'{file}' contains code (a Lambda layer, for example), which simquery does not run: replace it by"
                " layers of Keras, or set the model to a class of your own, as 'module:attribute'."
            ) from error
        raise WeightsError(f"'{file}' cannot be read as a Keras model: {_first_line(error)}") from error
    return KerasEmbedder(name, model, identity=identity)


def _configuration(file: Path) -> str:
    """Return the architecture as the file describes it, which does not depend on the version of Keras."""
    if file.suffix == ".keras":
        with zipfile.ZipFile(file) as archive, archive.open("config.json") as member:
            described = member.read(_LONGEST_CONFIGURATION)
    else:
        import h5py  # noqa: PLC0415

        with h5py.File(file, "r") as archive:
            described = archive.attrs["model_config"]
    configuration = json.loads(described)
    configuration.pop("compile_config", None)  # concerns training
    return json.dumps(configuration, sort_keys=True)


def _shape(shape: Any, ranks: tuple[int, ...]) -> Any:
    """Return the shape of a single tensor of one of these ranks; None for another rank, or for several tensors."""
    return shape if isinstance(shape, tuple) and len(shape) in ranks and not isinstance(shape[-1], tuple) else None


def _download(network: Network, build: Callable[[], Any], weights_dir: Path | None) -> Any:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)  # Keras sets none, so a machine without internet would wait for minutes
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras reports its download on stdout, which is for results
            return build()
    except Exception as error:  # Keras raises a bare Exception when the download fails
        raise missing_weights(network, weights_dir, _first_line(error)) from error
    finally:
        socket.setdefaulttimeout(before)


def _cut(keras: Any, model: Any, layer: str, network: str) -> Any:
    # Model names are in lower case, because index names must be; the names of layers may have capitals.
    found = next((candidate for candidate in model.layers if candidate.name.lower() == layer.lower()), None)
    if found is None:
        names = ", ".join(candidate.name for candidate in model.layers[-8:])
        raise UnknownModelError(f"Network '{network}' has no layer '{layer}'. Its last layers are: {names}.")
    return keras.Model(model.input, found.output)


def _mixed(model: Any) -> Any:
    """Return the same network and weights with layers that compute in float16, whatever precision it was saved with."""
    import keras  # noqa: PLC0415

    def in_half(layer: Any) -> Any:
        return layer.__class__.from_config(layer.get_config() | {"dtype": _MIXED})

    mixed = keras.models.clone_model(model, clone_function=in_half, recursive=True)
    mixed.set_weights(model.get_weights())
    return mixed


def _fingerprint(model: Any, identity: str) -> str:
    digest = hashlib.sha256(identity.encode())
    for variable in model.weights:
        value = np.asarray(variable)
        digest.update(json.dumps([str(value.dtype), value.shape]).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
