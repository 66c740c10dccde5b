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
    /// What there is of a message that is not whole.
    begun: Option<Begun>,
    /// The frame of it that is not whole; its length and mask are those of what is still to come.
    partial: Option<Header>,
}

#[derive(Debug)]
struct Begun {
    text: bool,
    compressed: bool,
    data: BytesMut,
    /// How much of the data has been found to be UTF-8.
    checked: usize,
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
            partial: None,
        }
    }

    /// How much is still to come of a frame that has begun (bytes).
    pub(crate) fn missing(&self) -> usize {
        self.partial.as_ref().map_or(0, Header::payload_len)
    }

    /// The next message or control frame that is whole; takes its bytes out of `input`.
    ///
    /// Text is looked at as it comes, since what is not UTF-8 is to be refused at once.
    pub(crate) fn read(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, Violation> {
        loop {
            if let Some(header) = self.partial.take() {
                match self.payload(header, input)? {
                    Some(message) => return Ok(Some(message)),
                    None if self.partial.is_some() => return Ok(None),
                    None => {}
                }
            }
            let (header, offset) = match self.codec.decode_header(input)? {
                Parsing::Done { value, offset } => (value, offset),
                Parsing::NeedMore(_) => return Ok(None),
            };
            if !header.is_masked() {
                return Err(Violation::protocol("a frame is not masked"));
            }
            if !header.opcode().is_control() {
                self.begin(&header)?;
                input.advance(offset);
                self.partial = Some(header);
                continue;
            }
            if header.is_rsv1() {
                return Err(Violation::protocol("a reserved bit is set"));
            }
            if input.len() < offset + header.payload_len() {
                return Ok(None);
            }
            input.advance(offset);
            let mut data = input.split_to(header.payload_len());
            Codec::apply_mask(&header, &mut data);
            return match header.opcode() {
                OpCode::Ping => Ok(Some(Incoming::Ping(data.to_vec()))),
                OpCode::Pong => Ok(Some(Incoming::Pong)),
                _ => close(&data).map(Some),
            };
        }
    }

    /// Notes that a frame of a message begins.
    fn begin(&mut self, header: &Header) -> Result<(), Violation> {
        let length = match (&self.begun, header.opcode()) {
            (None, OpCode::Continue) => {
                return Err(Violation::protocol("there is no message to go on with"));
            }
            (Some(_), OpCode::Continue) if header.is_rsv1() => {
                return Err(Violation::protocol("a reserved bit is set"));
            }
            (Some(begun), OpCode::Continue) => begun.data.len() + header.payload_len(),
            (Some(_), _) => {
                return Err(Violation::protocol("a message begins within another one"));
            }
            (None, kind) => {
                self.begun = Some(Begun {
                    text: kind == OpCode::Text,
                    compressed: header.is_rsv1(),
                    data: BytesMut::new(),
                    checked: 0,
                });
                header.payload_len()
            }
        };
        if length > self.most {
            return Err(Violation::too_big());
        }
        Ok(())
    }

    /// Takes what there is of a frame; the message, if it is the last one and whole.
    fn payload(
        &mut self,
        mut header: Header,
        input: &mut BytesMut,
    ) -> Result<Option<Incoming>, Violation> {
        let mut data = input.split_to(header.payload_len().min(input.len()));
        Codec::apply_mask(&header, &mut data);
        let missing = header.payload_len() - data.len();
        let begun = self
            .begun
            .as_mut()
            .expect("a frame is of a message that has begun");
        // The mask goes on where it stopped.
        let turned = 8 * (data.len() % 4) as u32;
        begun.add(data)?;
        if missing > 0 {
            header.set_mask(header.mask().rotate_left(turned));
            header.set_payload_len(missing);
            self.partial = Some(header);
        } else if header.is_fin() {
            let message = self.begun.take().map(|begun| begun.end(self.most));
            return message.transpose();
        }
        Ok(None)
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

// === impl Begun ===

impl Begun {
    fn add(&mut self, data: BytesMut) -> Result<(), Violation> {
        if self.data.is_empty() {
            self.data = data;
        } else {
            self.data.extend_from_slice(&data);
        }
        if !self.text || self.compressed {
            return Ok(());
        }
        match std::str::from_utf8(&self.data[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            // It ends within a character.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::not_text()),
        }
        Ok(())
    }

    /// The message, when all of it is there.
    fn end(self, most: usize) -> Result<Incoming, Violation> {
        let mut data = self.data;
        let mut is_text = self.checked == data.len();
        if self.compressed {
            data = BytesMut::from(decompress(&data, most)?.as_slice());
            is_text = self.text && std::str::from_utf8(&data).is_ok();
        }
        if self.text && !is_text {
            return Err(Violation::not_text());
        }
        Ok(Incoming::Message {
            text: self.text,
            data,
        })
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
