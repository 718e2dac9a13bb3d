"""Networks for programs other than this one: StableHLO and ONNX."""
