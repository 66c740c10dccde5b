"""Metrics of the application, in the classes of django-hurricane. ``/metrics`` shows them, summed over all workers."""
from hurricane.metrics.base import (
    AverageMetric,
    CalculatedMetric,
    CounterMetric,
    HurricaneMetric,
    ObservedMetric,
    StoredMetric,
)
from hurricane.metrics.registry import MetricsRegistry, registry
from hurricane.metrics.requests import (
    HealthMetric,
    InfoMetrics,
    PathCounterMetric,
    ReadinessMetric,
    RequestCounterMetric,
    RequestQueueLengthMetric,
    ResponseSizeMetric,
    ResponseTimeAverageMetric,
    ResponseTimeMetric,
    StartupTimeMetric,
)

__all__ = [
    "AverageMetric", "CalculatedMetric", "CounterMetric", "HealthMetric", "HurricaneMetric", "InfoMetrics",
    "MetricsRegistry", "ObservedMetric", "PathCounterMetric", "ReadinessMetric", "RequestCounterMetric",
    "RequestQueueLengthMetric", "ResponseSizeMetric", "ResponseTimeAverageMetric", "ResponseTimeMetric",
    "StartupTimeMetric", "StoredMetric", "registry",
]

for metric in (RequestCounterMetric, RequestQueueLengthMetric, ResponseTimeAverageMetric, StartupTimeMetric,
               HealthMetric, ReadinessMetric, ResponseTimeMetric, ResponseSizeMetric, PathCounterMetric, InfoMetrics):
    registry.register(metric)
