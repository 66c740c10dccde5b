//! The part of `CPython`'s `marshal` format that the frames use.
//!
//! `marshal` is no public standard, but the type codes below have been the same in every
//! `CPython` since 3.4 (`Python/marshal.c`): toward Python we write those that are quickest to
//! load, from Python we read version 2, which has no references between objects.

use std::ops::Range;

use super::prepared::{Prepared, Repeats};

/// Why a payload could not be read. It means that the two ends do not fit or the stream broke.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    #[error("frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("value ends early")]
    Truncated,
    #[error("value has type {found:?} where {wanted} was expected")]
    Type { found: char, wanted: &'static str },
    #[error("value of unknown type {0:?}")]
    Unknown(char),
    #[error("number {0} is out of range")]
    Range(i64),
    #[error("item has {0} fields")]
    Fields(usize),
}

/// Writes values for `marshal.loads`.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the values are noted that are [marked](Self::common).
    common: Option<&'a mut Vec<Range<usize>>>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, common: None }
    }

    pub(super) fn marking(out: &'a mut Vec<u8>, common: &'a mut Vec<Range<usize>>) -> Self {
        let common = Some(common);
        Self { out, common }
    }

    /// Marks the value that `write` writes as one that others of the same frame are likely to have
    /// too. It is a text, bytes or a tuple, which once loaded nobody changes.
    pub(crate) fn common(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        write(self);
        let end = self.out.len();
        if let Some(common) = &mut self.common {
            common.push(start..end);
        }
    }

    /// Values that were written before.
    pub(crate) fn prepared(&mut self, value: &Prepared, repeats: &mut Repeats) {
        repeats.append(self.out, value);
    }

    /// The value of that number, instead of the value.
    pub(super) fn reference(&mut self, number: usize) {
        self.out.push(b'r');
        self.length(number);
    }

    pub(crate) fn none(&mut self) {
        self.out.push(b'N');
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.out.push(if value { b'T' } else { b'F' });
    }

    pub(crate) fn int(&mut self, value: i32) {
        self.out.push(b'i');
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A number of any size that fits: as a count of 15-bit digits, negative for a negative number,
    /// and the digits.
    pub(crate) fn long(&mut self, value: i64) {
        if let Ok(value) = i32::try_from(value) {
            return self.int(value);
        }
        self.out.push(b'l');
        let magnitude = value.unsigned_abs();
        let digits = (64 - magnitude.leading_zeros()).div_ceil(15);
        let count = digits.cast_signed() * if value < 0 { -1 } else { 1 };
        self.out.extend_from_slice(&count.to_le_bytes());
        for place in 0..digits {
            let digit = (magnitude >> (15 * place)) & 0x7fff;
            self.out.extend_from_slice(&(digit as u16).to_le_bytes());
        }
    }

    pub(crate) fn float(&mut self, value: f64) {
        self.out.push(b'g');
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.out.push(b's');
        self.length(value.len());
        self.out.extend_from_slice(value);
    }

    /// Text, as a Python `str`.
    pub(crate) fn text(&mut self, value: &str) {
        if value.is_ascii() {
            self.ascii(value.as_bytes());
        } else {
            self.out.push(b'u');
            self.length(value.len());
            self.out.extend_from_slice(value.as_bytes());
        }
    }

    /// Bytes as the `str` in which every character is one byte: the "native string" of PEP 3333.
    pub(crate) fn latin1(&mut self, value: &[u8]) {
        if value.is_ascii() {
            return self.ascii(value);
        }
        self.out.push(b'u');
        self.length(value.len() + value.iter().filter(|byte| !byte.is_ascii()).count());
        for &byte in value {
            let mut utf8 = [0; 2];
            self.out
                .extend_from_slice(char::from(byte).encode_utf8(&mut utf8).as_bytes());
        }
    }

    fn ascii(&mut self, value: &[u8]) {
        match u8::try_from(value.len()) {
            Ok(length) => self.out.extend_from_slice(&[b'z', length]),
            Err(_) => {
                self.out.push(b'a');
                self.length(value.len());
            }
        }
        self.out.extend_from_slice(value);
    }

    /// The head of a list; its items follow.
    pub(crate) fn list(&mut self, items: usize) {
        self.out.push(b'[');
        self.length(items);
    }

    /// The head of a tuple; its items follow.
    pub(crate) fn tuple(&mut self, items: u8) {
        self.out.extend_from_slice(&[b')', items]);
    }

    /// The head of a dict; its keys and values follow, then [`Writer::end_dict`].
    pub(crate) fn dict(&mut self) {
        self.out.push(b'{');
    }

    pub(crate) fn end_dict(&mut self) {
        self.out.push(b'0');
    }

    /// A value that was written elsewhere.
    #[cfg(test)]
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.out.extend_from_slice(value);
    }

    fn length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("a value is far below 4 GiB");
        self.out.extend_from_slice(&length.to_le_bytes());
    }
}

