//! The WebSocket protocol (RFC 6455) with compression (RFC 7692), without sockets.
//!
//! Frames and masks are soketto's. Here are messages, made of frames; control frames between
//! them; compression; and the codes that a connection is closed with.

pub(crate) mod deflate;
pub(crate) mod handshake;

use bytes::{Buf, BytesMut};
use soketto::{
    Parsing,
    base::{Codec, Error, Header, OpCode},
};

use self::deflate::{Deflate, decompress};

/// Why a connection is closed (RFC 6455 section 7.4.1).
pub(crate) mod code {
    pub(crate) const NORMAL: u16 = 1000;
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const PROTOCOL: u16 = 1002;
    pub(crate) const NONE: u16 = 1005;
    pub(crate) const ABNORMAL: u16 = 1006;
    pub(crate) const NOT_TEXT: u16 = 1007;
    pub(crate) const TOO_BIG: u16 = 1009;
    pub(crate) const FAILED: u16 = 1011;
}

/// The longest reason of a close frame (bytes).
const REASON: usize = 123;

/// Shorter messages (bytes) are not compressed.
const WORTH_COMPRESSING: usize = 128;

/// What comes from the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A message; text has been found to be UTF-8.
    Message {
        text: bool,
        data: BytesMut,
    },
    Ping(Vec<u8>),
    Pong,
    /// The code, 1005 for none, and the reason.
    Close(u16, String),
}

/// The client does not keep to the protocol, or to the limits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Violation {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// One side of a connection: the server's.
#[derive(Debug)]
pub(crate) struct Protocol {
    codec: Codec,
    /// The longest message (bytes).
    most: usize,
    deflate: Option<Deflate>,
    /// The frames of a message that is not whole.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    text: bool,
    compressed: bool,
    data: BytesMut,
}

// === impl Violation ===

impl Violation {
    fn protocol(reason: &'static str) -> Self {
        Self {
            code: code::PROTOCOL,
            reason,
        }
    }

    fn too_big() -> Self {
        Self {
            code: code::TOO_BIG,
            reason: "the message is too big",
        }
    }

    fn not_text() -> Self {
        Self {
            code: code::NOT_TEXT,
            reason: "the text is not UTF-8",
        }
    }
}

impl From<Error> for Violation {
    fn from(error: Error) -> Self {
        match error {
            Error::PayloadTooLarge { .. } => Self::too_big(),
            Error::FragmentedControl => Self::protocol("a control frame is in parts"),
            Error::InvalidControlFrameLen => Self::protocol("a control frame is too long"),
            Error::InvalidReservedBit(_) => Self::protocol("a reserved bit is set"),
            _ => Self::protocol("a frame has a reserved kind"),
        }
    }
}

// === impl Protocol ===

impl Protocol {
    pub(crate) fn new(most: usize, deflate: Option<Deflate>) -> Self {
        let mut codec = Codec::new();
        codec.set_max_data_size(most);
        if deflate.is_some() {
            codec.add_reserved_bits((true, false, false));
        }
        Self {
            codec,
            most,
            deflate,
            begun: None,
        }
    }

