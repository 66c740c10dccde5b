//! Streams that are broken.

use super::*;

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