/// Reads what `marshal.dumps(value, 2)` wrote. Values are borrowed from the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    input: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input }
    }

    /// The type code of the next value.
    pub(crate) fn peek(&self) -> Result<u8, DecodeError> {
        self.input.first().copied().ok_or(DecodeError::Truncated)
    }

    /// Whether the next value is `None`; it is passed over if so.
    pub(crate) fn none(&mut self) -> bool {
        let none = self.input.first() == Some(&b'N');
        if none {
            self.input = &self.input[1..];
        }
        none
    }

    /// The head of a list or a tuple: how many items follow.
    pub(crate) fn sequence(&mut self) -> Result<usize, DecodeError> {
        match self.take(1)?[0] {
            b'(' | b'[' => self.length(),
            found => Err(wrong(found, "a list")),
        }
    }

    /// The head of a tuple that has this many items.
    pub(crate) fn fields(&mut self, count: usize) -> Result<&mut Self, DecodeError> {
        match self.sequence()? {
            found if found == count => Ok(self),
            found => Err(DecodeError::Fields(found)),
        }
    }

    /// An item of a list, a tuple that begins with its stream. One that has the wrong fields is the
    /// application's doing: it is passed over and becomes what `invalid` makes of it, and the
    /// channel goes on.
    pub(crate) fn item<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
        invalid: impl FnOnce(i32, DecodeError) -> T,
    ) -> Result<T, DecodeError> {
        let mut whole = *self;
        match read(self) {
            Err(error @ (DecodeError::Type { .. } | DecodeError::Fields(_))) => {
                let mut fields = whole;
                fields.sequence()?;
                let stream = fields.int32()?;
                whole.skip()?;
                *self = whole;
                Ok(invalid(stream, error))
            }
            item => item,
        }
    }

    /// A `str` as text for people.
    pub(crate) fn string(&mut self) -> Result<String, DecodeError> {
        Ok(String::from_utf8_lossy(self.text()?).into_owned())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.take(1)?[0] {
            b's' => {
                let length = self.length()?;
                self.take(length)
            }
            found => Err(wrong(found, "bytes")),
        }
    }

    /// A `str` as UTF-8, in which `CPython` lets lone surrogates pass.
    pub(crate) fn text(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.take(1)?[0] {
            b'u' => {
                let length = self.length()?;
                self.take(length)
            }
            found => Err(wrong(found, "text")),
        }
    }

    pub(crate) fn int32(&mut self) -> Result<i32, DecodeError> {
        match self.take(1)?[0] {
            b'i' => self.fixed(),
            found => Err(wrong(found, "a number")),
        }
    }

    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.take(1)?[0] {
            b'T' => Ok(true),
            b'F' => Ok(false),
            found => Err(wrong(found, "True or False")),
        }
    }

    /// A number that is not negative, of up to 63 bits.
    pub(crate) fn unsigned(&mut self) -> Result<u64, DecodeError> {
        let value = match self.take(1)?[0] {
            b'i' => i64::from(self.fixed()?),
            // A long is a count of 15-bit digits, negative for a negative number, and the digits.
            b'l' => {
                let digits = self.fixed()?;
                if !(0..=4).contains(&digits) {
                    return Err(DecodeError::Range(i64::from(digits)));
                }
                let mut value = 0;
                for place in 0..digits {
                    let digit: [u8; 2] = self.take(2)?.try_into().expect("two bytes were taken");
                    value |= i64::from(u16::from_le_bytes(digit)) << (15 * place);
                }
                value
            }
            found => return Err(wrong(found, "a number")),
        };
        u64::try_from(value).map_err(|_| DecodeError::Range(value))
    }

    /// Passes over one value of any type that can be in an answer.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        // Counted and not recursed into: how deep values lie within each other is the other side's doing.
        let mut left = 1_usize;
        let mut open_dicts = Vec::new();
        while left > 0 || !open_dicts.is_empty() {
            // A dict does not tell how many values it has: what was left waits until its end.
            if left == 0 && self.input.first() == Some(&b'0') {
                self.take(1)?;
                left = open_dicts.pop().unwrap_or_default();
                continue;
            }
            left = left.saturating_sub(1);
            match self.take(1)?[0] {
                b'N' | b'T' | b'F' | b'S' | b'.' => {}
                b'i' => {
                    self.take(4)?;
                }
                b'g' => {
                    self.take(8)?;
                }
                b'y' => {
                    self.take(16)?;
                }
                b'l' => {
                    let digits = self.fixed()?.unsigned_abs() as usize;
                    self.take(digits.saturating_mul(2))?;
                }
                b'u' | b's' => {
                    let length = self.length()?;
                    self.take(length)?;
                }
                b'(' | b'[' | b'<' | b'>' => left = left.saturating_add(self.length()?),
                b'{' => {
                    open_dicts.push(left);
                    left = 0;
                }
                found => return Err(DecodeError::Unknown(char::from(found))),
            }
        }
        Ok(())
    }

    fn fixed(&mut self) -> Result<i32, DecodeError> {
        let bytes = self.take(4)?.try_into().expect("four bytes were taken");
        Ok(i32::from_le_bytes(bytes))
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.fixed()?;
        usize::try_from(length).map_err(|_| DecodeError::Range(i64::from(length)))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .input
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated)?;
        self.input = rest;
        Ok(taken)
    }
}

fn wrong(found: u8, wanted: &'static str) -> DecodeError {
    DecodeError::Type {
        found: char::from(found),
        wanted,
    }
}
