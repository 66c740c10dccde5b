//! The cases of the [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite), by their numbers, made
//! again: frames written by hand to an application that sends back what it gets.
//!
//! The suite itself needs Python 2.7; `make autobahn` runs it where there is one.

use super::{
    websocket::{CLOSE, PING, PONG, TEXT, handshake, next, open},
    *,
};
use crate::harness::{Server, frame};

const BINARY: u8 = 0x82;

/// The first frame of a message, and those in the middle and at the end.
const FIRST_TEXT: u8 = 0x01;
const FIRST_BINARY: u8 = 0x02;
const MIDDLE: u8 = 0x00;
const LAST: u8 = 0x80;

/// A message in frames of so many bytes.
fn parts(first: u8, data: &[u8], size: usize) -> Vec<u8> {
    let count = data.chunks(size).count();
    let frames = data.chunks(size).enumerate().map(|(index, part)| {
        let kind = if index == 0 { first & 0x0f } else { 0 };
        frame(kind | if index + 1 == count { LAST } else { 0 }, part)
    });
    frames.collect::<Vec<_>>().concat()
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// What is to come back.
enum Back {
    Frame(u8, Vec<u8>),
    /// That it is closed, with this code; echoes of what came before may be there or not.
    Closed(u16),
}

fn echo(first: u8, data: impl AsRef<[u8]>) -> Back {
    Back::Frame(first, data.as_ref().to_vec())
}

/// Sends bytes, in pieces of a size, and looks at what comes back; then closes, if it is open still.
fn case(server: &Server, number: &str, sent: &[u8], size: usize, back: &[Back]) {
    println!("case {number}");
    let mut connection = open(server.port(), "/ws_echo");
    for piece in sent.chunks(size) {
        if connection.try_send(piece).is_err() {
            break;
        }
    }
    for wanted in back {
        match wanted {
            Back::Frame(first, data) => {
                let (got, found) = next(&mut connection);
                assert_eq!((got, found.len()), (*first, data.len()), "case {number}");
                assert!(found == *data, "case {number}: {first:#x}");
            }
            Back::Closed(code) => {
                let mut got = next(&mut connection);
                while got.0 != CLOSE {
                    got = next(&mut connection);
                }
                let found = got
                    .1
                    .get(..2)
                    .map(|code| u16::from_be_bytes([code[0], code[1]]));
                assert_eq!(found.unwrap_or(1005), *code, "case {number}");
                assert_eq!(
                    connection.rest().unwrap_or_default(),
                    b"",
                    "case {number}: the end"
                );
                return;
            }
        }
    }
    connection.send(close(1000, ""));
    let normal = 1000_u16.to_be_bytes().to_vec();
    assert_eq!(next(&mut connection), (CLOSE, normal), "case {number}");
    assert_eq!(connection.rest().unwrap(), b"", "case {number}: the end");
}

/// The same, sent at once and byte by byte.
fn both(server: &Server, number: &str, sent: &[Vec<u8>], back: &[Back]) {
    let sent = sent.concat();
    case(server, number, &sent, sent.len().max(1), back);
    case(server, &format!("{number}, byte by byte"), &sent, 1, back);
}

#[test]
fn framing_1() {
    let server = gallery().start();
    for length in [0, 125, 126, 127, 128, 65_535, 65_536] {
        for first in [TEXT, BINARY] {
            let data = vec![b'*'; length];
            let sent = frame(first, &data);
            for size in [sent.len(), 997] {
                let number = format!("1.{}, {length} bytes by {size}", first & 3);
                case(&server, &number, &sent, size, &[echo(first, &data)]);
            }
        }
    }
    server.stop();
}

#[test]
fn pings_and_pongs_2() {
    let server = gallery().start();
    let pong = |data: &[u8]| echo(PONG, data);
    for (number, data) in [
        ("2.1", &b""[..]),
        ("2.2", b"payload"),
        ("2.3", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
        ("2.4", &[0xfe; 125]),
    ] {
        both(&server, number, &[frame(PING, data)], &[pong(data)]);
    }
    both(
        &server,
        "2.5",
        &[frame(PING, [0xfe; 126])],
        &[Back::Closed(1002)],
    );
    both(&server, "2.7", &[frame(PONG, b"")], &[]);
    both(&server, "2.8", &[frame(PONG, b"unsolicited")], &[]);
    both(
        &server,
        "2.9",
        &[frame(PONG, b"unsolicited"), frame(PING, b"ping")],
        &[pong(b"ping")],
    );
    let many: Vec<_> = (0..10).map(|number| format!("payload-{number}")).collect();
    let pings: Vec<_> = many.iter().map(|data| frame(PING, data)).collect();
    let pongs: Vec<_> = many.iter().map(|data| pong(data.as_bytes())).collect();
    both(&server, "2.10", &pings, &pongs);
    server.stop();
}

#[test]
fn reserved_bits_and_opcodes_3_and_4() {
    let server = gallery().start();
    for bits in 1..8 {
        for (kind, data) in [
            (TEXT, &b"text"[..]),
            (BINARY, b"bytes"),
            (PING, b""),
            (CLOSE, b""),
        ] {
            let sent = [
                frame(TEXT, b"before"),
                frame(kind | bits << 4, data),
                frame(PING, b""),
            ];
            both(
                &server,
                &format!("3.{bits}, {kind:#x}"),
                &sent,
                &[Back::Closed(1002)],
            );
        }
    }
    for kind in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        let sent = [frame(0x80 | kind, b""), frame(PING, b"")];
        both(
            &server,
            &format!("4, {kind:#x}"),
            &sent,
            &[Back::Closed(1002)],
        );
        let sent = [frame(TEXT, b"before"), frame(0x80 | kind, b"data")];
        both(
            &server,
            &format!("4, {kind:#x} with data"),
            &sent,
            &[Back::Closed(1002)],
        );
    }
    server.stop();
}

#[test]
fn fragmentation_5() {
    let server = gallery().start();
    let whole = || echo(TEXT, "fragment1fragment2");
    let [one, two] = ["fragment1", "fragment2"];
    let wrong = || [Back::Closed(1002)];
    both(
        &server,
        "5.1",
        &[frame(PING & 0x0f, one), frame(LAST, two)],
        &wrong(),
    );
    both(
        &server,
        "5.2",
        &[frame(PONG & 0x0f, one), frame(LAST, two)],
        &wrong(),
    );
    both(
        &server,
        "5.3",
        &[frame(FIRST_TEXT, one), frame(LAST, two)],
        &[whole()],
    );
    let sent = [
        frame(FIRST_TEXT, one),
        frame(PING, "ping"),
        frame(LAST, two),
    ];
    both(&server, "5.6", &sent, &[echo(PONG, "ping"), whole()]);
    let sent = [frame(LAST, "nothing to go on with"), frame(TEXT, "hello")];
    both(&server, "5.9", &sent, &wrong());
    let sent = [frame(MIDDLE, "nothing to go on with"), frame(TEXT, "hello")];
    both(&server, "5.12", &sent, &wrong());
    let sent = [
        frame(FIRST_TEXT, one),
        frame(LAST, two),
        frame(MIDDLE, "3"),
        frame(LAST, "4"),
    ];
    both(&server, "5.15", &sent, &wrong());
    let sent = [frame(MIDDLE, one), frame(TEXT, two), frame(LAST, "3")];
    both(&server, "5.16", &sent, &wrong());
    let sent = [frame(FIRST_TEXT, one), frame(TEXT, two)];
    both(&server, "5.18", &sent, &wrong());
    let sent = [
        frame(FIRST_TEXT, "1"),
        frame(MIDDLE, "2"),
        frame(PING, "ping 1"),
        frame(MIDDLE, "3"),
        frame(MIDDLE, "4"),
        frame(PING, "ping 2"),
        frame(LAST, "5"),
    ];
    let back = [
        echo(PONG, "ping 1"),
        echo(PONG, "ping 2"),
        echo(TEXT, "12345"),
    ];
    both(&server, "5.19", &sent, &back);
    let sent = [frame(FIRST_BINARY, ""), frame(MIDDLE, ""), frame(LAST, "")];
    both(&server, "6.1", &sent, &[echo(BINARY, "")]);
    server.stop();
}

/// What is UTF-8, from one end of Unicode to the other.
const VALID: [&str; 10] = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\u{0}",
    "\u{80}\u{7ff}",
    "\u{800}\u{ffff}",
    "\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}\u{fffd}",
    "\u{fffe}\u{1fffe}\u{10ffff}",
    "\u{fdd0}\u{fdef}",
    "",
];

