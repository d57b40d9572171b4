"""A material at quadrature points: stresses and tangents as stored values, and their derivatives in forms."""
