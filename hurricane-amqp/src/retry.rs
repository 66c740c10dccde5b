//! Trying again: how often, after what pause, and by which way.

use std::time::Duration;

use hurricane_core::{FieldTable, FieldValue, Message, Properties, Publication};

use crate::topology::Queue;

/// How messages that are to be retried come back.
///
/// The pause doubles with each attempt, from the first to the longest one; a handler may ask for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts at a message, the first one included; then it goes to the dead letters. Zero for no limit.
    pub max_attempts: u32,
    /// The pause after the first attempt.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// The way back.
    pub via: RetryVia,
}

/// The way back for a message that is to be retried, where the order need not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryVia {
    /// Over a queue `{queue}.retry.{milliseconds}` from which the broker moves it back when its time is over.
    ///
    /// The message is published there, and acknowledged once the broker has confirmed that. It waits without holding
    /// up others, and carries the number of attempts along. The queues are declared as needed, and vanish when they
    /// have not been used for a while.
    #[default]
    DelayQueue,
    /// Back to its queue, after a pause in which it is held in hand.
    ///
    /// Only a quorum queue counts how often it has delivered a message: with another one the number of attempts is not
    /// bounded.
    Requeue,
}

/// The broker knows no times beyond 2^32 ms, and twice this is one.
const LONGEST: Duration = Duration::from_secs(20 * 24 * 3600);

/// Attempts that were made at the message before it was published anew.
pub(crate) const ATTEMPTS: &str = "x-hurricane-attempts";
/// Where the message came from first.
pub(crate) const EXCHANGE: &str = "x-hurricane-exchange";
pub(crate) const ROUTING_KEY: &str = "x-hurricane-routing-key";
/// The queue it was consumed from, and why it is a dead letter.
const QUEUE: &str = "x-hurricane-queue";
const REASON: &str = "x-hurricane-reason";

// === impl RetryPolicy ===

impl RetryPolicy {
    /// The pause after that attempt; the first one is 1.
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let factor = 2u32.saturating_pow(attempt.saturating_sub(1));
        self.first.saturating_mul(factor).min(self.longest)
    }

    pub(crate) fn is_exhausted(&self, attempt: u32) -> bool {
        self.max_attempts > 0 && attempt >= self.max_attempts
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            via: RetryVia::default(),
        }
    }
}

/// Which attempt a delivery is, by all that its headers tell.
///
/// Attempts before it was published anew by us, deliveries of a quorum queue that came back, and rejections that the
/// broker sent around through a dead letter exchange.
pub(crate) fn attempt(headers: &FieldTable, queue: &str) -> u32 {
    let number = |fields: &FieldTable, name| {
        let value = fields.get(name).and_then(FieldValue::as_i64);
        value.map_or(0, |value| u32::try_from(value).unwrap_or(0))
    };
    let deaths = match headers.get("x-death") {
        Some(FieldValue::Array(deaths)) => deaths.as_slice(),
        _ => &[],
    };
    let rejections = deaths.iter().map(|death| match death {
        FieldValue::Table(death)
            if is(death, "queue", queue) && is(death, "reason", "rejected") =>
        {
            number(death, "count")
        }
        _ => 0,
    });
    let before = number(headers, ATTEMPTS).saturating_add(number(headers, "x-delivery-count"));
    rejections.fold(before.saturating_add(1), u32::saturating_add)
}

fn is(fields: &FieldTable, name: &str, text: &str) -> bool {
    fields.get(name).and_then(FieldValue::as_str) == Some(text)
}

/// The queue that holds messages back for so long.
pub(crate) fn delay_queue(queue: &str, pause: Duration) -> Queue {
    let millis = i64::try_from(pause.min(LONGEST).as_millis()).unwrap_or(i64::MAX);
    // It is declared at each use, which begins its time anew: it never goes before the last message has left.
    let expires = millis.saturating_mul(2).saturating_add(60_000);
    Queue::durable(format!("{queue}.retry.{millis}"))
        .with_argument("x-message-ttl", millis)
        .with_argument("x-expires", expires)
        .with_argument("x-dead-letter-exchange", "")
        .with_argument("x-dead-letter-routing-key", queue)
}

