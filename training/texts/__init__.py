"""Text before anything learns from it: its encoding, script, numerals, and its tokens."""
