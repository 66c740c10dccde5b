use proptest::prelude::*;

use self::masked::frame;
use super::*;

#[path = "../../../tests/harness/masked.rs"]
mod masked;

fn protocol() -> Protocol {
    Protocol::new(1000, None)
}

fn compressing() -> Protocol {
    Protocol::new(100_000, Deflate::agree("permessage-deflate"))
}

/// Everything that is in the frames, up to the first violation.
fn read(protocol: &mut Protocol, frames: &[Vec<u8>]) -> Result<Vec<Incoming>, u16> {
    let mut input = BytesMut::from(frames.concat().as_slice());
    let mut all = Vec::new();
    while let Some(incoming) = protocol
        .read(&mut input)
        .map_err(|violation| violation.code)?
    {
        all.push(incoming);
    }
    Ok(all)
}

fn text(data: &str) -> Incoming {
    message(true, data.as_bytes())
}

fn message(text: bool, data: &[u8]) -> Incoming {
    Incoming::Message {
        text,
        data: data.into(),
    }
}

// The cases are named for those of the Autobahn test suite.

#[test]
fn messages_of_all_lengths_are_read() {
    for length in [0, 1, 125, 126, 127, 128, 1000] {
        let data = vec![b'*'; length];
        assert_eq!(
            read(&mut protocol(), &[frame(0x81, &data)]),
            Ok(vec![message(true, &data)])
        );
        assert_eq!(
            read(&mut protocol(), &[frame(0x82, &data)]),
            Ok(vec![message(false, &data)])
        );
    }
    assert_eq!(
        read(&mut protocol(), &[frame(0x81, [b'*'; 1001])]),
        Err(1009)
    );
}

#[test]
fn messages_come_byte_by_byte_too() {
    let frames = [
        frame(0x01, b"one "),
        frame(0x89, b"ping"),
        frame(0x80, b"message"),
        frame(0x82, [0; 500]),
    ];
    let mut protocol = protocol();
    let mut input = BytesMut::new();
    let mut all = Vec::new();
    for byte in frames.concat() {
        input.extend_from_slice(&[byte]);
        all.extend(protocol.read(&mut input).unwrap());
    }
    let wanted = [
        Incoming::Ping(b"ping".to_vec()),
        text("one message"),
        message(false, &[0; 500]),
    ];
    assert_eq!(all, wanted);
}

#[test]
fn pings_and_pongs_are_short_and_whole() {
    let ping = Incoming::Ping(vec![0xfe; 125]);
    assert_eq!(
        read(&mut protocol(), &[frame(0x89, [0xfe; 125])]),
        Ok(vec![ping])
    );
    assert_eq!(
        read(&mut protocol(), &[frame(0x89, [0xfe; 126])]),
        Err(1002)
    );
    assert_eq!(
        read(&mut protocol(), &[frame(0x8a, b"unasked")]),
        Ok(vec![Incoming::Pong])
    );
    assert_eq!(
        read(&mut protocol(), &[frame(0x09, b"in parts")]),
        Err(1002)
    );
}

#[test]
fn reserved_bits_and_kinds_are_refused() {
    for bits in [0x10, 0x20, 0x30, 0x40, 0x70] {
        for kind in [0x81, 0x82, 0x89, 0x88] {
            assert_eq!(
                read(&mut protocol(), &[frame(kind | bits, b"")]),
                Err(1002),
                "{bits:x} {kind:x}"
            );
        }
    }
    for kind in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(
            read(&mut protocol(), &[frame(0x80 | kind, b"x")]),
            Err(1002),
            "{kind}"
        );
    }
    for first in [0xc0, 0xc8, 0xc9] {
        let frames = [frame(0x41, b""), frame(first, b"")];
        assert_eq!(
            read(&mut compressing(), &frames),
            Err(1002),
            "compression is for messages"
        );
    }
}

#[test]
fn a_frame_without_a_mask_is_refused() {
    assert_eq!(read(&mut protocol(), &[vec![0x81, 1, b'a']]), Err(1002));
}

