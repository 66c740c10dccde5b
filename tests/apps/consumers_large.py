"""A handler that tells how much it got."""
import notes
from hurricane.amqp.basehandler import TopicHandler


class Measuring(TopicHandler):
    def on_message(self, channel, basic_deliver, properties, body):
        notes.note(str(len(body)))
        self.acknowledge_message(basic_deliver.delivery_tag)