/// What is not: surrogates, code points beyond the end, too many bytes, too few, and bytes that never are.
const INVALID: [&[u8]; 26] = [
    b"\x80",
    b"\xbf\x80",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce",
    b"\xe1\xbd",
    b"\xf0\x90\x80",
    b"\xc0 ",
    b"\xe0 ",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
];

#[test]
fn utf_8_6() {
    let server = gallery().start();
    for text in VALID {
        let data = text.as_bytes();
        both(
            &server,
            &format!("6.2, {text:?}"),
            &[frame(TEXT, data)],
            &[echo(TEXT, data)],
        );
        if !data.is_empty() {
            let sent = parts(TEXT, data, 1);
            case(
                &server,
                &format!("6.2, {text:?} in frames"),
                &sent,
                sent.len(),
                &[echo(TEXT, data)],
            );
        }
    }
    for data in INVALID {
        let back = || [Back::Closed(1007)];
        both(
            &server,
            &format!("6.3, {data:x?}"),
            &[frame(TEXT, data)],
            &back(),
        );
        let sent = parts(TEXT, data, 1);
        case(
            &server,
            &format!("6.3, {data:x?} in frames"),
            &sent,
            sent.len(),
            &back(),
        );
        case(
            &server,
            &format!("6.3, {data:x?} as bytes"),
            &frame(BINARY, data),
            1,
            &[echo(BINARY, data)],
        );
    }
    server.stop();
}

