mod hints;
mod lifecycle;
mod serving;

use std::{convert::Infallible, io, net::Ipv4Addr};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::DrainTimedOut;

const LONG: Duration = Duration::from_secs(20);

/// A server of its own port, and the word that ends it.
struct Served {
    addr: SocketAddr,
    drain: oneshot::Sender<()>,
    task: JoinHandle<Result<(), DrainTimedOut>>,
}

impl Served {
    async fn start<S>(app: S, config: ServeConfig) -> Self
    where
        S: App<axum::body::Body, Error = Infallible, Future: Send>,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (drain, drained) = oneshot::channel();
        let until = async {
            let _ = drained.await;
        };
        let task = tokio::spawn(serve(listener, app, config, until));
        Self { addr, drain, task }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.addr).await
    }
}

struct Client(TcpStream);

impl Client {
    async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: app\r\n\r\n"))
            .await;
        self.answer().await
    }

    /// One answer, up to the end of a body that has a length.
    async fn answer(&mut self) -> String {
        let mut answer = String::new();
        loop {
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    return answer;
                }
            }
            let mut buffer = [0; 1024];
            let count = self.0.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "the connection ended within: {answer:?}");
            answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    /// The next head, and nothing behind it.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// What comes next, and nothing behind it.
    async fn expect(&mut self, text: &str) {
        let mut next = vec![0; text.len()];
        let read = timeout(LONG, self.0.read_exact(&mut next)).await;
        read.expect("it should have come").unwrap();
        assert_eq!(String::from_utf8_lossy(&next), text);
    }

    /// Everything up to the end of the connection.
    async fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).await.unwrap();
        rest
    }
}

/// A page that says when it was reached and waits until it may answer.
fn gated() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (reached, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reach, wait) = (Arc::clone(&reached), Arc::clone(&open));
    let app = Router::new().route("/", get(|| async { "hello" })).route(
        "/gate",
        get(move || async move {
            reach.notify_one();
            wait.notified().await;
            "through"
        }),
    );
    (app, reached, open)
}