    /// The next message or control frame that is whole; takes its bytes out of `input`.
    pub(crate) fn read(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, Violation> {
        loop {
            let (header, offset) = match self.codec.decode_header(input)? {
                Parsing::Done { value, offset } => (value, offset),
                Parsing::NeedMore(_) => return Ok(None),
            };
            if !header.is_masked() {
                return Err(Violation::protocol("a frame is not masked"));
            }
            let rest = self.begun.as_ref().map_or(0, |begun| begun.data.len());
            if !header.opcode().is_control() && rest + header.payload_len() > self.most {
                return Err(Violation::too_big());
            }
            if input.len() < offset + header.payload_len() {
                return Ok(None);
            }
            input.advance(offset);
            let mut data = input.split_to(header.payload_len());
            Codec::apply_mask(&header, &mut data);
            if let Some(incoming) = self.frame(&header, data)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn frame(&mut self, header: &Header, data: BytesMut) -> Result<Option<Incoming>, Violation> {
        if header.is_rsv1() && (header.opcode().is_control() || header.opcode() == OpCode::Continue)
        {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        match header.opcode() {
            OpCode::Ping => Ok(Some(Incoming::Ping(data.to_vec()))),
            OpCode::Pong => Ok(Some(Incoming::Pong)),
            OpCode::Close => close(&data).map(Some),
            OpCode::Continue => {
                let Some(begun) = &mut self.begun else {
                    return Err(Violation::protocol("there is no message to go on with"));
                };
                begun.data.extend_from_slice(&data);
                if !header.is_fin() {
                    return Ok(None);
                }
                let begun = self.begun.take().expect("it was there just now");
                self.message(begun).map(Some)
            }
            kind => {
                if self.begun.is_some() {
                    return Err(Violation::protocol("a message begins within another one"));
                }
                let begun = Begun {
                    text: kind == OpCode::Text,
                    compressed: header.is_rsv1(),
                    data,
                };
                if header.is_fin() {
                    return self.message(begun).map(Some);
                }
                self.begun = Some(begun);
                Ok(None)
            }
        }
    }

    fn message(&self, message: Begun) -> Result<Incoming, Violation> {
        let data = if message.compressed {
            BytesMut::from(decompress(&message.data, self.most)?.as_slice())
        } else {
            message.data
        };
        if message.text && std::str::from_utf8(&data).is_err() {
            return Err(Violation::not_text());
        }
        Ok(Incoming::Message {
            text: message.text,
            data,
        })
    }

    /// Appends a message to `out`.
    pub(crate) fn write_message(&mut self, out: &mut Vec<u8>, text: bool, data: &[u8]) {
        let mut header = Header::new(if text { OpCode::Text } else { OpCode::Binary });
        match self.deflate {
            Some(deflate) if data.len() >= WORTH_COMPRESSING => {
                let data = deflate.compress(data);
                header.set_rsv1(true);
                self.write_frame(out, header, &data);
            }
            _ => self.write_frame(out, header, data),
        }
    }

    pub(crate) fn write_ping(&mut self, out: &mut Vec<u8>) {
        self.write_frame(out, Header::new(OpCode::Ping), b"");
    }

    pub(crate) fn write_pong(&mut self, out: &mut Vec<u8>, data: &[u8]) {
        self.write_frame(out, Header::new(OpCode::Pong), data);
    }

    /// Appends a close frame. One with a code that may not be sent has neither code nor reason.
    pub(crate) fn write_close(&mut self, out: &mut Vec<u8>, code: u16, reason: &str) {
        let mut data = Vec::new();
        if is_sendable(code) {
            data.extend_from_slice(&code.to_be_bytes());
            let end = (0..=REASON.min(reason.len()))
                .rev()
                .find(|end| reason.is_char_boundary(*end));
            data.extend_from_slice(&reason.as_bytes()[..end.unwrap_or_default()]);
        }
        self.write_frame(out, Header::new(OpCode::Close), &data);
    }

    fn write_frame(&mut self, out: &mut Vec<u8>, mut header: Header, data: &[u8]) {
        header.set_payload_len(data.len());
        out.extend_from_slice(self.codec.encode_header(&header));
        out.extend_from_slice(data);
    }
}

fn close(data: &[u8]) -> Result<Incoming, Violation> {
    match data {
        [] => Ok(Incoming::Close(code::NONE, String::new())),
        [_] => Err(Violation::protocol("a close frame has half a code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_sendable(code) {
                return Err(Violation::protocol(
                    "a close frame has a code that is not to be sent",
                ));
            }
            match std::str::from_utf8(reason) {
                Ok(reason) => Ok(Incoming::Close(code, reason.to_owned())),
                Err(_) => Err(Violation::not_text()),
            }
        }
    }
}

/// Whether a code may be in a close frame (RFC 6455 section 7.4, and what IANA has added).
fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests;
