"""ONNX Runtime, told to keep to itself: the only place that imports it.

From 1.31 on, importing it writes an id of the device and a queue of events under the user's cache
folder and starts what would send them; switching that off afterwards comes too late for the first.
Nothing of a device may leave it unasked, so the variable is set before the import. Who wants it
otherwise sets it to 0.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
