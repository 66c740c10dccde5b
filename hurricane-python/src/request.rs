//! A request as the worker gets it: the part of the WSGI environment that differs between
//! requests (PEP 3333, "environ Variables"; CGI, RFC 3875 section 4.1), ready to be sent.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header, request};
use percent_encoding::percent_decode;

use crate::frame::{marshal::Writer, prepared::Prepared};

/// The fields of a request tuple, see `wsgi.Slot.handle` in Python.
const FIELDS: u8 = 9;

/// Writes everything of a request but its stream id and its body.
///
/// The result lies between [`head`] and the body in the request tuple. It is made once, when
/// the request comes in, and lives until the answer has come, so that a request which was given
/// to a worker but not begun there can be given to another one.
pub(crate) fn environ(
    parts: &request::Parts,
    client: Option<SocketAddr>,
    root_path: &str,
    body_length: Option<u64>,
) -> Prepared {
    let protocol = match parts.version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    };
    Prepared::new(|writer| {
        writer.common(|writer| writer.text(parts.method.as_str()));
        path(writer, parts.uri.path(), root_path);
        writer.latin1(parts.uri.query().unwrap_or_default().as_bytes());
        writer.common(|writer| writer.text(protocol));
        peer(writer, client);
        headers(writer, &parts.headers, body_length);
    })
}

/// Writes the head of a request tuple with its stream id.
pub(crate) fn head(writer: &mut Writer<'_>, stream: i32) {
    writer.tuple(FIELDS);
    writer.int(stream);
}

/// A path without the root path where the client sent it. A proxy in front may have taken that
/// off already; then the path stays as it is.
pub(crate) fn below<'a>(path: &'a str, root_path: &str) -> &'a str {
    path.strip_prefix(root_path)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(path)
}

/// `PATH_INFO`: percent-decoded, as latin-1, [below](below) the root path.
fn path(writer: &mut Writer<'_>, path: &str, root_path: &str) {
    let inner = below(path, root_path);
    if inner.contains('%') {
        writer.latin1(&percent_decode(inner.as_bytes()).collect::<Vec<u8>>());
    } else {
        writer.latin1(inner.as_bytes());
    }
}

fn peer(writer: &mut Writer<'_>, client: Option<SocketAddr>) {
    let Some(client) = client else {
        writer.text("");
        writer.text("");
        return;
    };
    writer.common(|writer| address(writer, client.ip()));
    let mut port = Decimal::default();
    port.number(client.port());
    writer.latin1(port.as_bytes());
}

/// A client's address as text.
pub(crate) fn address(writer: &mut Writer<'_>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mut text = Decimal::default();
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                text.number(u16::from(octet));
            }
            writer.latin1(text.as_bytes());
        }
        IpAddr::V6(address) => writer.text(&address.to_string()),
    }
}

/// Room for an IPv4 address. The formatting of the standard library, which knows widths and
/// signs, is a noticeable part of a quick request.
#[derive(Default)]
struct Decimal {
    text: [u8; 16],
    length: usize,
}

impl Decimal {
    fn push(&mut self, byte: u8) {
        self.text[self.length] = byte;
        self.length += 1;
    }

    fn number(&mut self, number: u16) {
        let mut place = match number {
            10_000.. => 10_000,
            1_000.. => 1_000,
            100.. => 100,
            10.. => 10,
            _ => 1,
        };
        while place > 0 {
            self.push(b'0' + (number / place % 10) as u8);
            place /= 10;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

fn headers(writer: &mut Writer<'_>, headers: &HeaderMap, body_length: Option<u64>) {
    writer.dict();
    if let Some(value) = headers.get(header::CONTENT_TYPE) {
        writer.common(|writer| writer.text("CONTENT_TYPE"));
        writer.common(|writer| writer.latin1(value.as_bytes()));
    }
    if let Some(length) = body_length {
        writer.common(|writer| writer.text("CONTENT_LENGTH"));
        writer.text(&length.to_string());
    }
    let mut fields = headers.iter().peekable();
    let mut values: Vec<u8> = Vec::new();
    while let Some((name, value)) = fields.next() {
        let mut repeated = fields.next_if(|(next, _)| *next == name);
        if !is_passed_on(name) {
            continue;
        }
        writer.common(|writer| variable(writer, name));
        if repeated.is_none() {
            writer.common(|writer| writer.latin1(value.as_bytes()));
            continue;
        }
        // Fields that are repeated are one list (RFC 9110 section 5.3), but cookies, which have
        // their own separator (RFC 6265 section 5.4).
        let separator: &[u8] = if name == header::COOKIE { b"; " } else { b"," };
        values.clear();
        values.extend_from_slice(value.as_bytes());
        while let Some((_, value)) = repeated {
            values.extend_from_slice(separator);
            values.extend_from_slice(value.as_bytes());
            repeated = fields.next_if(|(next, _)| *next == name);
        }
        writer.common(|writer| writer.latin1(&values));
    }
    writer.end_dict();
}

/// Whether a header becomes an `HTTP_…` variable.
fn is_passed_on(name: &HeaderName) -> bool {
    // These two have variables of their own, and the body is no longer chunked.
    let own = [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    // `HTTP_PROXY` is a setting to many HTTP client libraries (CVE-2016-5385, "httpoxy").
    !own.contains(name) && name != "proxy"
        // `X_Real_IP` would become the same variable as `X-Real-IP`, which a proxy in front
        // sets: an underscore would let a client forge it.
        && !name.as_str().contains('_')
}

/// `HTTP_` and the header's name in capitals, with `_` for `-`.
fn variable(writer: &mut Writer<'_>, name: &HeaderName) {
    let name = name.as_str().as_bytes();
    let mut text = [0; 128];
    if let Some(rest) = text.get_mut(..name.len() + 5) {
        rest[..5].copy_from_slice(b"HTTP_");
        for (to, from) in rest[5..].iter_mut().zip(name) {
            *to = if *from == b'-' {
                b'_'
            } else {
                from.to_ascii_uppercase()
            };
        }
        writer.latin1(rest);
    } else {
        let mut text = b"HTTP_".to_vec();
        text.extend(name.iter().map(|from| match from {
            b'-' => b'_',
            from => from.to_ascii_uppercase(),
        }));
        writer.latin1(&text);
    }
}

#[cfg(test)]
mod tests;
