//! A request's body on its way to an event loop.

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use crate::{
    asgi::{event, lane::LaneId},
    gateway::{Failure, Gateway},
};

/// Room that a loop has made for more: bytes of a body, or messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) lane: LaneId,
    pub(crate) count: i32,
}

/// The part of a body that is still to be sent.
#[derive(Debug)]
pub(crate) struct Upload<B> {
    /// What has been read of it already.
    pub(crate) begun: Vec<u8>,
    pub(crate) body: Pin<Box<B>>,
    /// Ends when the application is done with the request.
    pub(crate) grants: mpsc::UnboundedReceiver<Grant>,
    /// How long it may be, with what has been read.
    pub(crate) most: u64,
}

impl<B> Upload<B>
where
    B: http_body::Body<Data = Bytes>,
{
    /// Sends the body as the loop makes room for it.
    pub(crate) async fn run(mut self, gateway: Gateway, stream: i32) {
        let mut length = self.begun.len() as u64;
        let Some(Grant { lane, count }) = self.grants.recv().await else {
            return;
        };
        let mut room = i64::from(count);
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            room -= begun.len() as i64;
            gateway.tell_lane(lane, |writer| event::body(writer, stream, &begun, true));
        }
        drop(begun);
        loop {
            while room <= 0 {
                match self.grants.recv().await {
                    Some(grant) => room += i64::from(grant.count),
                    None => return,
                }
            }
            let frame = tokio::select! {
                biased;
                grant = self.grants.recv() => match grant {
                    Some(grant) => {
                        room += i64::from(grant.count);
                        continue;
                    }
                    None => return,
                },
                frame = self.body.frame() => frame,
            };
            let mut more = true;
            let data = match frame {
                // Trailers of requests have no place in ASGI.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                // The client has gone in the middle of it.
                Some(Err(_)) => return gateway.tell_gone(lane, stream),
                None => {
                    more = false;
                    Bytes::new()
                }
            };
            // Known already of a body whose length was told.
            more &= !self.body.is_end_stream();
            length += data.len() as u64;
            if length > self.most {
                return gateway.refuse(lane, stream, Failure::TooLong);
            }
            room -= data.len() as i64;
            if data.is_empty() && more {
                continue;
            }
            gateway.tell_lane(lane, |writer| event::body(writer, stream, &data, more));
            if !more {
                return;
            }
        }
    }
}
