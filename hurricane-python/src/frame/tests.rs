use std::{
    ffi::OsStr,
    net::SocketAddr,
    os::unix::ffi::OsStrExt,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use hurricane_core::{self as core, FieldTable, FieldValue, Message, Properties, Publication};
use proptest::prelude::*;

use super::*;
use crate::{
    asgi::{
        event::{self, Start},
        outcome::{Body, Outcome},
    },
    frame::prepared::{Prepared, Repeats},
    handler::{self, DeskConfig, HandlerConfig, HandlerFacts, said::Said},
    job::{Job, JobBody},
    loaded::Loaded,
    log::LogRecord,
    request,
    startup::StartupConfig,
};

/// The frames that both sides agree on, see the file's head.
const FRAMES: &str = include_str!("../../../tests/frames.txt");

struct Vector {
    name: &'static str,
    sender: &'static str,
    kind: u8,
    bytes: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    FRAMES
        .split("\n\n")
        .filter(|block| block.starts_with("name: "))
        .map(|block| {
            let all = |key: &'static str| {
                block
                    .lines()
                    .filter_map(move |line| line.strip_prefix(key)?.strip_prefix(": "))
            };
            let one = |key| all(key).next().unwrap();
            let bytes = all("bytes").flat_map(str::split_whitespace);
            Vector {
                name: one("name"),
                sender: one("sender"),
                kind: one("kind").parse().unwrap(),
                bytes: bytes
                    .map(|byte| u8::from_str_radix(byte, 16).unwrap())
                    .collect(),
            }
        })
        .collect()
}

fn vector(name: &str) -> Vec<u8> {
    let found = vectors().into_iter().find(|vector| vector.name == name);
    found.unwrap_or_else(|| panic!("no frame {name}")).bytes
}

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
            let event = asgi_request(get, Some(client), &Start::Whole(b""));
            let mut repeats = Repeats::default();
            event::head(writer, 1, false);
            writer.prepared(&event, &mut repeats);
            // Of a path from which a proxy has cut the root path off.
            let post = http::Request::post("/").version(http::Version::HTTP_10);
            let event = asgi_request(post.header("content-length", "9"), None, &Start::Later);
            event::head(writer, 2, false);
            writer.prepared(&event, &mut repeats);
        }
        "events-repeated" => {
            let mut repeats = Repeats::default();
            let client = SocketAddr::from(([127, 0, 0, 1], 40000));
            writer.list(3);
            for (stream, request) in (1..).zip(alike()) {
                let event = asgi_request(request, Some(client), &Start::Whole(b""));
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

/// One with little, and one with everything.
fn messages() -> [Message; 2] {
    let mut plain = Message::new("hello");
    plain.routing_key = "mails".to_owned();
    plain.consumer_tag = "tag".into();
    let mut full = Message::new(b"\x00\xff".to_vec());
    full.exchange = "shop".to_owned();
    full.routing_key = "m.\u{e4}".to_owned();
    full.redelivered = true;
    full.consumer_tag = "tag".into();
    full.attempt = 3;
    let text = |text: &str| Some(text.to_owned());
    let table = [
        (
            "array",
            FieldValue::Array(vec![FieldValue::Void, true.into()]),
        ),
        ("bytes", FieldValue::Bytes(vec![0xff].into())),
        (
            "decimal",
            FieldValue::Decimal {
                scale: 2,
                value: 314,
            },
        ),
        ("f64", FieldValue::F64(0.5)),
        ("i64", FieldValue::I64(1 << 40)),
        ("i8", FieldValue::I8(-8)),
        (
            "table",
            FieldValue::Table(FieldTable::from([("text".to_owned(), "t\u{e4}xt".into())])),
        ),
        ("time", FieldValue::Timestamp(1_700_000_000)),
    ];
    full.properties = Properties {
        content_type: text("text/plain"),
        content_encoding: text("utf-8"),
        headers: table.map(|(name, value)| (name.to_owned(), value)).into(),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: text("7"),
        reply_to: text("replies"),
        expiration: text("60000"),
        message_id: text("m"),
        timestamp: Some(1_700_000_000),
        kind: text("kind"),
        user_id: text("guest"),
        app_id: text("app"),
        cluster_id: text("cluster"),
    };
    [plain, full]
}

fn asgi_request(
    request: http::request::Builder,
    client: Option<SocketAddr>,
    start: &Start<'_>,
) -> Prepared {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    event::request(&parts, client, "/app", start)
}

/// The outcomes of a whole frame.
fn outcomes(frame: &[u8]) -> Result<Vec<Outcome<'_>>, DecodeError> {
    let (kind, mut reader, length) = decode(frame)?.ok_or(DecodeError::Truncated)?;
    assert_eq!((kind, length), (Kind::Sent, frame.len()));
    let outcomes = (0..reader.sequence()?).map(|_| Outcome::read(&mut reader));
    outcomes.collect()
}

/// The answers of a whole frame, and the time that the worker was busy.
fn answers(frame: &[u8]) -> Result<(u64, Vec<Answer<'_>>), DecodeError> {
    let (kind, mut reader, length) = decode(frame)?.ok_or(DecodeError::Truncated)?;
    assert_eq!((kind, length), (Kind::Answers, frame.len()));
    let busy = reader.fields(3)?.unsigned()?;
    reader.unsigned()?;
    let answers = (0..reader.sequence()?).map(|_| Answer::read(&mut reader));
    Ok((busy, answers.collect::<Result<_, _>>()?))
}

fn payload(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out));
    out
}

