"""Public corpora and tables of your own to manifests: unpacked, verified, reported."""
