"""Prompts or text to sound, with the interface of diffusers' pipelines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
