//! `permessage-deflate` (RFC 7692).
//!
//! Each message is compressed by itself, in both directions: what a connection would have to
//! remember otherwise, some hundred kilobytes, is more than most connections are worth.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::websocket::{Violation, code};

/// What a sender takes off the end of a message, and a receiver puts back.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// How much room is made at a time (bytes).
const STEP: usize = 4096;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deflate {
    /// The size of the window that we compress with, as a power of two; none where it is free.
    window: Option<u8>,
}

// === impl Deflate ===

impl Deflate {
    /// The first offer in a `Sec-WebSocket-Extensions` header that can be taken.
    pub(crate) fn agree(offers: &str) -> Option<Self> {
        offers.split(',').find_map(Self::take)
    }

    fn take(offer: &str) -> Option<Self> {
        let mut parameters = offer.split(';').map(str::trim);
        if parameters.next()? != "permessage-deflate" {
            return None;
        }
        let mut deflate = Self { window: None };
        let mut seen = Vec::new();
        for parameter in parameters {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (parameter, None),
            };
            // One that comes twice makes the offer invalid.
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            let bits = || value?.parse().ok().filter(|bits| (8..=15).contains(bits));
            match (name, value) {
                ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
                // We can read whatever window it has.
                ("client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(_)) => {
                    bits()?;
                }
                // The library does not do 8.
                ("server_max_window_bits", Some(_)) => {
                    deflate.window = Some(bits().filter(|bits| *bits > 8)?);
                }
                _ => return None,
            }
        }
        Some(deflate)
    }

    /// What the answer's `Sec-WebSocket-Extensions` header says.
    pub(crate) fn answer(self) -> String {
        let mut answer =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if let Some(bits) = self.window {
            answer.push_str(&format!("; server_max_window_bits={bits}"));
        }
        answer
    }

    pub(crate) fn compress(self, data: &[u8]) -> Vec<u8> {
        let bits = self.window.unwrap_or(15);
        let mut encoder = Compress::new_with_window_bits(Compression::fast(), false, bits);
        let mut out = Vec::with_capacity(data.len() / 2 + 64);
        loop {
            let taken = usize::try_from(encoder.total_in()).expect("it is in memory");
            if out.capacity() - out.len() < 64 {
                out.reserve(STEP);
            }
            let status = encoder.compress_vec(&data[taken..], &mut out, FlushCompress::Sync);
            let done = encoder.total_in() == data.len() as u64 && out.len() < out.capacity();
            // An error is not possible: the encoder was made just now.
            if done || status.is_err() {
                break;
            }
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        out
    }
}

/// The message that was compressed, unless it is longer than `most`.
pub(crate) fn decompress(data: &[u8], most: usize) -> Result<Vec<u8>, Violation> {
    let mut decoder = Decompress::new(false);
    let mut out = Vec::with_capacity((data.len() * 4).clamp(64, most.max(64)));
    let input = [data, &TAIL[..]].concat();
    loop {
        if out.len() == out.capacity() {
            if out.len() > most {
                return Err(Violation::too_big());
            }
            out.reserve(STEP.max(out.len()).min(most + 1));
        }
        let (taken, made) = (total_in(&decoder), out.len());
        match decoder.decompress_vec(&input[taken..], &mut out, FlushDecompress::Sync) {
            Err(_) => {
                return Err(Violation {
                    code: code::NOT_TEXT,
                    reason: "the message is not compressed as it should be",
                });
            }
            // A block that says it is the last is followed by nothing (RFC 7692 section 7.2.3.4).
            Ok(Status::StreamEnd) => break,
            Ok(Status::Ok | Status::BufError) => {}
        }
        let stands = total_in(&decoder) == taken && out.len() == made;
        if out.len() < out.capacity() && (stands || total_in(&decoder) == input.len()) {
            break;
        }
    }
    if out.len() > most {
        return Err(Violation::too_big());
    }
    Ok(out)
}

fn total_in(decoder: &Decompress) -> usize {
    usize::try_from(decoder.total_in()).expect("it is in memory")
}
