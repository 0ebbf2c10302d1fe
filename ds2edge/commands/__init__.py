"""The commands of `ds2edge` that need no extra, a module each."""
