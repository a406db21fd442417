"""The outside world: one module or package for each thing, each implementing one port."""
