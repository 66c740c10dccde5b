class IncompatibleOptions(Exception):
    """Options that exclude each other."""
