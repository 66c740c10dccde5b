"""Metrics of the project, in the classes of hurricane and, where a test asks for it, in prometheus_client."""
import os
import time

from django.http import HttpResponse
from hurricane.metrics import AverageMetric, CalculatedMetric, CounterMetric, StoredMetric, registry


class Orders(CounterMetric):
    code = "orders"


class Basket(AverageMetric):
    code = "basket-size"


class Shelf(StoredMetric):
    code = "shelf"


class Answer(CalculatedMetric):
    code = "answer"

    def get_value(self):
        return 42


class Later(CalculatedMetric):
    code = "later"
    is_async = True

    async def get_value(self):
        return 43


if os.environ.get("TEST_METRICS"):
    for metric in (Orders, Basket, Shelf, Answer, Later):
        registry.register(metric)

if os.environ.get("TEST_METRICS") == "prometheus":
    import prometheus_client

    sold = prometheus_client.Counter("sold", "Things that were sold.", ["thing"])
    price = prometheus_client.Histogram("price", "What they cost.", buckets=(1, 10))
    stock = prometheus_client.Gauge("stock", "What is left.", multiprocess_mode="min")


def count(request):
    time.sleep(float(request.GET.get("sleep", 0)))
    Orders.increment()
    Basket.add_value(int(request.GET.get("size", 1)))
    Shelf.set(7)
    if os.environ["TEST_METRICS"] == "prometheus":
        sold.labels("a \"thing\"").inc()
        price.observe(5)
        stock.set(int(request.GET.get("stock", 1)))
    return HttpResponse(str(os.getpid()))
