"""What goes wrong with metrics."""


class MetricIdAlreadyRegistered(Exception):
    """There is a metric of that code."""
