//! The frames between the server and a worker.
//!
//! The counterpart of `python/hurricane/worker/frame.py`, whose docstring has the table of all
//! frames. A frame is the length of its payload (4 bytes, little endian), its kind (1 byte) and
//! the payload: one value in `CPython`'s `marshal` format, see [`marshal`].

pub(crate) mod marshal;
pub(crate) mod prepared;

use bytes::Buf;

use self::marshal::{DecodeError, Reader, Writer};

/// The version of the table of frames; a worker that speaks another one is refused.
pub(crate) const PROTOCOL: i32 = 5;

/// The length of a frame's head.
pub(crate) const HEAD: usize = 5;

/// A longer frame is taken for a broken stream: the worker sends bodies in pieces far below it.
const MAX_PAYLOAD: usize = 256 << 20;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Sources = 1,
    Config = 2,
    Ready = 3,
    Failed = 4,
    Check = 5,
    Checked = 6,
    Recall = 7,
    Recalled = 8,
    Cancel = 9,
    Beat = 10,
    Handling = 11,
    Loaded = 12,
    Requests = 16,
    Answers = 17,
    Events = 18,
    Sent = 19,
    Tasks = 32,
    Log = 33,
    Done = 34,
    Record = 35,
}

impl TryFrom<u8> for Kind {
    type Error = DecodeError;

    fn try_from(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Sources,
            2 => Self::Config,
            3 => Self::Ready,
            4 => Self::Failed,
            5 => Self::Check,
            6 => Self::Checked,
            7 => Self::Recall,
            8 => Self::Recalled,
            9 => Self::Cancel,
            10 => Self::Beat,
            11 => Self::Handling,
            12 => Self::Loaded,
            16 => Self::Requests,
            17 => Self::Answers,
            18 => Self::Events,
            19 => Self::Sent,
            32 => Self::Tasks,
            33 => Self::Log,
            34 => Self::Done,
            35 => Self::Record,
            _ => return Err(DecodeError::Kind(byte)),
        })
    }
}

/// Appends a frame to `out` whose payload `write` writes.
pub(crate) fn encode(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Writer<'_>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind as u8]);
    write(&mut Writer::new(out));
    let length = u32::try_from(out.len() - start - HEAD).expect("a frame is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// The frame at the start of `input` and how many bytes it takes up; `None` while it is not whole.
pub(crate) fn decode(input: &[u8]) -> Result<Option<(Kind, Reader<'_>, usize)>, DecodeError> {
    if input.len() < HEAD {
        return Ok(None);
    }
    let length = (&input[..4]).get_u32_le() as usize;
    let kind = Kind::try_from(input[4])?;
    if length > MAX_PAYLOAD {
        return Err(DecodeError::TooLong(length));
    }
    Ok(input
        .get(HEAD..HEAD + length)
        .map(|payload| (kind, Reader::new(payload), HEAD + length)))
}

/// The bytes of a whole frame that begins with `input`, as far as its head tells.
pub(crate) fn needed(input: &[u8]) -> usize {
    if input.len() < HEAD {
        return HEAD;
    }
    HEAD + (&input[..4]).get_u32_le() as usize
}

/// One answer of a worker to one request, see the table in `frame.py`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// The head of a response, with its whole body, or with the body to follow (`None`).
    Head {
        stream: i32,
        status: &'a [u8],
        headers: Vec<(&'a [u8], &'a [u8])>,
        body: Option<&'a [u8]>,
    },
    /// A head that is not what PEP 3333 asks for, say with a number for a header's value.
    Invalid { stream: i32, error: DecodeError },
    /// A part of the body.
    Piece { stream: i32, data: &'a [u8] },
    /// The rest of the body is this part of the file whose descriptor comes with the frame.
    File {
        stream: i32,
        offset: u64,
        length: u64,
    },
    /// The body is complete.
    End { stream: i32 },
    /// The application failed; it has shown its traceback.
    Failed { stream: i32 },
}

impl<'a> Answer<'a> {
    /// Reads one item of the list that an `ANSWERS` frame holds.
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
            1 => Self::End { stream },
            2 if reader.none() => Self::Failed { stream },
            2 => Self::Piece {
                stream,
                data: reader.bytes()?,
            },
            3 => Self::File {
                stream,
                offset: reader.unsigned()?,
                length: reader.unsigned()?,
            },
            4 => {
                let status = reader.text()?;
                let count = reader.sequence()?;
                let mut headers = Vec::with_capacity(count.min(128));
                for _ in 0..count {
                    match reader.sequence()? {
                        2 => headers.push((reader.text()?, reader.text()?)),
                        other => return Err(DecodeError::Fields(other)),
                    }
                }
                let body = if reader.none() {
                    None
                } else {
                    Some(reader.bytes()?)
                };
                Self::Head {
                    stream,
                    status,
                    headers,
                    body,
                }
            }
            other => return Err(DecodeError::Fields(other)),
        })
    }
}

#[cfg(test)]
mod tests;
