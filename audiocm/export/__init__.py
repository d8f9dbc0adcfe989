"""Students as files that run without torch: ONNX graphs for ONNX Runtime (Python, browsers), or OpenVINO's format."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
