"""TensorFlow, imported only when a network is needed, because the import takes seconds."""

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType

__all__ = ["has_gpu", "load_tensorflow"]


def load_tensorflow() -> ModuleType:
    """Import TensorFlow quietly, and let it take GPU memory as needed instead of all at once."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with _silenced_stderr():
        import tensorflow as tf  # noqa: PLC0415

        for gpu in tf.config.list_physical_devices("GPU"):
            with contextlib.suppress(RuntimeError):  # the GPU is in use already, with other settings
                tf.config.experimental.set_memory_growth(gpu, True)
    module: ModuleType = tf
    return module


def has_gpu() -> bool:
    """Return whether TensorFlow can use a GPU."""
    return bool(load_tensorflow().config.list_physical_devices("GPU"))


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    # TensorFlow's C++ code writes to file descriptor 2 before its log level takes effect.
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as sink:  # noqa: PTH123
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
