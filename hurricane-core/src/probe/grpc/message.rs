//! The messages of `grpc.health.v1`, which are small enough to be written by hand.

use bytes::{BufMut as _, Bytes, BytesMut};

/// How a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServingStatus {
    Serving = 1,
    NotServing = 2,
    /// Told by `Watch` alone.
    ServiceUnknown = 3,
}

/// A message that is not one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The kinds of a field on the wire.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Reads `HealthCheckRequest`: the name of a service. Of `HealthListRequest` there is nothing to read.
pub(super) fn service(mut message: &[u8]) -> Result<String, Malformed> {
    let mut service = String::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, BYTES) => {
                let name = std::str::from_utf8(prefixed(&mut message)?);
                name.map_err(|_| Malformed)?.clone_into(&mut service);
            }
            (_, VARINT) => drop(varint(&mut message)?),
            (_, FIXED64) => drop(take(&mut message, 8)?),
            (_, BYTES) => drop(prefixed(&mut message)?),
            (_, FIXED32) => drop(take(&mut message, 4)?),
            _ => return Err(Malformed),
        }
    }
    Ok(service)
}

/// Writes `HealthCheckResponse`.
pub(super) fn check_response(status: ServingStatus) -> Bytes {
    framed(&[1 << 3, status as u8])
}

/// Writes `HealthListResponse`, a map from names to what `Check` would say. The names are short.
pub(super) fn list_response(statuses: &[(&str, ServingStatus)]) -> Bytes {
    let mut message = Vec::new();
    for (name, status) in statuses {
        let mut entry = field(1, name.as_bytes());
        entry.extend(field(2, &[1 << 3, *status as u8]));
        message.extend(field(1, &entry));
    }
    framed(&message)
}

/// A field with bytes, fewer than 128, so that their number is one byte.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    debug_assert!(bytes.len() < 128);
    let mut field = vec![number << 3 | BYTES as u8, bytes.len() as u8];
    field.extend(bytes);
    field
}

/// A message as gRPC sends it: not compressed, with its length before it.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("the messages are short"));
    frame.put_slice(message);
    frame.freeze()
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn prefixed<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = varint(bytes)?;
    take(bytes, usize::try_from(length).map_err(|_| Malformed)?)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_name_a_service() {
        assert_eq!(service(b""), Ok(String::new()));
        assert_eq!(service(b"\x0a\x05ready"), Ok("ready".to_owned()));
        // Fields that are not known yet are let pass, and the last of a kind counts.
        let message = b"\x10\x96\x01\x19\0\0\0\0\0\0\0\0\x22\x01x\x2d\0\0\0\0\x0a\x01a\x0a\x01b";
        assert_eq!(service(message), Ok("b".to_owned()));
        for broken in [
            &b"\x0a"[..],
            b"\x0a\x05read",
            b"\x0a\x01\xff",
            b"\x0b",
            b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(service(broken), Err(Malformed), "{broken:?}");
        }
    }

    #[test]
    fn responses_are_as_protobuf_has_them() {
        assert_eq!(
            &*check_response(ServingStatus::NotServing),
            b"\0\0\0\0\x02\x08\x02"
        );
        let list = list_response(&[
            ("", ServingStatus::Serving),
            ("ab", ServingStatus::NotServing),
        ]);
        assert_eq!(
            &*list,
            b"\0\0\0\0\x12\x0a\x06\x0a\0\x12\x02\x08\x01\x0a\x08\x0a\x02ab\x12\x02\x08\x02"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = service(&bytes);
        }
    }
}