#[test]
fn messages_in_parts_have_an_order() {
    let whole = [
        frame(0x01, b"a"),
        frame(0x00, b""),
        frame(0x00, b"b"),
        frame(0x80, b"c"),
    ];
    assert_eq!(read(&mut protocol(), &whole), Ok(vec![text("abc")]));
    for wrong in [
        vec![frame(0x80, b"nothing to go on with")],
        vec![frame(0x00, b"likewise")],
        vec![frame(0x01, b"a"), frame(0x81, b"another")],
        vec![frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")],
    ] {
        assert_eq!(read(&mut protocol(), &wrong), Err(1002));
    }
    let long = [frame(0x01, [b'a'; 600]), frame(0x80, [b'a'; 401])];
    assert_eq!(read(&mut protocol(), &long), Err(1009));
}

#[test]
fn text_is_utf_8() {
    let kosme = "κόσμε".as_bytes();
    for split in 0..kosme.len() {
        let frames = [frame(0x01, &kosme[..split]), frame(0x80, &kosme[split..])];
        assert_eq!(read(&mut protocol(), &frames), Ok(vec![text("κόσμε")]));
    }
    for wrong in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xf4\x90\x80\x80",
        b"\xc0\x80",
        b"\xff",
        b"\xce",
    ] {
        assert_eq!(
            read(&mut protocol(), &[frame(0x81, wrong)]),
            Err(1007),
            "{wrong:x?}"
        );
        assert!(read(&mut protocol(), &[frame(0x82, wrong)]).is_ok());
    }
}

#[test]
fn close_frames_have_a_code_that_may_be_sent() {
    let close = |code: u16, reason: &[u8]| frame(0x88, [&code.to_be_bytes()[..], reason].concat());
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        let read = read(&mut protocol(), &[close(code, b"why")]);
        assert_eq!(read, Ok(vec![Incoming::Close(code, "why".to_owned())]));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        assert_eq!(
            read(&mut protocol(), &[close(code, b"")]),
            Err(1002),
            "{code}"
        );
    }
    let none = Incoming::Close(code::NONE, String::new());
    assert_eq!(read(&mut protocol(), &[frame(0x88, b"")]), Ok(vec![none]));
    assert_eq!(read(&mut protocol(), &[frame(0x88, b"\x03")]), Err(1002));
    assert_eq!(read(&mut protocol(), &[close(1000, b"\xff")]), Err(1007));
    assert_eq!(
        read(&mut protocol(), &[close(1000, &[b'x'; 124])]),
        Err(1002)
    );
}

#[test]
fn close_frames_are_written_so_that_they_may_be_read() {
    let written = |code, reason: &str| {
        let mut out = Vec::new();
        protocol().write_close(&mut out, code, reason);
        out
    };
    assert_eq!(written(1000, ""), [0x88, 2, 0x03, 0xe8]);
    assert_eq!(
        written(4000, "bye"),
        [&[0x88, 5, 0x0f, 0xa0][..], b"bye"].concat()
    );
    for code in [0, 1005, 1006, 1015, 60_000] {
        assert_eq!(written(code, "why"), [0x88, 0], "{code}");
    }
    let long = written(1000, &"ä".repeat(100));
    assert_eq!(long.len(), 2 + 2 + 122, "cut between characters");
}

#[test]
fn offers_of_compression_are_taken_as_far_as_they_can_be() {
    let answer = |offer: &str| Deflate::agree(offer).map(Deflate::answer);
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=12; server_no_context_takeover",
        "x-other, permessage-deflate",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate",
    ] {
        assert_eq!(answer(offer).as_deref(), Some(plain), "{offer}");
    }
    let with_window = format!("{plain}; server_max_window_bits=10");
    assert_eq!(
        answer("permessage-deflate; server_max_window_bits=10"),
        Some(with_window)
    );
    for offer in [
        "",
        "x-other",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; unknown",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
    ] {
        assert_eq!(answer(offer), None, "{offer}");
    }
}

#[test]
fn what_does_not_decompress_or_becomes_too_long_is_refused() {
    assert_eq!(
        read(&mut compressing(), &[frame(0xc1, b"\xff\xff\xff")]),
        Err(1007)
    );
    let deflate = Deflate::agree("permessage-deflate").unwrap();
    let bomb = deflate.compress(&vec![0; 10_000_000]);
    assert!(bomb.len() < 100_000);
    assert_eq!(read(&mut compressing(), &[frame(0xc2, &bomb)]), Err(1009));
    let fits = deflate.compress(&vec![0; 100_000]);
    assert_eq!(
        read(&mut compressing(), &[frame(0xc2, &fits)]),
        Ok(vec![message(false, &vec![0; 100_000])])
    );
}

