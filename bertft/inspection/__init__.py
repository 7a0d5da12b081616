"""Looking inside: what a model sees of a row, what it attends to, why it answers so, and where it is wrong."""
