//! Values in tables of fields, and the properties of messages, in frames.

use hurricane_core::{FieldTable, FieldValue, Properties, bytes::Bytes};

use crate::frame::marshal::{DecodeError, Reader, Writer};

/// How deep tables may lie within each other on their way from Python.
const DEPTH: usize = 32;

/// Writes properties as a dict of those that are set; `None` if there are none.
///
/// The key of headers that hold what marshal has no type for is `_headers`.
pub(super) fn write_properties(writer: &mut Writer<'_>, properties: &Properties) {
    let Properties {
        content_type,
        content_encoding,
        headers,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        timestamp,
        kind,
        user_id,
        app_id,
        cluster_id,
    } = properties;
    let texts = [
        ("content_type", content_type),
        ("content_encoding", content_encoding),
        ("correlation_id", correlation_id),
        ("reply_to", reply_to),
        ("expiration", expiration),
        ("message_id", message_id),
        ("type", kind),
        ("user_id", user_id),
        ("app_id", app_id),
        ("cluster_id", cluster_id),
    ];
    let numbers = [("delivery_mode", delivery_mode), ("priority", priority)];
    let mut any = false;
    let mut key = |writer: &mut Writer<'_>, name: &str| {
        if !std::mem::replace(&mut any, true) {
            writer.dict();
        }
        writer.text(name);
    };
    for (name, text) in texts {
        if let Some(text) = text {
            key(writer, name);
            writer.text(text);
        }
    }
    for (name, number) in numbers {
        if let Some(number) = number {
            key(writer, name);
            writer.int(i32::from(*number));
        }
    }
    if let Some(timestamp) = timestamp {
        key(writer, "timestamp");
        writer.long(i64::try_from(*timestamp).unwrap_or(i64::MAX));
    }
    if !headers.is_empty() {
        let plain = headers.values().all(is_plain);
        key(writer, if plain { "headers" } else { "_headers" });
        write_table(writer, headers);
    }
    if any {
        writer.end_dict();
    } else {
        writer.none();
    }
}

/// Whether marshal has a type for it.
fn is_plain(value: &FieldValue) -> bool {
    match value {
        FieldValue::Decimal { .. } | FieldValue::Timestamp(_) => false,
        FieldValue::Array(values) => values.iter().all(is_plain),
        FieldValue::Table(table) => table.values().all(is_plain),
        _ => true,
    }
}

fn write_table(writer: &mut Writer<'_>, table: &FieldTable) {
    writer.dict();
    for (name, value) in table {
        writer.text(name);
        write_value(writer, value);
    }
    writer.end_dict();
}

/// Writes a value; what marshal has no type for is a tuple of a letter and numbers.
fn write_value(writer: &mut Writer<'_>, value: &FieldValue) {
    match value {
        FieldValue::Bool(value) => writer.bool(*value),
        FieldValue::I8(value) => writer.int(i32::from(*value)),
        FieldValue::U8(value) => writer.int(i32::from(*value)),
        FieldValue::I16(value) => writer.int(i32::from(*value)),
        FieldValue::U16(value) => writer.int(i32::from(*value)),
        FieldValue::I32(value) => writer.int(*value),
        FieldValue::U32(value) => writer.long(i64::from(*value)),
        FieldValue::I64(value) => writer.long(*value),
        FieldValue::F32(value) => writer.float(f64::from(*value)),
        FieldValue::F64(value) => writer.float(*value),
        FieldValue::Decimal { scale, value } => {
            writer.tuple(3);
            writer.text("D");
            writer.int(i32::from(*scale));
            writer.long(i64::from(*value));
        }
        FieldValue::Text(text) => writer.text(text),
        FieldValue::Bytes(bytes) => writer.bytes(bytes),
        FieldValue::Timestamp(seconds) => {
            writer.tuple(2);
            writer.text("T");
            writer.long(i64::try_from(*seconds).unwrap_or(i64::MAX));
        }
        FieldValue::Array(values) => {
            writer.list(values.len());
            for value in values {
                write_value(writer, value);
            }
        }
        FieldValue::Table(table) => write_table(writer, table),
        // No value, and whatever may be added.
        _ => writer.none(),
    }
}