/// What `marshal.dumps(text, 2)` gives: the reader does not know the short forms of later versions.
fn version2(text: &[u8]) -> Vec<u8> {
    let length = i32::try_from(text.len()).unwrap();
    [b"u", &length.to_le_bytes()[..], text].concat()
}

// === both sides ===

#[test]
fn every_frame_has_its_kind_and_its_length() {
    let vectors = vectors();
    assert!(vectors.len() > 20);
    for vector in vectors {
        let (kind, _, length) = decode(&vector.bytes).unwrap().unwrap();
        assert_eq!(kind as u8, vector.kind, "{}", vector.name);
        assert_eq!(length, vector.bytes.len(), "{}", vector.name);
        assert_eq!(needed(&vector.bytes), length, "{}", vector.name);
        assert_eq!(needed(&vector.bytes[..4]), HEAD, "{}", vector.name);
    }
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

#[test]
fn reads_what_a_worker_says_on_the_control_channel() {
    let read = |name: &str, read: &dyn Fn(&mut Reader<'_>) -> Result<(), DecodeError>| {
        let frame = vector(name);
        let (_, mut reader, _) = decode(&frame).unwrap().unwrap();
        read(&mut reader).unwrap();
        assert_eq!(reader.skip(), Err(DecodeError::Truncated), "{name}");
    };
    read("ready", &|reader| {
        assert_eq!(reader.fields(5)?.int32()?, PROTOCOL);
        assert_eq!(reader.string()?, "3.12.1");
        assert!(!reader.none());
        assert_eq!(reader.string()?, "5.2");
        assert_eq!(reader.text()?, b"wsgi");
        let files = crate::files::ProjectFiles::read(reader)?.unwrap();
        assert_eq!(files.script_name, "/shop");
        let of_static = files.of_static.unwrap();
        assert_eq!(of_static.url.as_deref(), Some("/shop/static/"));
        assert_eq!(of_static.root.to_str(), Some("/srv/static"));
        assert!(!of_static.finders);
        let of_media = files.of_media.unwrap();
        assert_eq!(of_media.url.as_deref(), Some("/media/"));
        assert_eq!(of_media.root.to_str(), Some(""));
        Ok(())
    });
    read("ready-without-django", &|reader| {
        assert_eq!(reader.fields(5)?.int32()?, PROTOCOL);
        assert_eq!(reader.string()?, "3.9.18");
        assert!(reader.none());
        assert_eq!(reader.text()?, b"asgi");
        assert!(crate::files::ProjectFiles::read(reader)?.is_none());
        Ok(())
    });
    read("handling", &|reader| {
        assert_eq!(reader.fields(4)?.int32()?, PROTOCOL);
        assert_eq!(reader.string()?, "3.12.1");
        assert_eq!(reader.string()?, "5.2");
        let facts = HandlerFacts::read_all(reader)?;
        let [mails, news] = facts.as_slice() else {
            panic!("{facts:?}")
        };
        assert_eq!(
            (mails.exchange_type.as_str(), mails.prefetch),
            ("topic", 100)
        );
        assert_eq!(mails.routing_keys, ["mails", "m.*"]);
        assert!(!mails.is_async);
        assert_eq!((news.exchange_type.as_str(), news.prefetch), ("fanout", 0));
        assert!(news.routing_keys.is_empty() && news.is_async);
        Ok(())
    });
    read("beat", &|reader| {
        assert_eq!(reader.unsigned()?, 1500);
        Ok(())
    });
    read("loaded", &|reader| {
        let mut loaded = Loaded::default();
        loaded.read(reader)?;
        assert!(loaded.files.contains(Path::new("/srv/app.py")));
        let folder = Path::new(OsStr::from_bytes(b"/srv/t\xff"));
        assert!(loaded.templates.contains(folder));
        Ok(())
    });
    read("failed", &|reader| {
        assert_eq!(reader.fields(2)?.text()?, b"application");
        assert_eq!(reader.string()?, "there is no module 'nö'");
        Ok(())
    });
    read("checked", &|reader| {
        assert_eq!(reader.fields(3)?.int32()?, 7);
        assert_eq!(reader.int32()?, 0);
        assert_eq!(reader.text()?, b"");
        Ok(())
    });
    read("log", &|reader| {
        assert_eq!(reader.fields(2)?.text()?, b"info");
        assert_eq!(reader.string()?, "No pending migrations");
        Ok(())
    });
    read("done", &|reader| {
        assert!(reader.none());
        Ok(())
    });
    read("done-not", &|reader| {
        assert_eq!(reader.fields(3)?.text()?, b"command");
        assert_eq!(reader.string()?, "the command 'x' failed: \u{f6}");
        assert!(!reader.none());
        assert_eq!(reader.string()?, "Traceback");
        Ok(())
    });
    read("recalled", &|reader| {
        assert_eq!(reader.fields(2)?.int32()?, 1);
        assert_eq!(reader.fields(2)?.int32()?, 5);
        assert_eq!(reader.int32()?, 6);
        Ok(())
    });
    read("recalled-none", &|reader| {
        assert_eq!(reader.fields(2)?.int32()?, 0);
        assert_eq!(reader.sequence()?, 0);
        Ok(())
    });
}

#[test]
fn reads_a_workers_answers() {
    let head = |stream, headers: &[(&'static str, &'static [u8])], body| Answer::Head {
        stream,
        status: b"200 OK",
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), *value))
            .collect(),
        body,
    };
    let expect = |name: &str, busy: u64, wanted: Vec<Answer<'_>>| {
        assert_eq!(answers(&vector(name)), Ok((busy, wanted)), "{name}");
    };
    let plain: &[(&str, &[u8])] = &[("Content-Type", b"text/plain"), ("Content-Length", b"2")];
    let empty = Answer::Head {
        stream: 2,
        status: b"204 No Content",
        headers: Vec::new(),
        body: Some(b""),
    };
    expect(
        "answers-whole",
        250,
        vec![head(1, plain, Some(b"ok")), empty],
    );
    expect("answers-head", 1, vec![head(3, &[("X", b"y")], None)]);
    let data = |data| Answer::Piece { stream: 3, data };
    expect(
        "answers-pieces",
        0,
        vec![data(b"\x00\xff"), data(b""), Answer::End { stream: 3 }],
    );
    let file = Answer::File {
        stream: 4,
        offset: 5_000_000_000,
        length: 70_000,
    };
    expect("answers-file", 0, vec![file]);
    expect("answers-failed", 12, vec![Answer::Failed { stream: 5 }]);
    expect("answers-long", 3_600_000_001, Vec::new());
    let beyond: &[(&str, &[u8])] = &[
        ("A", "é".as_bytes()),
        ("B", "€".as_bytes()),
        ("C", b"\xed\xa0\x80"),
    ];
    expect("answers-text", 0, vec![head(6, beyond, Some(b""))]);
}

