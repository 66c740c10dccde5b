"""The names that django-hurricane's users import, with their signatures."""
import importlib
import inspect
import unittest

METRICS = ("registry StoredMetric CounterMetric AverageMetric CalculatedMetric ObservedMetric HurricaneMetric "
           "MetricsRegistry")
WEBHOOKS = "webhook_registry StartupWebhook LivenessWebhook ReadinessWebhook"
SERVER = ("check_databases count_migrations check_db_and_migrations command_task static_watch signal_handler "
          "sanitize_probes")
HOOKS = """connect close_connection on_connection_open on_connection_open_error on_connection_closed reconnect
    open_channel on_channel_open add_on_channel_close_callback on_channel_closed setup_exchange on_exchange_declareok
    setup_queue get_routing_keys on_queue_declareok on_bindok set_qos on_basic_qos_ok start_consuming
    add_on_cancel_callback on_consumer_cancelled on_message acknowledge_message reject_message stop_consuming
    on_cancelok close_channel run stop"""

NAMES = {
    "hurricane": "__version__",
    "hurricane.metrics": METRICS,
    "hurricane.metrics.base":
        "HurricaneMetric StoredMetric CalculatedMetric CounterMetric AverageMetric ObservedMetric",
    "hurricane.metrics.registry": "MetricsRegistry",
    "hurricane.metrics.exceptions": "MetricIdAlreadyRegistered",
    "hurricane.metrics.requests": "",
    "hurricane.webhooks": WEBHOOKS,
    "hurricane.webhooks.base": "Webhook WebhookStatus",
    "hurricane.webhooks.registry": "",
    "hurricane.webhooks.webhook_types": "StartupWebhook LivenessWebhook ReadinessWebhook",
    "hurricane.webhooks.exceptions": "WebhookCodeAlreadyRegistered",
    "hurricane.server": SERVER,
    "hurricane.server.debugging": "setup_debugging setup_debugpy setup_pycharm",
    "hurricane.server.exceptions": "IncompatibleOptions",
    "hurricane.server.loggers": "STRUCTLOG_ENABLED logger access_log app_log metrics_log",
    "hurricane.amqp.basehandler": "_AMQPConsumer TopicHandler",
    "hurricane.amqp.worker": "AMQPClient",
}

SIGNATURES = {
    "hurricane.amqp.basehandler._AMQPConsumer":
        "queue_name exchange_name host port vhost username password",
    "hurricane.amqp.worker.AMQPClient": "consumer_class queue_name exchange_name amqp_host amqp_port amqp_vhost",
    "hurricane.amqp.worker.AMQPClient.run": "self reconnect",
    "hurricane.webhooks.base.Webhook.run": "self url status error_trace close_loop loop",
    "hurricane.webhooks.base.Webhook": "code",
    "hurricane.metrics.base.StoredMetric": "code initial",
    "hurricane.metrics.base.CalculatedMetric": "code",
    "hurricane.server.check_databases": "",
    "hurricane.server.count_migrations": "",
    "hurricane.server.check_db_and_migrations": "webhook_url loop apply_migration",
    "hurricane.server.signal_handler": "signal frame",
    "hurricane.server.sanitize_probes": "options",
    "hurricane.server.static_watch": "",
}

CODES = {"request_counter", "request_queue_length", "response_time_average", "startup_time", "health", "readiness",
         "response_time_seconds", "response_size_bytes", "path_requests_total", "hurricane"}


def find(path):
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return getattr(find(module), name)


class Names(unittest.TestCase):
    def test_each_name_can_be_imported(self):
        for module, names in NAMES.items():
            found = importlib.import_module(module)
            for name in names.split():
                with self.subTest(f"{module}.{name}"):
                    self.assertTrue(hasattr(found, name))

    def test_each_takes_what_it_took(self):
        for path, names in SIGNATURES.items():
            with self.subTest(path):
                taken = inspect.signature(find(path)).parameters
                self.assertEqual(list(taken)[:len(names.split())], names.split())

    def test_each_hook_of_a_handler_is_there(self):
        consumer = find("hurricane.amqp.basehandler._AMQPConsumer")
        for name in HOOKS.split():
            with self.subTest(name):
                self.assertTrue(callable(getattr(consumer, name)))

    def test_the_registries_have_what_they_had(self):
        self.assertLessEqual(CODES, set(find("hurricane.metrics.registry").metrics))
        status = find("hurricane.webhooks.base.WebhookStatus")
        self.assertEqual({one.name: one.value for one in status},
                         {"FAILED": "failed", "SUCCEEDED": "succeeded", "WARNING": "warning"})

    def test_what_is_tornados_says_so(self):
        for module, name in (("hurricane.server", "make_http_server"), ("hurricane.server", "HurricaneApplication"),
                             ("hurricane.server.django", "anything"), ("hurricane.server.wsgi", "anything")):
            with self.subTest(f"{module}.{name}"), self.assertRaisesRegex(ImportError, "tornado"):
                exec(f"from {module} import {name}")


if __name__ == "__main__":
    unittest.main()
