"""The kinds of metrics. A class is registered; its class methods work on the one instance in the registry.

``prometheus`` may be a metric of ``prometheus_client``, which is then kept up to date. Without one the value is shown
under the metric's code.
"""
import inspect

from hurricane.metrics.registry import registry


class HurricaneMetric:
    code = ""
    is_async = False

    def __init__(self, is_async=None, code=None):
        if is_async is not None:
            self.is_async = is_async
        if code:
            self.code = code

    @classmethod
    def get_from_registry(cls):
        return registry.get(cls.code)


class StoredMetric(HurricaneMetric):
    """A value that is set."""

    value = None
    prometheus = None

    def __init__(self, code=None, initial=None):
        super().__init__(code=code)
        if initial is not None:
            self.value = initial

    @classmethod
    def set(cls, value):
        metric = cls.get_from_registry()
        metric.value = value
        show(metric, value)

    @classmethod
    def get(cls):
        return cls.get_from_registry().value


class CalculatedMetric(HurricaneMetric):
    """A value that is asked for at each scrape: ``get_value``, which is a coroutine function if ``is_async``."""

    prometheus = None

    def __init__(self, code=None):
        super().__init__(code=code)

    @classmethod
    def get(cls):
        cls.get_from_registry()
        # It may be a class method too.
        return cls.get_value() if inspect.ismethod(cls.get_value) else cls.get_value(cls)

    def get_value(self=None):
        raise NotImplementedError("a calculated metric has a method get_value")


class CounterMetric(StoredMetric):
    """A number that is counted up, and may be counted down."""

    value = 0

    def __init__(self, code=None, initial=None):
        super().__init__(code=code, initial=initial or 0)

    @classmethod
    def increment(cls):
        metric = cls.get_from_registry()
        metric.value += 1
        if metric.prometheus is not None:
            metric.prometheus.inc()

    @classmethod
    def decrement(cls):
        metric = cls.get_from_registry()
        metric.value -= 1
        if hasattr(metric.prometheus, "dec"):
            metric.prometheus.dec()


class AverageMetric(StoredMetric):
    """The mean of all values that were added."""

    value = 0

    def __init__(self, code=None, initial=None):
        super().__init__(code=code, initial=initial or 0)
        self.counter = 0

    @classmethod
    def add_value(cls, value):
        metric = cls.get_from_registry()
        metric.counter += 1
        metric.value += (value - metric.value) / metric.counter
        show(metric, metric.value)


class ObservedMetric(StoredMetric):
    """Values whose distribution matters: ``prometheus`` is a histogram or a summary."""

    @classmethod
    def observe(cls, value):
        metric = cls.get_from_registry()
        metric.value = value
        if metric.prometheus is not None:
            metric.prometheus.observe(value)


def show(metric, value):
    if hasattr(metric.prometheus, "set"):
        metric.prometheus.set(value)