#[test]
fn reads_what_an_event_loop_sends() {
    let head =
        |stream, status, headers: &[(&'static [u8], &'static [u8])], body, done| Outcome::Head {
            stream,
            status,
            headers: headers.to_vec(),
            body,
            done,
        };
    let wanted = vec![
        head(
            1,
            200,
            &[(b"a", b"b"), (b"c", b"\xe9")],
            Body::Whole(b"ok"),
            true,
        ),
        head(2, 204, &[], Body::Whole(b""), false),
        Outcome::Done { stream: 2 },
    ];
    assert_eq!(outcomes(&vector("sent-whole")), Ok(wanted));
    let wanted = vec![
        head(3, 200, &[], Body::Later, false),
        Outcome::Piece {
            stream: 3,
            data: b"x",
        },
        Outcome::Last {
            stream: 3,
            data: b"",
        },
        Outcome::Trailers {
            stream: 4,
            headers: vec![(b"x", b"y")],
        },
        Outcome::Credit {
            stream: 5,
            count: 262_144,
        },
        head(6, 200, &[], Body::File("/tmp/ä".as_bytes()), false),
        Outcome::Failed { stream: 7 },
    ];
    assert_eq!(outcomes(&vector("sent-parts")), Ok(wanted));
    let wanted = vec![
        Outcome::Accept {
            stream: 1,
            subprotocol: None,
            headers: Vec::new(),
        },
        Outcome::Accept {
            stream: 2,
            subprotocol: Some(b"chat"),
            headers: vec![(b"a", b"b")],
        },
        Outcome::Text {
            stream: 1,
            data: "täxt".as_bytes(),
        },
        Outcome::Piece {
            stream: 1,
            data: b"\xff",
        },
        Outcome::Close {
            stream: 1,
            code: 1000,
            reason: b"",
        },
    ];
    assert_eq!(outcomes(&vector("sent-websocket")), Ok(wanted));
}

