"""Deep Speech 2 training: configuration, model, data, training, evaluation."""
