"""The acoustic model: layers, recurrence, losses."""
