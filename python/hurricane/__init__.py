"""Hurricane: the Python side of the server. Importing this package imports nothing else."""

__version__ = "0.1.0"
