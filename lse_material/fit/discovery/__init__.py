"""The search for the number of modes and the transition scale."""
