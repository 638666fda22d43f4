"""One module per question that a study can answer."""