/// What the clerks of a whole frame have said.
fn said(frame: &[u8]) -> Result<Vec<Said>, DecodeError> {
    let (kind, mut reader, length) = decode(frame)?.ok_or(DecodeError::Truncated)?;
    assert_eq!((kind, length), (Kind::Sent, frame.len()));
    let said = (0..reader.sequence()?).map(|_| Said::read(&mut reader));
    said.collect()
}

#[test]
fn reads_what_handlers_of_messages_say() {
    let done = |number, time, outcome| Said::Done {
        number,
        time: Duration::from_micros(time),
        outcome,
    };
    let settle = |number, outcome, multiple| Said::Settle {
        number,
        outcome,
        multiple,
    };
    let after = Some(Duration::from_secs(30));
    let mut plain = Publication::new("", "mails", "hello");
    plain.properties = Properties::default();
    plain.mandatory = true;
    let [_, full] = messages();
    let mut everything = Publication::new(full.exchange, full.routing_key, full.body);
    everything.properties = full.properties;
    // Python has one type for integers, which goes as the smallest that it fits in.
    let headers = &mut everything.properties.headers;
    headers.insert("i8".to_owned(), FieldValue::I32(-8));
    let publish = |number, publication| Said::Publish {
        number,
        publication: Box::new(publication),
    };
    let wanted = vec![
        done(1, 250, Some(core::Outcome::Ack)),
        done(2, 3_600_000_001, None),
        Said::Failed {
            number: 3,
            time: Duration::ZERO,
        },
        settle(4, core::Outcome::Requeue, false),
        settle(5, core::Outcome::Reject, true),
        settle(6, core::Outcome::Retry { after: None }, false),
        settle(7, core::Outcome::Retry { after }, false),
        publish(0, plain),
        publish(8, everything),
    ];
    assert_eq!(said(&vector("sent-messages")), Ok(wanted));
}

#[test]
fn passes_over_what_a_handler_cannot_want_and_goes_on() {
    let invalid = |number, error| Said::Invalid { number, error };
    let wrong = |found, wanted| DecodeError::Type { found, wanted };
    let acknowledged = Said::Settle {
        number: 6,
        outcome: core::Outcome::Ack,
        multiple: false,
    };
    let wanted = vec![
        invalid(1, DecodeError::Fields(1)),
        invalid(3, wrong('u', "a number")),
        invalid(4, wrong('i', "text")),
        invalid(5, wrong('u', "bytes")),
        acknowledged,
    ];
    assert_eq!(said(&vector("sent-messages-wrong")), Ok(wanted));
}

