"""What a corpus consists of, and what is strange in it."""
