import asyncio
import json
import unittest

from hurricane import metrics
from hurricane.metrics.exceptions import MetricIdAlreadyRegistered
from hurricane.worker import metrics as gather


class Registry(unittest.TestCase):
    def register(self, metric):
        metrics.registry.register(metric)
        self.addCleanup(metrics.registry.unregister, metric)
        return metric

    def test_the_metrics_of_the_server_are_there_by_their_codes(self):
        self.assertEqual(list(metrics.registry.metrics), [
            "request_counter", "request_queue_length", "response_time_average", "startup_time", "health", "readiness",
            "response_time_seconds", "response_size_bytes", "path_requests_total", "hurricane"])

    def test_a_code_is_taken_once(self):
        class Twice(metrics.StoredMetric):
            code = "twice"

        self.register(Twice)
        with self.assertRaisesRegex(MetricIdAlreadyRegistered, r"^Metric ID \(twice\) is already registered\.$"):
            metrics.registry.register(Twice)
        metrics.registry.unregister(Twice)
        metrics.registry.unregister(Twice)
        with self.assertRaises(KeyError):
            Twice.get()

    def test_values_are_those_of_the_one_instance(self):
        class Stored(metrics.StoredMetric):
            code = "stored"

        class Counter(metrics.CounterMetric):
            code = "counter"

        class Average(metrics.AverageMetric):
            code = "average"

        class Calculated(metrics.CalculatedMetric):
            code = "calculated"

        for metric in (Stored, Counter, Average, Calculated):
            self.register(metric)
        Stored.set("anything")
        self.assertEqual(Stored.get(), "anything")
        for _ in range(3):
            Counter.increment()
        Counter.decrement()
        self.assertEqual(Counter.get(), 2)
        for value in (1, 2, 6):
            Average.add_value(value)
        self.assertEqual(Average.get(), 3)
        for ask in (Calculated.get, Calculated.get_value):
            with self.assertRaises(NotImplementedError):
                ask()
        Calculated.get_value = classmethod(lambda cls: cls.code)
        self.assertEqual(Calculated.get(), "calculated")

    def test_what_is_no_number_or_fails_is_not_gathered(self):
        class Text(metrics.StoredMetric):
            code = "text"

        class Broken(metrics.CalculatedMetric):
            code = "broken"

        class Fine(metrics.CalculatedMetric):
            code = "fine"
            is_async = True

            async def get_value(self):
                await asyncio.sleep(0)
                return 7

        for metric in (Text, Broken, Fine):
            self.register(metric)
        Text.set("seven")
        families = json.loads(gather.collect())
        self.assertEqual([(family["name"], family["samples"]) for family in families if not
                          family["name"].startswith(("python", "process"))], [("fine", [["fine", {}, "7.0"]])])


if __name__ == "__main__":
    unittest.main()
