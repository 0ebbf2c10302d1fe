"""Speech from text, by free engines that are installed."""