#[test]
fn passes_over_an_outcome_of_the_wrong_types_and_goes_on() {
    let invalid = |stream, error| Outcome::Invalid { stream, error };
    let wrong = |found, wanted| DecodeError::Type { found, wanted };
    let wanted = vec![
        Outcome::Done { stream: 1 },
        invalid(2, wrong('u', "a number")),
        invalid(3, wrong('u', "bytes")),
        invalid(4, DecodeError::Fields(1)),
        invalid(5, wrong('i', "text")),
        Outcome::Done { stream: 6 },
    ];
    assert_eq!(outcomes(&vector("sent-wrong")), Ok(wanted));
}

#[test]
fn outcomes_that_are_cut_off_are_an_error() {
    for frame in ["sent-whole", "sent-parts", "sent-wrong", "sent-websocket"].map(vector) {
        for length in HEAD..frame.len() {
            let mut cut = frame[..length].to_vec();
            let payload = u32::try_from(length - HEAD).unwrap();
            cut[..4].copy_from_slice(&payload.to_le_bytes());
            assert_eq!(outcomes(&cut), Err(DecodeError::Truncated), "at {length}");
        }
    }
}

#[test]
fn passes_over_a_head_of_the_wrong_types_and_goes_on() {
    let invalid = |stream, error| Answer::Invalid { stream, error };
    let wrong = |found, wanted| DecodeError::Type { found, wanted };
    let wanted = vec![
        Answer::End { stream: 7 },
        invalid(8, wrong('i', "text")),
        invalid(9, wrong('i', "text")),
        invalid(10, DecodeError::Fields(3)),
        invalid(11, wrong('u', "bytes")),
        invalid(12, wrong('{', "a list")),
        invalid(13, wrong('[', "text")),
        Answer::End { stream: 14 },
    ];
    assert_eq!(answers(&vector("answers-wrong")), Ok((0, wanted)));
}

#[test]
fn an_answer_of_no_known_form_is_passed_over_and_one_without_a_number_is_not() {
    let tuple = |count: u8, fields: &[u8]| [&[b'(', count, 0, 0, 0], fields].concat();
    let nothing = tuple(0, b"");
    assert_eq!(
        Answer::read(&mut Reader::new(&nothing)),
        Err(DecodeError::Truncated)
    );
    let text = tuple(1, &version2(b"1"));
    let wrong = DecodeError::Type {
        found: 'u',
        wanted: "a number",
    };
    assert_eq!(Answer::read(&mut Reader::new(&text)), Err(wrong));
    let five = tuple(5, b"i\x09\0\0\0NNNN");
    let mut reader = Reader::new(&five);
    let invalid = Answer::Invalid {
        stream: 9,
        error: DecodeError::Fields(5),
    };
    assert_eq!(Answer::read(&mut reader), Ok(invalid));
    assert_eq!(reader.skip(), Err(DecodeError::Truncated));
}

// === broken streams ===

#[test]
fn a_frame_that_is_cut_off_is_waited_for() {
    for vector in vectors() {
        for length in 0..vector.bytes.len() {
            let whole = decode(&vector.bytes[..length]).unwrap();
            assert!(whole.is_none(), "{} at {length}", vector.name);
        }
    }
}

#[test]
fn a_payload_that_is_cut_off_is_an_error() {
    for vector in vectors() {
        let payload = &vector.bytes[HEAD..];
        if vector.sender == "server" {
            continue;
        }
        for length in 0..payload.len() {
            let mut reader = Reader::new(&payload[..length]);
            let (name, error) = (vector.name, Err(DecodeError::Truncated));
            assert_eq!(reader.skip(), error, "{name} at {length}");
        }
        let mut reader = Reader::new(payload);
        assert_eq!(reader.skip(), Ok(()), "{}", vector.name);
    }
}

#[test]
fn answers_that_are_cut_off_are_an_error() {
    let names = ["answers-whole", "answers-file", "answers-wrong"];
    for frame in names.map(vector) {
        for length in HEAD..frame.len() {
            let mut cut = frame[..length].to_vec();
            let payload = u32::try_from(length - HEAD).unwrap();
            cut[..4].copy_from_slice(&payload.to_le_bytes());
            assert_eq!(answers(&cut), Err(DecodeError::Truncated), "at {length}");
        }
    }
}

