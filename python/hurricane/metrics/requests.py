"""The metrics of the server. It counts them itself, outside Python: here they have their codes and no values."""
from hurricane.metrics.base import AverageMetric, CalculatedMetric, CounterMetric, ObservedMetric, StoredMetric


class RequestCounterMetric(CounterMetric):
    code = "request_counter"


class ResponseTimeAverageMetric(AverageMetric):
    code = "response_time_average"


class RequestQueueLengthMetric(CalculatedMetric):
    code = "request_queue_length"

    def get_value(self):
        return 0


class StartupTimeMetric(StoredMetric):
    code = "startup_time"


class HealthMetric(StoredMetric):
    code = "health"


class ReadinessMetric(StoredMetric):
    code = "readiness"


class ResponseTimeMetric(ObservedMetric):
    code = "response_time_seconds"


class ResponseSizeMetric(ObservedMetric):
    code = "response_size_bytes"


class PathCounterMetric(CounterMetric):
    code = "path_requests_total"

    @classmethod
    def increment(cls, method, path):
        super().increment()


class InfoMetrics(StoredMetric):
    code = "hurricane"
