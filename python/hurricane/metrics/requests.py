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


class ResponseTimeSeconds(ObservedMetric):
    code = "response_time_seconds"


class ResponseSizeBytes(ObservedMetric):
    code = "response_size_bytes"


class PathRequestsMetric(CounterMetric):
    code = "path_requests_total"


class HurricaneInfo(StoredMetric):
    code = "hurricane"
