"""The networks of `keras.applications` that simquery knows, each cut before its classification layers.

They are the six networks of the thesis (de Bie 2020, table 3.1) and three small ones. The thesis removes the
classification layers, so each network is cut at the penultimate layer: the pooled last feature map, or ``fc2`` in the
VGG networks.
"""

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["NETWORKS", "Network"]


@dataclass(frozen=True)
class Network:
    """A network of `keras.applications`.

    Attributes
    ----------
    name
        Model name in simquery.
    application
        Function of `keras.applications` that builds it.
    module
        Module of `keras.applications` with its ``preprocess_input``.
    layer
        Layer at which it is cut. ``avg_pool``: the last feature map, averaged over its positions.
    dims
        Length of the vector at that layer.
    side
        Height and width of its input in pixels.
    keras_file
        Name of the weights file in Keras' own cache.
    """

    name: str
    application: str
    module: str
    layer: str
    dims: int
    side: int
    keras_file: str
    arguments: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def include_top(self) -> bool:
        """Whether `layer` belongs to the classification layers, so that these must be built and then cut off."""
        return self.layer != "avg_pool"

    @property
    def weights_files(self) -> tuple[str, str]:
        """File names that the weights may have in ``SIMQUERY_WEIGHTS_DIR``."""
        return f"{self.name}.weights.h5", self.keras_file


_TF = "weights_tf_dim_ordering_tf_kernels"

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("xception", "Xception", "xception", "avg_pool", 2048, 299, f"xception_{_TF}_notop.h5"),
        Network("vgg16", "VGG16", "vgg16", "fc2", 4096, 224, f"vgg16_{_TF}.h5"),
        Network("vgg19", "VGG19", "vgg19", "fc2", 4096, 224, f"vgg19_{_TF}.h5"),
        Network("resnet50", "ResNet50", "resnet", "avg_pool", 2048, 224, f"resnet50_{_TF}_notop.h5"),
        Network(
            "inceptionresnetv2",
            "InceptionResNetV2",
            "inception_resnet_v2",
            "avg_pool",
            1536,
            299,
            f"inception_resnet_v2_{_TF}_notop.h5",
        ),
        Network("nasnetlarge", "NASNetLarge", "nasnet", "avg_pool", 4032, 331, "nasnet_large_no_top.h5"),
        Network("mobilenet", "MobileNet", "mobilenet", "avg_pool", 1024, 224, "mobilenet_1_0_224_tf_no_top.h5"),
        Network(
            "mobilenetv2",
            "MobileNetV2",
            "mobilenet_v2",
            "avg_pool",
            1280,
            224,
            f"mobilenet_v2_{_TF}_1.0_224_no_top.h5",
        ),
        Network(
            "mobilenetv2-0.35",
            "MobileNetV2",
            "mobilenet_v2",
            "avg_pool",
            1280,
            224,
            f"mobilenet_v2_{_TF}_0.35_224_no_top.h5",
            MappingProxyType({"alpha": 0.35}),
        ),
    )
}
"""The networks, by name."""
