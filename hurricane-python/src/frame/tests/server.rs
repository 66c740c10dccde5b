//! What the server writes.

use std::{
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use super::*;
use crate::{
    asgi::event::{self, Start},
    frame::prepared::{Prepared, Repeats},
    handler::{self, DeskConfig, HandlerConfig},
    job::{Job, JobBody},
    log::LogRecord,
    request,
    startup::StartupConfig,
};

fn plain_job(stream: i32, environ: impl FnOnce(&mut Writer<'_>), body: JobBody) -> Job {
    job(stream, Prepared::new(environ), body)
}

fn job(stream: i32, environ: Prepared, body: JobBody) -> Job {
    Job {
        stream,
        environ,
        body,
        deadline: None,
        answer: None,
    }
}

fn texts<'a>(writer: &mut Writer<'_>, texts: impl IntoIterator<Item = &'a str>) {
    for text in texts {
        writer.text(text);
    }
}

fn requests(writer: &mut Writer<'_>, jobs: &[Job]) {
    let mut repeats = Repeats::default();
    writer.list(jobs.len());
    for job in jobs {
        job.write(writer, &mut repeats);
    }
}

/// Writes the payload of the server's frame of that name.
fn write(name: &str, writer: &mut Writer<'_>) {
    match name {
        "sources" => {
            writer.dict();
            writer.text("hurricane");
            writer.tuple(2);
            writer.bool(true);
            writer.text("");
            writer.text("hurricane.worker.frame");
            writer.tuple(2);
            writer.bool(false);
            writer.text("PROTOCOL = 1\n");
            writer.end_dict();
        }
        "config" => {
            writer.dict();
            writer.text("app");
            writer.none();
            texts(writer, ["root_path", "/app", "multiprocess"]);
            writer.bool(true);
            writer.text("data");
            writer.list(2);
            writer.int(3);
            writer.int(4);
            writer.text("begun");
            writer.int(5);
            writer.end_dict();
        }
        "config-handlers" => {
            let config = DeskConfig {
                handlers: vec![HandlerConfig {
                    class: "shop.consumers.Mails".to_owned(),
                    queue: "mails".to_owned(),
                    exchange: "shop".to_owned(),
                    host: "rabbit.example".to_owned(),
                    port: 5672,
                    vhost: "/".to_owned(),
                    user: "guest".to_owned(),
                    password: "p\u{e4}ss".to_owned(),
                }],
                concurrency: 2,
                ordered: false,
                timeout: Some(Duration::from_millis(1500)),
            };
            writer.dict();
            writer.text("handlers");
            config.write(writer);
            writer.end_dict();
        }
        "record" => {
            let record = LogRecord {
                logger: "hurricane.amqp.general".to_owned(),
                level: 20,
                time: UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001),
                message: "Connecting to b\u{f6}rse".to_owned(),
            };
            record.write(writer);
        }
        "check" => {
            writer.tuple(2);
            writer.int(7);
            writer.text("liveness");
        }
        "tasks" => {
            let config = StartupConfig {
                wait_for_database: Some(Duration::from_secs(30)),
                commands: vec![vec!["migrate".to_owned(), "--noinput".to_owned()]],
                check_migrations: true,
                ..StartupConfig::default()
            };
            config.write(writer);
        }
        "recall" => writer.int(1),
        "cancel" => {
            writer.tuple(2);
            writer.int(2);
            writer.int(513);
        }
        "requests-none" => writer.list(0),
        "requests-get" => {
            let get = |writer: &mut Writer<'_>| {
                texts(
                    writer,
                    ["GET", "/polls/", "", "HTTP/1.1", "127.0.0.1", "40000"],
                );
                writer.dict();
                texts(writer, ["HTTP_HOST", "localhost:8000"]);
                writer.end_dict();
            };
            requests(writer, &[plain_job(1, get, JobBody::Inline(Vec::new()))]);
        }
        "requests-two" => {
            let get = |writer: &mut Writer<'_>| {
                writer.text("GET");
                writer.latin1(b"/\xe4 b");
                texts(writer, ["q=%C3%A4", "HTTP/1.0", "2001:db8::1", "9"]);
                writer.dict();
                writer.end_dict();
            };
            let post = |writer: &mut Writer<'_>| {
                texts(writer, ["POST", "/form", "", "HTTP/1.1", "", ""]);
                writer.dict();
                texts(writer, ["CONTENT_TYPE", "text/plain"]);
                texts(writer, ["CONTENT_LENGTH", "5"]);
                texts(writer, ["HTTP_COOKIE", "a=1; b=2"]);
                writer.end_dict();
            };
            let jobs = [
                plain_job(2, get, JobBody::Inline(Vec::new())),
                plain_job(3, post, JobBody::Inline(b"\x00\xff\r\n!".to_vec())),
            ];
            requests(writer, &jobs);
        }
        "requests-repeated" => {
            let client = SocketAddr::from(([127, 0, 0, 1], 40000));
            let jobs = (1..).zip(alike()).map(|(stream, request)| {
                let (parts, ()) = request.body(()).unwrap().into_parts();
                let environ = request::environ(&parts, Some(client), "", None);
                job(stream, environ, JobBody::Inline(Vec::new()))
            });
            requests(writer, &jobs.collect::<Vec<_>>());
        }
        "requests-spooled" => {
            let file = tempfile::tempfile().unwrap();
            let put = |writer: &mut Writer<'_>| {
                let path = format!("/{}", "long/".repeat(60));
                texts(writer, ["PUT", &path, "", "HTTP/1.1", "127.0.0.1", "1"]);
                writer.dict();
                texts(writer, ["CONTENT_LENGTH", "2000000"]);
                writer.end_dict();
            };
            requests(
                writer,
                &[plain_job(i32::MAX, put, JobBody::Spooled(file.into()))],
            );
        }
        "events-http" => {
            writer.list(2);
            let get = http::Request::get("/app/%C3%A4?q=1")
                .header("host", "h")
                .header("x_under", "score")
                .header("te", "trailers");
            let client = SocketAddr::from(([127, 0, 0, 1], 40000));
            let event = asgi_request(get, Some(client), &Start::Whole(b""), true);
            let mut repeats = Repeats::default();
            event::head(writer, 1, false);
            writer.prepared(&event, &mut repeats);
            // Of a path from which a proxy has cut the root path off.
            let post = http::Request::post("/").version(http::Version::HTTP_10);
            let event = asgi_request(
                post.header("content-length", "9"),
                None,
                &Start::Later,
                false,
            );
            event::head(writer, 2, false);
            writer.prepared(&event, &mut repeats);
        }
        "events-repeated" => {
            let mut repeats = Repeats::default();
            let client = SocketAddr::from(([127, 0, 0, 1], 40000));
            writer.list(3);
            for (stream, request) in (1..).zip(alike()) {
                let event = asgi_request(request, Some(client), &Start::Whole(b""), true);
                event::head(writer, stream, false);
                writer.prepared(&event, &mut repeats);
            }
        }
        "events-body" => {
            writer.list(4);
            event::body(writer, 2, b"\x00\xff", true);
            event::body(writer, 2, b"", false);
            event::credit(writer, 3, 65536);
            event::gone(writer, 4);
        }
        "events-messages" => {
            let [plain, full] = messages();
            writer.list(2);
            handler::event::deliver(writer, 1, &plain);
            handler::event::deliver(writer, i32::MAX, &full);
        }
        "events-websocket" => {
            writer.list(5);
            let (parts, ()) = http::Request::get("/chat")
                .header("host", "h")
                .body(())
                .unwrap()
                .into_parts();
            let subprotocols = ["a".to_owned(), "b".to_owned()];
            event::head(writer, 1, true);
            let event = event::websocket(&parts, None, "", &subprotocols);
            writer.prepared(&event, &mut Repeats::default());
            event::message(writer, 1, true, "täxt".as_bytes());
            event::message(writer, 1, false, b"\xff");
            event::credit(writer, 1, 2);
            event::closed(writer, 1, 4000, "bye");
        }
        _ => panic!("no frame {name}"),
    }
}

/// Requests with much in common: the second lacks a header, the third has another method and one
/// header of another value.
fn alike() -> [http::request::Builder; 3] {
    let host = |request: http::request::Builder| request.header("host", "h");
    let accept = |request: http::request::Builder| request.header("accept", "*/*");
    let agent = |request: http::request::Builder, agent: &str| request.header("user-agent", agent);
    [
        agent(accept(host(http::Request::get("/1"))), "curl"),
        agent(host(http::Request::get("/2")), "curl"),
        agent(accept(host(http::Request::head("/3"))), "wget"),
    ]
}

fn asgi_request(
    request: http::request::Builder,
    client: Option<SocketAddr>,
    start: &Start<'_>,
    takes_hints: bool,
) -> Prepared {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    event::request(&parts, client, "/app", start, takes_hints)
}

#[test]
fn the_server_writes_the_agreed_bytes() {
    let vectors = vectors();
    let of_server = vectors.iter().filter(|vector| vector.sender == "server");
    for vector in of_server {
        let kind = Kind::try_from(vector.kind).unwrap();
        let mut out = b"before".to_vec();
        encode(&mut out, kind, |writer| write(vector.name, writer));
        assert_eq!(out[6..], vector.bytes, "{}", vector.name);
    }
}
