//! Payloads of another form: JSON with placeholders.

use serde_json::{Map, Value, json};

use super::{Event, WebhookError};

/// A JSON document with placeholders in its texts.
///
/// The document is parsed before anything is put in, so no value of an event can change its structure.
#[derive(Clone, Debug)]
pub(super) struct Template(Value);

/// A piece of a text.
enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

const PLACEHOLDERS: [&str; 9] = [
    "id",
    "info",
    "type",
    "status",
    "timestamp",
    "podname",
    "version",
    "traceback",
    "worker",
];

// === impl Template ===

impl Template {
    /// Reads a template, and looks at every placeholder.
    pub(super) fn parse(text: &str) -> Result<Self, WebhookError> {
        let document: Value = serde_json::from_str(text)
            .map_err(|error| WebhookError::new("the template is not JSON").with_source(error))?;
        inspect(&document).map_err(WebhookError::new)?;
        Ok(Self(document))
    }

    /// The payload for an event.
    pub(super) fn render(&self, event: &Event, id: &str) -> Value {
        render(&self.0, event, id)
    }
}

fn inspect(document: &Value) -> Result<(), String> {
    match document {
        Value::String(text) => pieces(text).map(drop),
        Value::Array(values) => values.iter().try_for_each(inspect),
        Value::Object(members) => members.values().try_for_each(inspect),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn render(document: &Value, event: &Event, id: &str) -> Value {
    match document {
        Value::String(text) => fill(text, event, id),
        Value::Array(values) => values
            .iter()
            .map(|value| render(value, event, id))
            .collect(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), render(value, event, id)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => document.clone(),
    }
}

fn fill(text: &str, event: &Event, id: &str) -> Value {
    let pieces = pieces(text).expect("the template was inspected when it was read");
    // A text that is nothing but a placeholder becomes the value as it is, number or null.
    if let [Piece::Placeholder(name)] = pieces[..] {
        return value(name, event, id);
    }
    let filled = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Placeholder(name) => match value(name, event, id) {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        },
    });
    Value::String(filled.collect())
}

fn value(name: &str, event: &Event, id: &str) -> Value {
    match name {
        "id" => json!(id),
        "info" => json!(event.kind.info()),
        "type" => json!(event.kind),
        "status" => json!(event.status),
        "timestamp" => json!(event.timestamp),
        "podname" => json!(event.pod_name),
        "version" => json!(event.version),
        "traceback" => json!(event.traceback),
        "worker" => json!(event.worker),
        other => unreachable!("{other} is not among the placeholders"),
    }
}

/// Takes a text apart; `{{` and `}}` are braces.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let brace = &rest[at..=at];
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        if let Some(after) = after.strip_prefix(brace) {
            pieces.push(Piece::Text(brace));
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
            return Err(format!(
                "the template has a lone {brace} in {text:?}; as a character it is written twice"
            ));
        };
        if !PLACEHOLDERS.contains(&name) {
            return Err(format!(
                "the template has an unknown placeholder {{{name}}}; there are {{{}}}",
                PLACEHOLDERS.join("}, {")
            ));
        }
        pieces.push(Piece::Placeholder(name));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventKind, EventStatus};

    fn event() -> Event {
        let mut event = Event::new(EventKind::Readiness, EventStatus::Failed);
        event.timestamp = 1_700_000_000;
        event.pod_name = "web-0".to_owned();
        event
    }

    fn rendered(template: &str, event: &Event) -> String {
        Template::parse(template)
            .unwrap()
            .render(event, "msg_1")
            .to_string()
    }

    #[test]
    fn puts_values_into_texts_at_any_depth() {
        assert_eq!(
            rendered(
                r#"{"blocks": [{"text": "{podname}: {type} {status} at {timestamp}"}, 7, true, null]}"#,
                &event()
            ),
            r#"{"blocks":[{"text":"web-0: readiness failed at 1700000000"},7,true,null]}"#
        );
    }

    #[test]
    fn a_placeholder_alone_keeps_its_type() {
        assert_eq!(
            rendered(
                r#"["{timestamp}", "{version}", "{id}", "v{version}"]"#,
                &event()
            ),
            r#"[1700000000,null,"msg_1","v"]"#
        );
    }

    #[test]
    fn no_value_changes_the_structure() {
        let event = event().with_traceback("\"}], {type}\n\u{1}\\");
        assert_eq!(
            rendered(r#"{"text": "why: {traceback}"}"#, &event),
            r#"{"text":"why: \"}], {type}\n\u0001\\"}"#
        );
    }

    #[test]
    fn braces_are_written_twice() {
        assert_eq!(
            rendered(r#""{{{type}}} {{}}""#, &event()),
            r#""{readiness} {}""#
        );
    }

    #[test]
    fn what_is_wrong_is_told_at_once() {
        for (template, told) in [
            ("{", "the template is not JSON"),
            (
                r#"["{pod}"]"#,
                "the template has an unknown placeholder {pod}; there are {id}, {info}, {type}, {status}, {timestamp}, {podname}, {version}, {traceback}, {worker}",
            ),
            (
                r#"{"text": "{type"}"#,
                r#"the template has a lone { in "{type"; as a character it is written twice"#,
            ),
            (
                r#""type}""#,
                r#"the template has a lone } in "type}"; as a character it is written twice"#,
            ),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert_eq!(error.to_string(), told, "{template}");
        }
    }
}