#[test]
fn text_that_cannot_become_utf_8_is_refused_before_the_rest_is_there_6_4() {
    let server = gallery().start();
    let valid = "κόσμε".as_bytes();
    let never = b"\xf4\x90\x80\x80";
    // The frames go on, but they are not sent: what is there has to be enough.
    let sent = [frame(FIRST_TEXT, valid), frame(MIDDLE, never)].concat();
    case(&server, "6.4.1", &sent, sent.len(), &[Back::Closed(1007)]);
    let sent = [frame(FIRST_TEXT, [valid, &never[..2]].concat())].concat();
    case(&server, "6.4.2", &sent, sent.len(), &[Back::Closed(1007)]);
    let sent = frame(TEXT, [valid, never, b"edited"].concat());
    let end = sent.len() - 6;
    case(&server, "6.4.3", &sent[..end], 1, &[Back::Closed(1007)]);
    case(
        &server,
        "6.4.4",
        &sent[..end - 2],
        end,
        &[Back::Closed(1007)],
    );
    server.stop();
}

#[test]
fn closing_7() {
    let server = gallery().start();
    let closed = |code| [Back::Closed(code)];
    let sent = [frame(TEXT, "hello"), close(1000, "")].concat();
    case(&server, "7.1.1", &sent, sent.len(), &closed(1000));
    for (number, late) in [
        ("7.1.2", close(1000, "")),
        ("7.1.3", frame(PING, "")),
        ("7.1.4", frame(TEXT, "too late")),
        (
            "7.1.5",
            [frame(FIRST_TEXT, "too"), frame(LAST, "late")].concat(),
        ),
    ] {
        both(&server, number, &[close(1000, ""), late], &closed(1000));
    }
    both(&server, "7.3.1", &[frame(CLOSE, "")], &closed(1000));
    both(&server, "7.3.2", &[frame(CLOSE, "a")], &closed(1002));
    both(&server, "7.3.3", &[close(1000, "")], &closed(1000));
    both(
        &server,
        "7.3.4",
        &[close(1000, "Hello World!")],
        &closed(1000),
    );
    both(
        &server,
        "7.3.5",
        &[close(1000, &"*".repeat(123))],
        &closed(1000),
    );
    both(
        &server,
        "7.3.6",
        &[close(1000, &"*".repeat(124))],
        &closed(1002),
    );
    let reason = [&1000_u16.to_be_bytes()[..], b"\xce\xba\xed\xa0\x80"].concat();
    both(&server, "7.5.1", &[frame(CLOSE, reason)], &closed(1007));
    for code in (1000..=1003)
        .chain(1007..=1014)
        .chain([3000, 3999, 4000, 4999])
    {
        both(
            &server,
            &format!("7.7, {code}"),
            &[close(code, "")],
            &closed(code),
        );
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        both(
            &server,
            &format!("7.9, {code}"),
            &[close(code, "")],
            &closed(1002),
        );
    }
    server.stop();
}

