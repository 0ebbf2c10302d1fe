"""What runs a TFLite file: one module for each runtime, all with the face of `runtime.Runtime`."""
