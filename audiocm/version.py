"""The version of audiocm."""

__version__ = "0.1.0"
