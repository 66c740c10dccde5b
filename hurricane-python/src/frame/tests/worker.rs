//! What a worker says.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, time::Duration};

use hurricane_core::{self as core, FieldValue, Properties, Publication};

use super::*;
use crate::{
    asgi::outcome::Body,
    handler::{HandlerFacts, said::Said},
    loaded::Loaded,
};

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
        Outcome::Hint {
            stream: 3,
            links: vec![b"</a>", b"</b>"],
        },
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
        invalid(7, wrong('u', "bytes")),
        Outcome::Done { stream: 8 },
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
