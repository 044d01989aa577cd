"""A trained model in use: recommendations, files of them, ONNX."""