#[test]
fn limits_9() {
    let server = gallery().arg("--ws-max-size", "1M").start();
    for size in [64 << 10, 256 << 10, 1 << 20] {
        for (first, byte) in [(TEXT, b'*'), (BINARY, 0xfe)] {
            let data = vec![byte; size];
            let back = || [echo(first, &data)];
            case(
                &server,
                &format!("9.{}, {size}", first & 3),
                &frame(first, &data),
                size,
                &back(),
            );
            let sent = parts(first, &data, 4096);
            case(
                &server,
                &format!("9.{}, {size} in frames", first & 3),
                &sent,
                1 << 16,
                &back(),
            );
            case(&server, &format!("9.5, {size} by 997"), &sent, 997, &back());
        }
    }
    for sent in [
        frame(TEXT, vec![b'*'; (1 << 20) + 1]),
        parts(TEXT, &vec![b'*'; (1 << 20) + 1], 4096),
    ] {
        case(
            &server,
            "over the limit",
            &sent,
            sent.len(),
            &[Back::Closed(1009)],
        );
    }
    for first in [TEXT, BINARY] {
        let mut connection = open(server.port(), "/ws_echo");
        for length in [0, 16, 64, 256] {
            let data = vec![b'*'; length];
            for _ in 0..250 {
                connection.send(frame(first, &data));
                assert_eq!(
                    next(&mut connection),
                    (first, data.clone()),
                    "9.7, {length}"
                );
            }
        }
    }
    server.stop();
}

#[test]
fn auto_fragmentation_10() {
    let server = gallery().start();
    let data = vec![b'*'; 65_536];
    case(
        &server,
        "10.1.1",
        &parts(TEXT, &data, 1300),
        1 << 20,
        &[echo(TEXT, &data)],
    );
    server.stop();
}

#[test]
fn offers_of_compression_13() {
    let server = gallery().start();
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let windowed = format!("{plain}; server_max_window_bits=9");
    for (offer, answer) in [
        ("permessage-deflate", Some(plain)),
        (
            "permessage-deflate; client_no_context_takeover",
            Some(plain),
        ),
        ("permessage-deflate; client_max_window_bits", Some(plain)),
        ("permessage-deflate; client_max_window_bits=9", Some(plain)),
        (
            "permessage-deflate; server_max_window_bits=9",
            Some(windowed.as_str()),
        ),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            Some(plain),
        ),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; unheard_of", None),
        ("permessage-bzip2", None),
        ("permessage-bzip2, permessage-deflate", Some(plain)),
    ] {
        let offered = handshake("/ws_echo").header("Sec-WebSocket-Extensions", offer);
        let mut connection = Connection::begin(server.port(), &offered);
        let head = connection.head().unwrap();
        assert_eq!(head.header("sec-websocket-extensions"), answer, "{offer}");
        connection.send(frame(TEXT, "as it is"));
        assert_eq!(
            next(&mut connection),
            (TEXT, b"as it is".to_vec()),
            "{offer}"
        );
    }
    server.stop();
}

/// Messages of many lengths with each set of parameters, as in 12 and 13, with
/// [websockets](https://websockets.readthedocs.io/).
const COMPRESSED: &str = r#"
import json, os, random
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate
from websockets.sync.client import connect

words = [word.encode() for word in "the quick brown fox jumps over the lazy dog".split()]
picked = random.Random(7)
for parameters in ({}, {"server_no_context_takeover": True, "client_no_context_takeover": True},
                   {"server_max_window_bits": 9}, {"client_max_window_bits": 9},
                   {"server_max_window_bits": 15, "client_max_window_bits": 15}):
    url = f"ws://127.0.0.1:{os.environ['PORT']}/ws_echo"
    with connect(url, extensions=[Deflate(**parameters)], max_size=None) as ws:
        assert ws.protocol.extensions, parameters
        for size in (16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072):
            text = b" ".join(picked.choices(words, k=size // 4))[:size].decode()
            noise = picked.randbytes(size)
            for message in (text, noise):
                ws.send(message)
                assert ws.recv() == message, (parameters, size)
            ws.send([text[:7], text[7:], "", text])
            assert ws.recv() == text + text
"#;

#[test]
fn compressed_messages_12_and_13() {
    let server = gallery().start();
    script(server.port(), COMPRESSED);
    server.stop();
}
