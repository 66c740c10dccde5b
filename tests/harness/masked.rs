//! Frames of a WebSocket's client (RFC 6455 section 5), of whom each byte can be chosen; for the
//! tests of the protocol too, in `hurricane-python`.

const MASK: [u8; 4] = [0xa5, 0x3c, 0x0f, 0x71];

/// A frame as a client sends it; `first` is its first byte.
pub(crate) fn frame(first: u8, data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let mut out = vec![first];
    match data.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    let masked = data.iter().zip(MASK.iter().cycle());
    out.extend(masked.map(|(byte, key)| byte ^ key));
    out
}
