"""What a model is worth: error rates with intervals, comparison, tuning, reports."""
