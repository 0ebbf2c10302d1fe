"""From a trained checkpoint to a verified, quantised model bundle."""
