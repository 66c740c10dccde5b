//! What a clerk says; the counterpart of `Clerk.send` in `amqp.py`, whose table of items this
//! follows.

use std::time::Duration;

use hurricane_core::{Outcome, Publication, bytes::Bytes};

use super::field::read_properties;
use crate::frame::marshal::{DecodeError, Reader};

/// One item of a `SENT` frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// The handler has returned.
    Done {
        number: i32,
        time: Duration,
        /// It has settled the message, and nothing else, with this.
        outcome: Option<Outcome>,
    },
    /// The handler has raised an exception, whose traceback has been shown.
    Failed { number: i32, time: Duration },
    /// A message is settled, or with `multiple` all up to it.
    Settle {
        number: i32,
        outcome: Outcome,
        multiple: bool,
    },
    /// Something is to be published.
    Publish {
        /// While which message was handled; 0 for none.
        number: i32,
        publication: Box<Publication>,
    },
    /// Something that cannot be done, say a routing key that is no text.
    Invalid { number: i32, error: DecodeError },
}

impl Said {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.item(Self::read_fields, |number, error| Self::Invalid {
            number,
            error,
        })
    }

    fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let fields = reader.sequence()?;
        let number = reader.int32()?;
        Ok(match fields {
            2 => Self::Failed {
                number,
                time: micros(reader)?,
            },
            3 => Self::Done {
                number,
                time: micros(reader)?,
                outcome: if reader.none() {
                    None
                } else {
                    Some(outcome(reader)?)
                },
            },
            4 => {
                let outcome = outcome(reader)?;
                let multiple = reader.bool()?;
                let outcome = match (outcome, reader.none()) {
                    (outcome, true) => outcome,
                    (_, false) => Outcome::Retry {
                        after: Some(Duration::from_millis(reader.unsigned()?)),
                    },
                };
                Self::Settle {
                    number,
                    outcome,
                    multiple,
                }
            }
            6 => {
                let (exchange, routing_key) = (reader.string()?, reader.string()?);
                let properties = read_properties(reader)?;
                let body = Bytes::copy_from_slice(reader.bytes()?);
                let mut publication = Publication::new(exchange, routing_key, body);
                publication.properties = properties;
                publication.mandatory = reader.bool()?;
                Self::Publish {
                    number,
                    publication: Box::new(publication),
                }
            }
            other => return Err(DecodeError::Fields(other)),
        })
    }
}

fn micros(reader: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    Ok(Duration::from_micros(reader.unsigned()?))
}

fn outcome(reader: &mut Reader<'_>) -> Result<Outcome, DecodeError> {
    Ok(match reader.int32()? {
        0 => Outcome::Ack,
        1 => Outcome::Requeue,
        2 => Outcome::Reject,
        3 => Outcome::Retry { after: None },
        other => return Err(DecodeError::Range(i64::from(other))),
    })
}
