"""What is done to recordings so that a model hears more than was recorded."""
