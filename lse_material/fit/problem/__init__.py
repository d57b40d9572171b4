"""The fitting problem: rows of the data, the loss, and what is suspicious about either."""
