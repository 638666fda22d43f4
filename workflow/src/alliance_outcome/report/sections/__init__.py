"""One module per section of the report; each turns the facts of a run into blocks."""
