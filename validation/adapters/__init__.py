"""One module per framework: the discrete update it documents, and how to record it."""
