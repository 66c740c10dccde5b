//! A request for an event loop, from its head to its answer.

use std::{
    future::{poll_fn, ready},
    pin::Pin,
    task::Poll,
};

use bytes::Bytes;
use http::{Method, Request, Response, header, request};
use hurricane_core::server::EarlyHints;
use tokio::{sync::mpsc, task::yield_now};

use crate::{
    asgi::{
        event::{self, Start},
        lane::Call,
        socket::Upgrade,
        upload::Upload,
    },
    gateway::Gateway,
    response::Body,
    service::{Admission, BodyFailure, answered, body_failed, client},
    websocket::handshake::{self, Handshake},
};

/// A body of which more than this (bytes) is there is sent in parts.
const AHEAD: usize = 64 * 1024;

/// For so many turns of the runtime a body is waited for, which often comes right behind its head.
const TURNS: usize = 2;

/// What there is of a body when the request is handed on.
enum Read<B> {
    Whole(Bytes),
    Begun(Vec<u8>, Pin<Box<B>>),
    Expected(Pin<Box<B>>),
}

impl Gateway {
    /// Has a request answered by an application on an event loop.
    pub(crate) fn admit_to_loop<B>(&self, request: Request<B>) -> Admission
    where
        B: http_body::Body<Data = Bytes, Error: Send> + Send + 'static,
    {
        if handshake::is_wanted(&request) {
            return self.negotiate(request);
        }
        let (mut parts, body) = request.into_parts();
        if !body.is_end_stream() {
            return Admission::Continues(Box::pin(self.clone().stream(parts, body)));
        }
        let call = self.call(&mut parts, &Start::Whole(&[]));
        Admission::Decided(self.enqueue_call(call))
    }

    /// Reads what there is of the body, and streams the rest where the application asks for it.
    async fn stream<B>(self, mut parts: request::Parts, body: B) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Send> + Send + 'static,
    {
        let most = self.config().max_body_size;
        if body.size_hint().exact().is_some_and(|length| length > most) {
            return body_failed(&BodyFailure::TooLong);
        }
        let body = match read(&parts, body, most).await {
            Ok(read) => read,
            Err(error) => return body_failed(&error),
        };
        let start = match &body {
            Read::Whole(data) => Start::Whole(data),
            Read::Begun(..) => Start::Later,
            Read::Expected(_) => Start::Expected,
        };
        let mut call = self.call(&mut parts, &start);
        drop(parts);
        let (begun, body) = match body {
            Read::Whole(_) => {
                return answered(self.enqueue_call(call)).await;
            }
            Read::Begun(begun, body) => (begun, body),
            Read::Expected(body) => (Vec::new(), body),
        };
        let (wishes, grants) = mpsc::unbounded_channel();
        let upload = Upload {
            begun,
            body,
            grants,
            most,
        };
        call.upload = Some(wishes);
        let ticket = self.enqueue_call(call);
        if let Ok(ticket) = &ticket {
            tokio::spawn(upload.run(self.clone(), ticket.stream()));
        }
        answered(ticket).await
    }

    /// Has the application decide on a WebSocket.
    fn negotiate<B>(&self, mut request: Request<B>) -> Admission {
        let connection = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let handshake = match Handshake::read(&parts.headers) {
            Ok(handshake) => handshake,
            Err(answer) => return Admission::Continues(Box::pin(ready(*answer))),
        };
        let client = client(&parts);
        let root_path = &self.config().root_path;
        let event = event::websocket(&parts, client, root_path, &handshake.subprotocols);
        let (wishes, grants) = mpsc::unbounded_channel();
        let upgrade = Box::new(Upgrade {
            handshake,
            connection,
            grants,
        });
        Admission::Decided(self.enqueue_call(Call {
            upload: Some(wishes),
            upgrade: Some(upgrade),
            ..Call::new(event)
        }))
    }

    /// A plain request.
    fn call(&self, parts: &mut request::Parts, start: &Start<'_>) -> Call {
        let hints = parts.extensions.remove::<EarlyHints>();
        let root_path = &self.config().root_path;
        let event = event::request(parts, client(parts), root_path, start, hints.is_some());
        Call {
            bodiless: parts.method == Method::HEAD,
            hints,
            ..Call::new(event)
        }
    }
}

/// Reads what has come of the body already, and does not wait for more.
async fn read<B>(parts: &request::Parts, body: B, most: u64) -> Result<Read<B>, BodyFailure>
where
    B: http_body::Body<Data = Bytes>,
{
    let expected = parts.headers.get(header::EXPECT);
    let mut body = Box::pin(body);
    if expected.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Ok(Read::Expected(body));
    }
    let mut data = Vec::new();
    let mut turns = 0;
    loop {
        let frame = poll_fn(|context| {
            Poll::Ready(match body.as_mut().poll_frame(context) {
                Poll::Ready(frame) => Some(frame),
                Poll::Pending => None,
            })
        });
        match frame.await {
            Some(None) => return Ok(Read::Whole(data.into())),
            Some(Some(Ok(frame))) => {
                let piece = frame.into_data().unwrap_or_default();
                if (data.len() + piece.len()) as u64 > most {
                    return Err(BodyFailure::TooLong);
                }
                // Most bodies come as one piece, which need not be copied.
                let whole = body.is_end_stream();
                if whole && data.is_empty() {
                    return Ok(Read::Whole(piece));
                }
                data.extend_from_slice(&piece);
                if whole {
                    return Ok(Read::Whole(data.into()));
                }
                if data.len() > AHEAD {
                    return Ok(Read::Begun(data, body));
                }
            }
            // What ended it is the client's doing, and the connection's to tell.
            Some(Some(Err(_))) => return Err(BodyFailure::BrokenOff),
            None if turns < TURNS => {
                turns += 1;
                yield_now().await;
            }
            None => return Ok(Read::Begun(data, body)),
        }
    }
}
