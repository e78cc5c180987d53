"""Start and reach a real ipykernel on a small Linux board."""
