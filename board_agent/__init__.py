"""The board's side: start ipykernel and carry its channels over one link."""
