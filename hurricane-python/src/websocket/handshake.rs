//! The handshake (RFC 6455 section 4.2).

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use sha1::{Digest, Sha1};

use crate::{
    response::{Body, plain},
    websocket::deflate::Deflate,
};

/// What RFC 6455 has a server put behind the client's key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A handshake that can be accepted.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// What `Sec-WebSocket-Accept` is to be.
    accept: HeaderValue,
    pub(crate) deflate: Option<Deflate>,
    /// Those that the client offers.
    pub(crate) subprotocols: Vec<String>,
}

/// Whether a request asks for a WebSocket.
pub(crate) fn is_wanted<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request.version() == http::Version::HTTP_11
        && has(request.headers(), &header::UPGRADE, "websocket")
        && has(request.headers(), &header::CONNECTION, "upgrade")
}

impl Handshake {
    /// Reads a request that asks for a WebSocket.
    ///
    /// # Errors
    ///
    /// The answer to one that is not as it should be.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Box<Response<Body>>> {
        let one = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none())
        };
        let version = one(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
        if version != Some(b"13") {
            let mut answer = plain(StatusCode::UPGRADE_REQUIRED, "Upgrade Required\n");
            let version = HeaderValue::from_static("13");
            answer
                .headers_mut()
                .insert(header::SEC_WEBSOCKET_VERSION, version);
            return Err(Box::new(answer));
        }
        let key = one(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().trim_ascii());
        let is_key = |key: &&[u8]| STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
        let Some(key) = key.filter(is_key) else {
            return Err(Box::new(plain(StatusCode::BAD_REQUEST, "Bad Request\n")));
        };
        let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
        let offers = list(headers, &header::SEC_WEBSOCKET_EXTENSIONS).collect::<Vec<_>>();
        Ok(Self {
            accept: accept.try_into().expect("base64 is ASCII"),
            deflate: Deflate::agree(&offers.join(",")),
            subprotocols: list(headers, &header::SEC_WEBSOCKET_PROTOCOL)
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Makes the answer that opens the WebSocket of one that has the application's headers.
    pub(crate) fn accept(&self, mut response: Response<()>) -> Response<()> {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(deflate) = self.deflate {
            let answer = deflate.answer().try_into().expect("it is ASCII");
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, answer);
        }
        response
    }
}

fn has(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|value| value.eq_ignore_ascii_case(token))
}

/// The items of a header that is a list.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
}
