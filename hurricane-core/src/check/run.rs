//! One run of a check: bounded in time, its panics caught, its words few.

use std::{
    any::Any,
    borrow::Cow,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time;
use tracing::error;

use super::{Check, CheckResult};

/// The most bytes of a message that are kept; more would be cut by Kubernetes too.
const MAX_MESSAGE: usize = 4 * 1024;

const CUT: &str = "… (cut)";

/// Runs the check once; that it panics or takes too long is a result too.
pub(super) async fn run(check: &dyn Check, bound: Duration) -> CheckResult {
    let mut running: Option<Pin<Box<dyn Future<Output = CheckResult> + Send + '_>>> = None;
    let polled = poll_fn(|cx| {
        // After a panic nothing of the future is used again, so its broken state cannot be observed.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            running
                .get_or_insert_with(|| check.check())
                .as_mut()
                .poll(cx)
        }));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    });
    let outcome = time::timeout(bound, polled).await;
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(running)));
    match (outcome, dropped) {
        (Ok(Ok(result)), Ok(())) => shorten(result),
        (Err(_), Ok(())) => CheckResult::fail(format!("no result within {bound:?}")),
        (Ok(Err(payload)), _) | (_, Err(payload)) => {
            error!(
                check.name = check.name(),
                "check panicked: {}",
                reason(&*payload)
            );
            CheckResult::fail("check panicked")
        }
    }
}

/// Cuts a message that is too long, and gives back memory that it does not need.
fn shorten(mut result: CheckResult) -> CheckResult {
    let text = &result.message;
    if text.len() > MAX_MESSAGE {
        let end = boundary(text, MAX_MESSAGE - CUT.len());
        result.message = Cow::Owned(format!("{}{CUT}", &text[..end]));
    } else if let Cow::Owned(text) = &mut result.message {
        text.shrink_to_fit();
    }
    result
}

fn reason(payload: &(dyn Any + Send)) -> &str {
    let reason = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    &reason[..boundary(reason, MAX_MESSAGE)]
}

/// The end of the last character that ends within the first `most` bytes.
fn boundary(text: &str, most: usize) -> usize {
    // No character is longer than four bytes, so this ends soon.
    (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        for long in ["ä".repeat(5_000), format!("a{}", "ä".repeat(5_000))] {
            let result = shorten(CheckResult::fail(long));
            assert!(result.message.len() <= MAX_MESSAGE);
            assert!(
                result.message.len() > MAX_MESSAGE - 4,
                "{}",
                result.message.len()
            );
            assert!(result.message.ends_with("ä… (cut)"));
        }
        let just = "x".repeat(MAX_MESSAGE);
        assert_eq!(shorten(CheckResult::fail(just.clone())).message, just);
    }

    #[test]
    fn messages_keep_no_more_memory_than_they_need() {
        let mut text = String::with_capacity(10_000_000);
        text.push_str("short");
        let Cow::Owned(text) = shorten(CheckResult::warn(text)).message else {
            panic!("the message was owned");
        };
        assert!(text.capacity() < 100, "{}", text.capacity());
    }
}
