//! Both sides of the frames, by the frames that they agree on and by what is no frame.

mod broken;
mod random;
mod server;
mod worker;

use hurricane_core::{FieldTable, FieldValue, Message, Properties};

use super::*;
use crate::asgi::outcome::Outcome;

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