#[test]
fn a_head_that_makes_no_sense_is_an_error() {
    let error = |frame: &[u8]| decode(frame).map(|_| ()).unwrap_err();
    for kind in [0, 13, 15, 20, 255] {
        assert_eq!(error(&[0, 0, 0, 0, kind]), DecodeError::Kind(kind));
    }
    let most = u32::try_from(MAX_PAYLOAD).unwrap();
    let head = |length: u32| [&length.to_le_bytes()[..], &[17]].concat();
    assert_eq!(
        error(&head(most + 1)),
        DecodeError::TooLong(MAX_PAYLOAD + 1)
    );
    assert!(decode(&head(most)).unwrap().is_none());
    assert_eq!(needed(&head(u32::MAX)), HEAD + u32::MAX as usize);
}

#[test]
fn a_number_that_is_out_of_range_is_an_error() {
    let long = |digits: &[u16], negative: bool| {
        let count = i32::try_from(digits.len()).unwrap();
        let count = if negative { -count } else { count };
        let digits = digits.iter().flat_map(|digit| digit.to_le_bytes());
        let mut out = vec![b'l'];
        out.extend(count.to_le_bytes());
        out.extend(digits);
        out
    };
    let unsigned = |bytes: &[u8]| Reader::new(bytes).unsigned();
    assert_eq!(unsigned(b"i\xff\xff\xff\x7f"), Ok(i32::MAX as u64));
    assert_eq!(unsigned(b"i\xff\xff\xff\xff"), Err(DecodeError::Range(-1)));
    assert_eq!(unsigned(&long(&[], false)), Ok(0));
    assert_eq!(
        unsigned(&long(&[0x7fff; 4], false)),
        Ok((1 << 60) - 1),
        "four digits are the most that fits"
    );
    assert_eq!(
        unsigned(&long(&[1; 5], false)),
        Err(DecodeError::Range(5)),
        "that many digits"
    );
    assert_eq!(unsigned(&long(&[1], true)), Err(DecodeError::Range(-1)));
    assert_eq!(
        Reader::new(b"s\xff\xff\xff\xff").bytes(),
        Err(DecodeError::Range(-1)),
        "a length"
    );
}

#[test]
fn passes_over_nested_values() {
    let deep = [b"[\x01\0\0\0".repeat(200), b"N".to_vec()].concat();
    let mut reader = Reader::new(&deep);
    assert_eq!(reader.skip(), Ok(()));
    assert_eq!(reader.skip(), Err(DecodeError::Truncated));
}

#[test]
fn nesting_without_end_does_not_overflow_the_stack() {
    // CPython's marshal writes 2000 levels, a broken stream as many as there are bytes.
    for levels in [2000, 1_000_000] {
        let deep = [b"[\x01\0\0\0".repeat(levels), b"N".to_vec()].concat();
        let _ = Reader::new(&deep).skip();
    }
}

#[test]
fn a_value_of_unknown_type_is_not_passed_over() {
    for code in [b'c', b'r', b'z', b')', b'\xe9', b'0'] {
        let error = DecodeError::Unknown(char::from(code));
        assert_eq!(Reader::new(&[code, 0, 0, 0, 0]).skip(), Err(error));
    }
}

// === anything ===