/// The message once more, for a queue that holds it back.
pub(crate) fn again(message: &Message, to: &str, user: &str) -> Publication {
    copy(message, to, user)
}

/// The message as a dead letter.
pub(crate) fn dead_letter(
    message: &Message,
    to: &str,
    user: &str,
    queue: &str,
    reason: &str,
) -> Publication {
    let mut publication = copy(message, to, user);
    let headers = &mut publication.properties.headers;
    headers.insert(QUEUE.to_owned(), queue.into());
    headers.insert(REASON.to_owned(), reason.into());
    publication
}

fn copy(message: &Message, to: &str, user: &str) -> Publication {
    let mut properties: Properties = message.properties.clone();
    // Its time to live was meant for the queue it has left, and its name for the user who published it first.
    properties.expiration = None;
    properties.user_id = properties.user_id.filter(|name| name == user);
    let headers = &mut properties.headers;
    // It would be sent to these once more. The count of a quorum queue begins anew with the copy.
    headers.remove("CC");
    headers.remove("x-delivery-count");
    headers.remove("x-death");
    headers.insert(ATTEMPTS.to_owned(), i64::from(message.attempt).into());
    headers.insert(EXCHANGE.to_owned(), message.exchange.clone().into());
    headers.insert(ROUTING_KEY.to_owned(), message.routing_key.clone().into());
    let mut publication = Publication::new("", to, message.body.clone());
    publication.properties = properties;
    publication.mandatory = true;
    publication
}

/// Gives a message that was published anew the exchange and key it had at first.
pub(crate) fn restore(message: &mut Message) {
    let headers = &message.properties.headers;
    if !headers.contains_key(ATTEMPTS) {
        return;
    }
    let text = |name| {
        headers
            .get(name)
            .and_then(FieldValue::as_str)
            .map(str::to_owned)
    };
    if let Some(exchange) = text(EXCHANGE) {
        message.exchange = exchange;
    }
    if let Some(key) = text(ROUTING_KEY) {
        message.routing_key = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<const N: usize>(fields: [(&str, FieldValue); N]) -> FieldTable {
        fields.map(|(name, value)| (name.to_owned(), value)).into()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let seconds = [1, 2, 3, 7, 40, u32::MAX].map(|attempt| policy.pause(attempt).as_secs());
        assert_eq!(seconds, [1, 2, 4, 60, 60, 60]);
    }

    #[test]
    fn attempts_are_counted_wherever_they_were_made() {
        let death = |queue: &str, reason: &str, count: i64| {
            FieldValue::Table(fields([
                ("queue", queue.into()),
                ("reason", reason.into()),
                ("count", count.into()),
            ]))
        };
        assert_eq!(attempt(&FieldTable::new(), "q"), 1);
        assert_eq!(
            attempt(&fields([("x-delivery-count", 3i64.into())]), "q"),
            4
        );
        let headers = fields([
            (ATTEMPTS, 2i64.into()),
            ("x-delivery-count", 1i64.into()),
            (
                "x-death",
                FieldValue::Array(vec![
                    death("q", "rejected", 4),
                    death("q", "expired", 10),
                    death("other", "rejected", 10),
                ]),
            ),
        ]);
        assert_eq!(attempt(&headers, "q"), 8);
        assert_eq!(
            attempt(&fields([(ATTEMPTS, i64::MIN.into())]), "q"),
            1,
            "nonsense is nothing"
        );
    }

    #[test]
    fn a_copy_remembers_where_the_message_came_from() {
        let mut message = Message::new("body");
        message.exchange = "shop".into();
        message.routing_key = "order.new".into();
        message.attempt = 2;
        message.properties.expiration = Some("500".into());
        message.properties.user_id = Some("somebody".into());
        let copy = again(&message, "q.retry.1000", "me");
        assert_eq!(copy.properties.expiration, None);
        assert_eq!(copy.properties.user_id, None);

        let mut back = Message::new(copy.body);
        back.properties = copy.properties;
        back.routing_key = "q".into();
        back.attempt = attempt(&back.properties.headers, "q");
        restore(&mut back);
        assert_eq!(
            (back.exchange.as_str(), back.routing_key.as_str()),
            ("shop", "order.new")
        );
        assert_eq!(back.attempt, 3);
    }
}
