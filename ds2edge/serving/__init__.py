"""Batch Dispatch: many live streams on one machine, whose acoustic steps are run together."""
