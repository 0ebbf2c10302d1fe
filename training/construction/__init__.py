"""Training data from long recordings and rough transcripts (section 5.1 of the paper)."""
