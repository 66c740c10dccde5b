"""The metrics of this process, by code."""
from hurricane.metrics.exceptions import MetricIdAlreadyRegistered


class MetricsRegistry:
    """Makes the one instance of each class that is registered."""

    def __init__(self):
        self.metrics = {}

    def register(self, metric_class):
        metric = metric_class()
        if metric.code in self.metrics:
            raise MetricIdAlreadyRegistered(f"Metric ID ({metric.code}) is already registered.")
        self.metrics[metric.code] = metric

    def unregister(self, metric_class):
        self.metrics.pop(metric_class.code, None)

    def get(self, code):
        return self.metrics[code]


registry = MetricsRegistry()
