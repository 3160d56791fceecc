"""Published facts, each with its source: one file a subject."""
