"""A material in UFL forms: energy, stress, the operator that calls compiled C, tangents, and what is known of a form."""
