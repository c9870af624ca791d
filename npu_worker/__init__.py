"""The worker: the one process that owns the device. It pulls batches from the broker and returns logits."""

import os
import sys
from typing import Any, cast

# Nothing is sent anywhere: ``import openvino`` alone reports to its maker when ``openvino_telemetry`` can be
# imported (consent is taken for granted), and so does nncf. A None here makes that import fail, which both take
# for "not installed". It must stand before the first import of openvino.
cast("dict[str, Any]", sys.modules).setdefault("openvino_telemetry", None)
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
