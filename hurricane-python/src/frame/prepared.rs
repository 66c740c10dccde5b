//! Values that are written before the frame that they go into is begun.
//!
//! Requests that go to a worker together are alike: most have the method, the `Host` and many other
//! headers of the one before. `marshal` has a way to say that a value is one that was there before
//! (`FLAG_REF` and `TYPE_REF` in `CPython`'s `Python/marshal.c`). It is shorter, and to load it no
//! object is made, so what the later ones have in common with the first of a frame is written so.

use std::ops::Range;

use super::marshal::Writer;

/// In the type code of a value: it is numbered, so that it can be referred to.
const NUMBERED: u8 = 0x80;

/// So many of the first one's values are compared with one of a later one. Where one has a header
/// that the other has not, those behind it are still found.
const AHEAD: usize = 8;

/// Some values in a row, and which of them others are likely to have, too.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    data: Vec<u8>,
    /// Where the values lie that were [marked as common](Writer::common), none within another.
    common: Vec<Range<usize>>,
}

/// What can be referred to in the frame that is being written.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// Where the common values of the first one lie in the frame, in the order of their numbers.
    first: Vec<Range<usize>>,
    /// There was a second one: they have been numbered.
    numbered: bool,
}

// === impl Prepared ===

impl Prepared {
    pub(crate) fn new(write: impl FnOnce(&mut Writer<'_>)) -> Self {
        let mut prepared = Self {
            data: Vec::with_capacity(512),
            common: Vec::with_capacity(32),
        };
        write(&mut Writer::marking(
            &mut prepared.data,
            &mut prepared.common,
        ));
        prepared
    }
}

// === impl Repeats ===

impl Repeats {
    /// Appends values to a frame.
    pub(super) fn append(&mut self, frame: &mut Vec<u8>, value: &Prepared) {
        if self.first.is_empty() {
            let start = frame.len();
            let places = value.common.iter();
            self.first
                .extend(places.map(|place| start + place.start..start + place.end));
            frame.extend_from_slice(&value.data);
            return;
        }
        if !self.numbered {
            self.numbered = true;
            for place in &self.first {
                frame[place.start] |= NUMBERED;
            }
        }
        let mut written = 0;
        let mut next = 0;
        for place in &value.common {
            let candidates = next..self.first.len().min(next + AHEAD);
            let found = candidates.into_iter().find(|number| {
                let (first, other) = (
                    &frame[self.first[*number].clone()],
                    &value.data[place.clone()],
                );
                first[1..] == other[1..] && first[0] == other[0] | NUMBERED
            });
            if let Some(number) = found {
                frame.extend_from_slice(&value.data[written..place.start]);
                Writer::new(frame).reference(number);
                written = place.end;
                next = number + 1;
            }
        }
        frame.extend_from_slice(&value.data[written..]);
    }

    /// Begins with another frame.
    pub(crate) fn clear(&mut self) {
        self.first.clear();
        self.numbered = false;
    }
}

#[cfg(test)]
mod tests;
