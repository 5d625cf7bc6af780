"""Pictures per second of imagededup's encoder; `benchmarks/indexing.py` runs this in another environment.

    python benchmarks/imagededup_encoder.py FOLDER mobilenetv2|resnet50

The network is torchvision's of the same architecture, with random weights, which do not change its speed. Each
processor gets one loader process.
"""

import os
import sys
import time

from imagededup.methods import CNN
from imagededup.utils.models import CustomModel, MobilenetV3
from torch import nn
from torchvision import models

BUILDERS = {"mobilenetv2": models.mobilenet_v2, "resnet50": models.resnet50}
HEADS = {"fc", "classifier", "avgpool"}

if __name__ == "__main__":
    _, folder, name = sys.argv
    parts = [part for part_name, part in BUILDERS[name](weights=None).named_children() if part_name not in HEADS]
    network = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    encoder = CNN(verbose=False, model_config=CustomModel(name, network, MobilenetV3.transform))
    started = time.perf_counter()
    encoded = encoder.encode_images(folder, recursive=True, num_enc_workers=os.cpu_count() or 1)
    print(len(encoded) / (time.perf_counter() - started))
