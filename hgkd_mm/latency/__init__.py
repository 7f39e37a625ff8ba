"""Latency of backbones where they are meant to run: ONNX Runtime, one image at a time."""
