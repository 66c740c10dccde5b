//! What a clerk is told; the counterpart of `ThreadClerk.handle` in `amqp.py`.

use hurricane_core::Message;

use super::field::write_properties;
use crate::frame::marshal::Writer;

/// Writes a message.
pub(crate) fn deliver(writer: &mut Writer<'_>, number: i32, message: &Message) {
    writer.tuple(8);
    writer.int(number);
    writer.text(&message.exchange);
    writer.text(&message.routing_key);
    writer.bool(message.redelivered);
    writer.text(&message.consumer_tag);
    writer.int(i32::try_from(message.attempt).unwrap_or(i32::MAX));
    write_properties(writer, &message.properties);
    writer.bytes(&message.body);
}
