"""What several measurements, or parts of one, are made of."""