/// Turns a frame of the server into one of a client.
fn echoed(written: &[u8]) -> Vec<u8> {
    let codec = {
        let mut codec = Codec::new();
        codec.add_reserved_bits((true, false, false));
        codec
    };
    let Ok(Parsing::Done { offset, .. }) = codec.decode_header(written) else {
        panic!("no frame: {written:x?}");
    };
    frame(written[0], &written[offset..])
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(data in prop::collection::vec(any::<u8>(), 0..3000), repeat in 1..30_usize, window in 9..16_u8) {
        let data = data.repeat(repeat);
        let offer = format!("permessage-deflate; server_max_window_bits={window}");
        for deflate in [None, Deflate::agree(&offer)] {
            let mut protocol = Protocol::new(1 << 20, deflate);
            let mut out = Vec::new();
            protocol.write_message(&mut out, false, &data);
            prop_assert_eq!(read(&mut protocol, &[echoed(&out)]), Ok(vec![message(false, &data)]));
        }
    }

    #[test]
    fn no_input_makes_it_panic(input in prop::collection::vec(any::<u8>(), 0..200), compress in any::<bool>()) {
        let mut protocol = if compress { compressing() } else { protocol() };
        let _ = read(&mut protocol, &[input]);
    }
}

/// What a client has to send of the frames until they are refused.
fn refused_after(frames: &[Vec<u8>]) -> Option<usize> {
    let mut protocol = Protocol::new(100_000, None);
    let mut input = BytesMut::new();
    frames.concat().iter().position(|byte| {
        input.extend_from_slice(&[*byte]);
        let refused = protocol.read(&mut input).err();
        assert_eq!(refused.as_ref().map_or(1007, |refused| refused.code), 1007);
        refused.is_some()
    })
}

#[test]
fn text_is_refused_at_the_byte_that_makes_it_none() {
    // 6.3 and 6.4: a code point beyond Unicode in the middle.
    let bad = b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80edited".as_slice();
    let head = 6;
    assert_eq!(refused_after(&[frame(0x81, bad)]), Some(head + 6));
    let parts = [frame(0x01, &bad[..6]), frame(0x80, &bad[6..])];
    assert_eq!(refused_after(&parts), Some(head + 6 + head));
    // One that is cut off is none either, but only at the end.
    let cut = [frame(0x01, &bad[..4]), frame(0x80, b"")];
    assert_eq!(refused_after(&cut), Some(head + 4 + head - 1));
    assert_eq!(refused_after(&[frame(0x81, "κόσμε".as_bytes())]), None);
    // Of bytes nothing is asked.
    assert_eq!(refused_after(&[frame(0x82, bad)]), None);
}

proptest! {
    #[test]
    fn messages_come_in_pieces_of_any_size(
        messages in prop::collection::vec((any::<bool>(), "\\PC{0,300}", 0_usize..4), 1..8),
        sizes in prop::collection::vec(1_usize..200, 1..20),
    ) {
        let mut frames = Vec::new();
        let mut wanted = Vec::new();
        for (text, data, more) in &messages {
            let first = if *text { 1 } else { 2 };
            let parts: Vec<_> = data.as_bytes().chunks(data.len() / (more + 1) + 1).collect();
            let parts = if parts.is_empty() { vec![&b""[..]] } else { parts };
            for (index, part) in parts.iter().enumerate() {
                let kind = if index == 0 { first } else { 0 };
                let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
                frames.extend(frame(kind | fin, part));
            }
            wanted.push(message(*text, data.as_bytes()));
        }
        let (mut protocol, mut input, mut all) = (Protocol::new(10_000, None), BytesMut::new(), Vec::new());
        let (mut rest, mut sizes) = (frames.as_slice(), sizes.iter().cycle());
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).min(rest.len());
            input.extend_from_slice(&rest[..size]);
            rest = &rest[size..];
            while let Some(incoming) = protocol.read(&mut input).unwrap() {
                all.push(incoming);
            }
        }
        prop_assert_eq!(all, wanted);
        prop_assert_eq!(protocol.missing(), 0);
    }
}
