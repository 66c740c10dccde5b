"""Handlers of messages: see ``hurricane.amqp.basehandler``."""
