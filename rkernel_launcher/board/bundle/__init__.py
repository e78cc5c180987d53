"""An ipykernel for boards that have none: built on the PC, from pinned wheels, and sent."""