/// A value as a worker's `marshal` writes it.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let counted = |code: u8, count: usize, rest: Vec<u8>| {
        let count = i32::try_from(count).unwrap();
        [&[code][..], &count.to_le_bytes(), &rest].concat()
    };
    let leaf = prop_oneof![
        prop_oneof![Just(b"N"), Just(b"T"), Just(b"F"), Just(b"."), Just(b"S")]
            .prop_map(|code| code.to_vec()),
        any::<i32>().prop_map(|number| payload(|writer| writer.int(number))),
        any::<[u8; 8]>().prop_map(|float| [&b"g"[..], &float].concat()),
        any::<[u8; 16]>().prop_map(|complex| [&b"y"[..], &complex].concat()),
        any::<String>().prop_map(|text| version2(text.as_bytes())),
        any::<Vec<u8>>().prop_map(|data| payload(|writer| writer.bytes(&data))),
        any::<Vec<u16>>().prop_map(move |digits| {
            let rest = digits.iter().flat_map(|digit| digit.to_le_bytes());
            counted(b'l', digits.len(), rest.collect())
        }),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        let items = proptest::collection::vec(inner.clone(), 0..6);
        let pairs = proptest::collection::vec((inner.clone(), inner), 0..4);
        prop_oneof![
            (prop_oneof![Just(b'('), Just(b'['), Just(b'<')], items)
                .prop_map(move |(code, items)| counted(code, items.len(), items.concat())),
            pairs.prop_map(|pairs| {
                let mut out = vec![b'{'];
                out.extend(
                    pairs
                        .into_iter()
                        .flat_map(|(key, value)| [key, value].concat()),
                );
                out.push(b'0');
                out
            }),
        ]
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(data in any::<Vec<u8>>()) {
        let _ = decode(&data);
        let _ = needed(&data);
        let _ = Reader::new(&data).skip();
        let _ = Reader::new(&data).string();
        let _ = Reader::new(&data).unsigned();
        let _ = Answer::read(&mut Reader::new(&data));
    }

    #[test]
    fn a_changed_frame_never_panics(
        which in 0_usize..8,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let frames: Vec<_> = vectors().into_iter().filter(|vector| vector.kind == 17).collect();
        let mut payload = frames[which % frames.len()].bytes[HEAD..].to_vec();
        for (index, byte) in changes {
            let index = index.index(payload.len());
            payload[index] = byte;
        }
        let mut reader = Reader::new(&payload);
        let count = reader.fields(3).and_then(|reader| {
            reader.unsigned()?;
            reader.unsigned()?;
            reader.sequence()
        });
        for _ in 0..count.unwrap_or(0).min(1000) {
            if Answer::read(&mut reader).is_err() {
                break;
            }
        }
    }

    #[test]
    fn a_value_is_passed_over_whole(first in value(), second in value()) {
        let both = [&first[..], &second].concat();
        let mut reader = Reader::new(&both);
        prop_assert_eq!(reader.skip(), Ok(()));
        prop_assert_eq!(reader.skip(), Ok(()));
        prop_assert_eq!(reader.skip(), Err(DecodeError::Truncated));
        for length in 0..first.len() {
            prop_assert!(Reader::new(&first[..length]).skip().is_err());
        }
    }

    #[test]
    fn a_frame_is_found_whole_in_front_of_others(data in any::<Vec<u8>>(), rest in any::<Vec<u8>>()) {
        let mut out = Vec::new();
        encode(&mut out, Kind::Requests, |writer| writer.bytes(&data));
        let length = out.len();
        out.extend(rest);
        let (kind, mut reader, found) = decode(&out).unwrap().unwrap();
        prop_assert_eq!((kind, found), (Kind::Requests, length));
        prop_assert_eq!(reader.bytes(), Ok(&data[..]));
        prop_assert_eq!(reader.skip(), Err(DecodeError::Truncated));
    }

    #[test]
    fn numbers_come_back(number in 0_u64..1 << 60) {
        let mut digits = Vec::new();
        let mut rest = number;
        while rest > 0 {
            digits.push(u16::try_from(rest & 0x7fff).unwrap());
            rest >>= 15;
        }
        let mut long = vec![b'l'];
        long.extend(i32::try_from(digits.len()).unwrap().to_le_bytes());
        long.extend(digits.iter().flat_map(|digit| digit.to_le_bytes()));
        prop_assert_eq!(Reader::new(&long).unsigned(), Ok(number));
        if let Ok(small) = i32::try_from(number) {
            prop_assert_eq!(Reader::new(&payload(|writer| writer.int(small))).int32(), Ok(small));
        }
    }

    #[test]
    fn text_is_written_short_where_it_can_be(text in any::<String>()) {
        let out = payload(|writer| writer.text(&text));
        let head = match (text.is_ascii(), text.len()) {
            (true, 0..=255) => vec![b'z', u8::try_from(text.len()).unwrap()],
            (ascii, length) => {
                let length = u32::try_from(length).unwrap().to_le_bytes();
                [&[if ascii { b'a' } else { b'u' }][..], &length].concat()
            }
        };
        prop_assert_eq!(out, [&head[..], text.as_bytes()].concat());
    }

    #[test]
    fn latin1_is_the_text_of_the_same_characters(data in any::<Vec<u8>>()) {
        let text: String = data.iter().copied().map(char::from).collect();
        let (one, other) = (
            payload(|writer| writer.latin1(&data)),
            payload(|writer| writer.text(&text)),
        );
        prop_assert_eq!(one, other);
    }
}
