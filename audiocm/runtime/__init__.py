"""Exported students without torch: numpy, ONNX Runtime or OpenVINO, and tokenizers are all it needs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
