use proptest::prelude::*;

use super::*;

/// A value and whether it is marked.
type Texts = Vec<(bool, String)>;

fn prepare(texts: &Texts) -> Prepared {
    Prepared::new(|writer| {
        for (common, text) in texts {
            if *common {
                writer.common(|writer| writer.text(text));
            } else {
                writer.text(text);
            }
        }
    })
}

fn frame(values: &[Texts]) -> Vec<u8> {
    let mut frame = b"before".to_vec();
    let mut repeats = Repeats::default();
    for texts in values {
        Writer::new(&mut frame).prepared(&prepare(texts), &mut repeats);
    }
    frame.split_off(6)
}

/// The texts of a frame as `marshal.loads` would have them, and how many of them are references.
fn load(mut frame: &[u8]) -> (Vec<String>, usize) {
    let mut take = |count| {
        let (taken, rest) = frame.split_at_checked(count)?;
        frame = rest;
        Some(taken)
    };
    let (mut texts, mut numbered, mut references) = (Vec::new(), Vec::new(), 0);
    while let Some([code]) = take(1) {
        let text: String = if *code == b'r' {
            references += 1;
            let number = u32::from_le_bytes(take(4).unwrap().try_into().unwrap());
            let found: &String = &numbered[number as usize];
            found.clone()
        } else {
            assert_eq!(code & !NUMBERED, b'z');
            let length = take(1).unwrap()[0].into();
            String::from_utf8(take(length).unwrap().to_vec()).unwrap()
        };
        if code & NUMBERED != 0 {
            numbered.push(text.clone());
        }
        texts.push(text);
    }
    (texts, references)
}

fn common(texts: &[&str]) -> Texts {
    texts
        .iter()
        .map(|text| (true, (*text).to_owned()))
        .collect()
}

#[test]
fn one_alone_is_written_as_it_is() {
    let mut plain = Vec::new();
    Writer::new(&mut plain).text("a");
    assert_eq!(frame(&[common(&["a"])]), plain);
}

#[test]
fn what_is_as_in_the_first_one_is_a_reference() {
    let first = common(&["GET", "h", "*/*", "curl"]);
    for (other, references) in [
        (common(&["GET", "h", "*/*", "curl"]), 4),
        // One is missing, one has come in between, one has another value.
        (common(&["GET", "h", "curl"]), 3),
        (common(&["GET", "h", "new", "*/*", "curl"]), 4),
        (common(&["HEAD", "h", "*/*", "curl"]), 3),
        // They come in another order.
        (common(&["curl", "*/*", "h", "GET"]), 1),
        (vec![(false, "GET".to_owned())], 0),
    ] {
        let (texts, found) = load(&frame(&[first.clone(), other.clone()]));
        let wanted: Vec<_> = first.iter().chain(&other).map(|(_, text)| text).collect();
        assert_eq!(texts.iter().collect::<Vec<_>>(), wanted);
        assert_eq!(found, references, "{other:?}");
    }
}

#[test]
fn only_some_values_are_looked_through() {
    let many: Vec<_> = (0..2 * AHEAD).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let near = common(&[many[AHEAD - 1]]);
    let far = common(&[many[AHEAD]]);
    let (_, references) = load(&frame(&[common(&many), near, far]));
    assert_eq!(references, 1);
}

#[test]
fn a_new_frame_begins_anew() {
    let mut repeats = Repeats::default();
    let value = prepare(&common(&["GET"]));
    let write = |repeats: &mut Repeats| {
        let mut frame = Vec::new();
        Writer::new(&mut frame).prepared(&value, repeats);
        Writer::new(&mut frame).prepared(&value, repeats);
        frame
    };
    let first = write(&mut repeats);
    repeats.clear();
    assert_eq!(write(&mut repeats), first);
}

proptest! {
    #[test]
    fn nothing_is_lost_or_changed(
        values in proptest::collection::vec(
            proptest::collection::vec((any::<bool>(), "[ab]{0,2}"), 0..12),
            0..6,
        ),
    ) {
        let (texts, _) = load(&frame(&values));
        let wanted: Vec<_> = values.into_iter().flatten().map(|(_, text)| text).collect();
        prop_assert_eq!(texts, wanted);
    }
}
