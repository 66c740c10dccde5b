//! What a worker's loop says; the counterpart of `Link.emit` in `asgi_link.py`, whose table of
//! outcomes this follows.

use crate::frame::marshal::{DecodeError, Reader};

/// Pairs of a name and a value.
pub(crate) type Headers<'a> = Vec<(&'a [u8], &'a [u8])>;

/// One item of a `SENT` frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// The head of a response.
    Head {
        stream: i32,
        status: i32,
        headers: Headers<'a>,
        body: Body<'a>,
        /// The application has returned.
        done: bool,
    },
    /// The WebSocket is accepted.
    Accept {
        stream: i32,
        subprotocol: Option<&'a [u8]>,
        headers: Headers<'a>,
    },
    /// A message in text.
    Text { stream: i32, data: &'a [u8] },
    /// The WebSocket is to be closed.
    Close {
        stream: i32,
        code: i32,
        reason: &'a [u8],
    },
    /// A part of the body, or a message in bytes.
    Piece { stream: i32, data: &'a [u8] },
    /// What the client may fetch while the response is made: values of `Link`.
    Hint { stream: i32, links: Vec<&'a [u8]> },
    /// The last part of the body.
    Last { stream: i32, data: &'a [u8] },
    /// Trailers, with which the response is complete.
    Trailers { stream: i32, headers: Headers<'a> },
    /// Room for so many more bytes of the request's body, or for so many messages.
    Credit { stream: i32, count: i32 },
    /// The application has failed, and shown its traceback.
    Failed { stream: i32 },
    /// The application has returned.
    Done { stream: i32 },
    /// Something that is not what ASGI asks for, say a text for a header's value.
    Invalid { stream: i32, error: DecodeError },
}

/// The body of a response whose head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Whole(&'a [u8]),
    /// It comes in pieces.
    Later,
    /// It is what is in the file with this path.
    File(&'a [u8]),
}

impl<'a> Outcome<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.item(Self::read_fields, |stream, error| Self::Invalid {
            stream,
            error,
        })
    }

    fn read_fields(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let fields = reader.sequence()?;
        let stream = reader.int32()?;
        Ok(match fields {
            1 => Self::Done { stream },
            2 => match reader.peek()? {
                b'N' => {
                    reader.none();
                    Self::Failed { stream }
                }
                b'i' => Self::Credit {
                    stream,
                    count: reader.int32()?,
                },
                b'u' => Self::Text {
                    stream,
                    data: reader.text()?,
                },
                b's' => Self::Piece {
                    stream,
                    data: reader.bytes()?,
                },
                _ => Self::Trailers {
                    stream,
                    headers: headers(reader)?,
                },
            },
            3 if matches!(reader.peek()?, b'(' | b'[') => {
                let count = reader.sequence()?;
                let mut links = Vec::with_capacity(count.min(128));
                for _ in 0..count {
                    links.push(reader.bytes()?);
                }
                reader.skip()?;
                Self::Hint { stream, links }
            }
            3 => {
                let data = reader.bytes()?;
                reader.bool()?;
                Self::Last { stream, data }
            }
            4 if reader.peek()? == b'i' => {
                let code = reader.int32()?;
                let reason = reader.text()?;
                reader.skip()?;
                Self::Close {
                    stream,
                    code,
                    reason,
                }
            }
            4 => {
                let subprotocol = if reader.none() {
                    None
                } else {
                    Some(reader.text()?)
                };
                let headers = headers(reader)?;
                reader.skip()?;
                Self::Accept {
                    stream,
                    subprotocol,
                    headers,
                }
            }
            5 => Self::Head {
                stream,
                status: reader.int32()?,
                headers: headers(reader)?,
                body: match reader.peek()? {
                    b'N' => {
                        reader.none();
                        Body::Later
                    }
                    b'u' => Body::File(reader.text()?),
                    _ => Body::Whole(reader.bytes()?),
                },
                done: reader.bool()?,
            },
            other => return Err(DecodeError::Fields(other)),
        })
    }
}

fn headers<'a>(reader: &mut Reader<'a>) -> Result<Headers<'a>, DecodeError> {
    let count = reader.sequence()?;
    let mut headers = Vec::with_capacity(count.min(128));
    for _ in 0..count {
        match reader.sequence()? {
            2 => headers.push((reader.bytes()?, reader.bytes()?)),
            other => return Err(DecodeError::Fields(other)),
        }
    }
    Ok(headers)
}
