//! Between what core calls a message and what lapin calls one.

use hurricane_core::{FieldTable, FieldValue, Properties};
use lapin::{
    BasicProperties,
    types::{self, AMQPValue, DecimalValue, ShortString},
};

use crate::BoxError;

/// A name or key; the protocol has 255 bytes for it.
pub(crate) fn short(text: &str) -> Result<ShortString, BoxError> {
    if text.contains('\0') {
        return Err("a name may not hold a zero byte".into());
    }
    ShortString::try_new(text).map_err(|_| {
        let start: String = text.chars().take(20).collect();
        format!("{start:?}... is longer than 255 bytes").into()
    })
}

pub(crate) fn to_table(fields: &FieldTable) -> Result<types::FieldTable, BoxError> {
    let mut table = types::FieldTable::default();
    for (name, value) in fields {
        table.insert(short(name)?, to_value(value)?);
    }
    Ok(table)
}

fn to_value(value: &FieldValue) -> Result<AMQPValue, BoxError> {
    Ok(match value {
        FieldValue::Bool(value) => AMQPValue::Boolean(*value),
        FieldValue::I8(value) => AMQPValue::ShortShortInt(*value),
        FieldValue::U8(value) => AMQPValue::ShortShortUInt(*value),
        FieldValue::I16(value) => AMQPValue::ShortInt(*value),
        FieldValue::U16(value) => AMQPValue::ShortUInt(*value),
        FieldValue::I32(value) => AMQPValue::LongInt(*value),
        FieldValue::U32(value) => AMQPValue::LongUInt(*value),
        FieldValue::I64(value) => AMQPValue::LongLongInt(*value),
        FieldValue::F32(value) => AMQPValue::Float(*value),
        FieldValue::F64(value) => AMQPValue::Double(*value),
        FieldValue::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue {
            scale: *scale,
            value: *value,
        }),
        FieldValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
        FieldValue::Bytes(bytes) => AMQPValue::ByteArray(bytes.to_vec().into()),
        FieldValue::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
        FieldValue::Array(values) => {
            let values = values.iter().map(to_value).collect::<Result<Vec<_>, _>>()?;
            AMQPValue::FieldArray(values.into())
        }
        FieldValue::Table(fields) => AMQPValue::FieldTable(to_table(fields)?),
        FieldValue::Void => AMQPValue::Void,
        other => return Err(format!("{other:?} has no place in AMQP").into()),
    })
}

pub(crate) fn from_table(table: &types::FieldTable) -> FieldTable {
    table
        .into_iter()
        .map(|(name, value)| (name.as_str().to_owned(), from_value(value)))
        .collect()
}

fn from_value(value: &AMQPValue) -> FieldValue {
    match value {
        AMQPValue::Boolean(value) => FieldValue::Bool(*value),
        AMQPValue::ShortShortInt(value) => FieldValue::I8(*value),
        AMQPValue::ShortShortUInt(value) => FieldValue::U8(*value),
        AMQPValue::ShortInt(value) => FieldValue::I16(*value),
        AMQPValue::ShortUInt(value) => FieldValue::U16(*value),
        AMQPValue::LongInt(value) => FieldValue::I32(*value),
        AMQPValue::LongUInt(value) => FieldValue::U32(*value),
        AMQPValue::LongLongInt(value) => FieldValue::I64(*value),
        AMQPValue::Float(value) => FieldValue::F32(*value),
        AMQPValue::Double(value) => FieldValue::F64(*value),
        AMQPValue::DecimalValue(decimal) => FieldValue::Decimal {
            scale: decimal.scale,
            value: decimal.value,
        },
        AMQPValue::ShortString(text) => FieldValue::Text(text.as_str().to_owned()),
        // Long strings may hold anything, and nearly always hold text.
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => FieldValue::Text(text.to_owned()),
            Err(_) => FieldValue::Bytes(text.as_bytes().to_vec().into()),
        },
        AMQPValue::ByteArray(bytes) => FieldValue::Bytes(bytes.as_slice().to_vec().into()),
        AMQPValue::Timestamp(seconds) => FieldValue::Timestamp(*seconds),
        AMQPValue::FieldArray(values) => {
            FieldValue::Array(values.as_slice().iter().map(from_value).collect())
        }
        AMQPValue::FieldTable(table) => FieldValue::Table(from_table(table)),
        AMQPValue::Void => FieldValue::Void,
    }
}

pub(crate) fn from_properties(properties: &BasicProperties) -> Properties {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    Properties {
        content_type: text(properties.content_type()),
        content_encoding: text(properties.content_encoding()),
        headers: properties
            .headers()
            .as_ref()
            .map(from_table)
            .unwrap_or_default(),
        delivery_mode: *properties.delivery_mode(),
        priority: *properties.priority(),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()),
        expiration: text(properties.expiration()),
        message_id: text(properties.message_id()),
        timestamp: *properties.timestamp(),
        kind: text(properties.kind()),
        user_id: text(properties.user_id()),
        app_id: text(properties.app_id()),
        cluster_id: text(properties.cluster_id()),
    }
}

pub(crate) fn to_properties(from: &Properties) -> Result<BasicProperties, BoxError> {
    type Set = fn(BasicProperties, ShortString) -> BasicProperties;

    let mut to = BasicProperties::default();
    let texts: [(&Option<String>, Set); 10] = [
        (&from.content_type, BasicProperties::with_content_type),
        (
            &from.content_encoding,
            BasicProperties::with_content_encoding,
        ),
        (&from.correlation_id, BasicProperties::with_correlation_id),
        (&from.reply_to, BasicProperties::with_reply_to),
        (&from.expiration, BasicProperties::with_expiration),
        (&from.message_id, BasicProperties::with_message_id),
        (&from.kind, BasicProperties::with_type),
        (&from.user_id, BasicProperties::with_user_id),
        (&from.app_id, BasicProperties::with_app_id),
        (&from.cluster_id, BasicProperties::with_cluster_id),
    ];
    for (text, set) in texts {
        if let Some(text) = text {
            to = set(to, short(text)?);
        }
    }
    if !from.headers.is_empty() {
        to = to.with_headers(to_table(&from.headers)?);
    }
    if let Some(mode) = from.delivery_mode {
        to = to.with_delivery_mode(mode);
    }
    if let Some(priority) = from.priority {
        to = to.with_priority(priority);
    }
    if let Some(timestamp) = from.timestamp {
        to = to.with_timestamp(timestamp);
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_survive_the_way_there_and_back() {
        let text = |text: &str| Some(text.to_owned());
        let properties = Properties {
            content_type: text("a/b"),
            content_encoding: text("gzip"),
            headers: FieldTable::from([
                ("n".to_owned(), FieldValue::I64(-1)),
                (
                    "t".to_owned(),
                    FieldValue::Array(vec![FieldValue::Void, "x".into()]),
                ),
            ]),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: text("c"),
            reply_to: text("r"),
            expiration: text("1000"),
            message_id: text("m"),
            timestamp: Some(1_700_000_000),
            kind: text("k"),
            user_id: text("u"),
            app_id: text("a"),
            cluster_id: text("l"),
        };
        assert_eq!(
            from_properties(&to_properties(&properties).unwrap()),
            properties
        );
        let none = Properties::default();
        assert_eq!(from_properties(&to_properties(&none).unwrap()), none);
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_not_a_panic() {
        let properties = Properties {
            message_id: Some("x".repeat(256)),
            ..Properties::default()
        };
        let error = to_properties(&properties).unwrap_err().to_string();
        assert!(error.ends_with("is longer than 255 bytes"), "{error}");
        assert!(short("a\0b").is_err());
    }
}
