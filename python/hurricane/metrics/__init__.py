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
    HurricaneInfo,
    PathRequestsMetric,
    ReadinessMetric,
    RequestCounterMetric,
    RequestQueueLengthMetric,
    ResponseSizeBytes,
    ResponseTimeAverageMetric,
    ResponseTimeSeconds,
    StartupTimeMetric,
)

__all__ = [
    "AverageMetric", "CalculatedMetric", "CounterMetric", "HealthMetric", "HurricaneInfo", "HurricaneMetric",
    "MetricsRegistry", "ObservedMetric", "PathRequestsMetric", "ReadinessMetric", "RequestCounterMetric",
    "RequestQueueLengthMetric", "ResponseSizeBytes", "ResponseTimeAverageMetric", "ResponseTimeSeconds",
    "StartupTimeMetric", "StoredMetric", "registry",
]

for metric in (RequestCounterMetric, RequestQueueLengthMetric, ResponseTimeAverageMetric, StartupTimeMetric,
               HealthMetric, ReadinessMetric, ResponseTimeSeconds, ResponseSizeBytes, PathRequestsMetric,
               HurricaneInfo):
    registry.register(metric)
