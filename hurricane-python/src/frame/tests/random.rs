//! Anything.

use proptest::prelude::*;

use super::*;

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
