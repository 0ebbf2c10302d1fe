"""Manifests to batches: what there is to train on, checked, cached, left out."""