/// Reads what `basehandler.py` makes of properties: a list of names and values.
pub(super) fn read_properties(reader: &mut Reader<'_>) -> Result<Properties, DecodeError> {
    let mut properties = Properties::default();
    for _ in 0..reader.sequence()? {
        let name = reader.fields(2)?.text()?;
        let text = match name {
            b"content_type" => &mut properties.content_type,
            b"content_encoding" => &mut properties.content_encoding,
            b"correlation_id" => &mut properties.correlation_id,
            b"reply_to" => &mut properties.reply_to,
            b"expiration" => &mut properties.expiration,
            b"message_id" => &mut properties.message_id,
            b"type" => &mut properties.kind,
            b"user_id" => &mut properties.user_id,
            b"app_id" => &mut properties.app_id,
            b"cluster_id" => &mut properties.cluster_id,
            b"delivery_mode" => {
                properties.delivery_mode = Some(octet(reader)?);
                continue;
            }
            b"priority" => {
                properties.priority = Some(octet(reader)?);
                continue;
            }
            b"timestamp" => {
                properties.timestamp = Some(reader.unsigned()?);
                continue;
            }
            b"headers" => {
                properties.headers = read_table(reader, DEPTH)?;
                continue;
            }
            _ => {
                reader.skip()?;
                continue;
            }
        };
        *text = Some(reader.string()?);
    }
    Ok(properties)
}

fn octet(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let value = reader.int32()?;
    u8::try_from(value).map_err(|_| DecodeError::Range(i64::from(value)))
}

fn read_table(reader: &mut Reader<'_>, depth: usize) -> Result<FieldTable, DecodeError> {
    let count = reader.sequence()?;
    (0..count)
        .map(|_| {
            let name = reader.fields(2)?.string()?;
            Ok((name, read_value(reader, depth)?))
        })
        .collect()
}

/// Reads a value; what marshal has no type for, or this side no reader, is a tuple of a letter and texts.
fn read_value(reader: &mut Reader<'_>, depth: usize) -> Result<FieldValue, DecodeError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(DecodeError::Fields(DEPTH));
    };
    Ok(match reader.peek()? {
        b'N' => {
            reader.none();
            FieldValue::Void
        }
        b'T' | b'F' => FieldValue::Bool(reader.bool()?),
        b'i' => FieldValue::I32(reader.int32()?),
        b'u' => FieldValue::Text(reader.string()?),
        b's' => FieldValue::Bytes(Bytes::copy_from_slice(reader.bytes()?)),
        b'[' => {
            let count = reader.sequence()?;
            let values = (0..count).map(|_| read_value(reader, depth));
            FieldValue::Array(values.collect::<Result<_, _>>()?)
        }
        _ => {
            let letter = reader.fields(2)?.text()?;
            if letter == b"F" {
                return Ok(FieldValue::Table(read_table(reader, depth)?));
            }
            let text = reader.string()?;
            let wrong = DecodeError::Unknown(char::from(*letter.first().unwrap_or(&b'?')));
            let value = match letter {
                b"l" => text.parse().ok().map(FieldValue::I64),
                b"d" => text.parse().ok().map(FieldValue::F64),
                b"T" => text.parse().ok().map(FieldValue::Timestamp),
                b"D" => text.split_once(' ').and_then(|(scale, value)| {
                    Some(FieldValue::Decimal {
                        scale: scale.parse().ok()?,
                        value: value.parse().ok()?,
                    })
                }),
                _ => None,
            };
            value.ok_or(wrong)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_are_not_set_are_not_sent() {
        let mut out = Vec::new();
        write_properties(&mut Writer::new(&mut out), &Properties::default());
        assert_eq!(out, b"N");
    }

    #[test]
    fn only_headers_with_values_of_their_own_kind_are_marked() {
        let written = |value| {
            let properties = Properties {
                headers: FieldTable::from([("a".to_owned(), value)]),
                ..Properties::default()
            };
            let mut out = Vec::new();
            write_properties(&mut Writer::new(&mut out), &properties);
            out
        };
        assert_eq!(
            written(FieldValue::I64(-1)),
            b"{z\x07headers{z\x01ai\xff\xff\xff\xff00"
        );
        assert_eq!(
            written(FieldValue::Timestamp(2)),
            b"{z\x08_headers{z\x01a)\x02z\x01Ti\x02\x00\x00\x0000"
        );
    }
}
