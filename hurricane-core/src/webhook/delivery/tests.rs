use std::{future, sync::Mutex};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::{EventKind, EventStatus, webhook::WebhookError};

/// Takes note of what it is given, one event for each permit.
struct Notebook {
    gate: Semaphore,
    events: Mutex<Vec<Event>>,
}

struct Shelf(&'static str, Arc<Notebook>);

#[async_trait]
impl Webhook for Shelf {
    fn name(&self) -> &str {
        self.0
    }

    async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
        self.1.gate.acquire().await.unwrap().forget();
        self.1.events.lock().unwrap().push(event.clone());
        Ok(())
    }
}

#[cfg(feature = "prometheus")]
struct Broken;

#[async_trait]
#[cfg(feature = "prometheus")]
impl Webhook for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    async fn deliver(&self, _: &Event) -> Result<(), WebhookError> {
        Err(WebhookError::new("nobody is there"))
    }
}

struct Hanging;

#[async_trait]
impl Webhook for Hanging {
    fn name(&self) -> &str {
        "hanging"
    }

    async fn deliver(&self, _: &Event) -> Result<(), WebhookError> {
        future::pending().await
    }
}

const SOON: Duration = Duration::from_secs(5);

fn notebook(permits: usize) -> Arc<Notebook> {
    Arc::new(Notebook {
        gate: Semaphore::new(permits),
        events: Mutex::default(),
    })
}

fn event(number: usize) -> Event {
    Event::new(EventKind::Startup, EventStatus::Failed).with_traceback(number.to_string())
}

#[tokio::test(start_paused = true)]
async fn events_arrive_in_order_beside_a_webhook_that_hangs() {
    let notebook = notebook(100);
    let webhooks: [Arc<dyn Webhook>; 2] = [
        Arc::new(Hanging),
        Arc::new(Shelf("shelf", Arc::clone(&notebook))),
    ];
    let dispatcher = Dispatcher::spawn(&webhooks, Some("1.0".to_owned()), &Handle::current());
    for number in 0..10 {
        dispatcher.send(event(number));
    }
    let error = dispatcher.close(SOON).await.unwrap_err();
    assert_eq!(
        error,
        Undelivered {
            count: 10,
            deadline: SOON
        }
    );
    let events = notebook.events.lock().unwrap();
    let numbers: Vec<_> = events
        .iter()
        .map(|event| event.traceback.clone().unwrap())
        .collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(events[0].version.as_deref(), Some("1.0"));
}

#[tokio::test(start_paused = true)]
async fn closing_delivers_what_was_sent_and_takes_no_more() {
    let notebook = notebook(1);
    let webhooks: [Arc<dyn Webhook>; 1] = [Arc::new(Shelf("shelf", Arc::clone(&notebook)))];
    let dispatcher = Dispatcher::spawn(&webhooks, None, &Handle::current());
    dispatcher.send(event(1));
    dispatcher.close(SOON).await.unwrap();
    dispatcher.send(event(2));
    dispatcher.close(SOON).await.unwrap();
    assert_eq!(notebook.events.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_does_not_hold_up_the_sender() {
    let notebook = notebook(0);
    let webhooks: [Arc<dyn Webhook>; 1] = [Arc::new(Shelf("shelf", Arc::clone(&notebook)))];
    let dispatcher = Dispatcher::spawn(&webhooks, None, &Handle::current());
    for number in 0..CAPACITY + 10 {
        dispatcher.send(event(number));
    }
    notebook.gate.add_permits(2 * CAPACITY);
    dispatcher.close(SOON).await.unwrap();
    assert_eq!(notebook.events.lock().unwrap().len(), CAPACITY);
}

#[cfg(feature = "prometheus")]
#[test]
fn what_is_not_delivered_is_counted() {
    let exposition = crate::Exposition::new();
    exposition.local(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let webhooks: [Arc<dyn Webhook>; 1] = [Arc::new(Broken)];
            let dispatcher = Dispatcher::spawn(&webhooks, None, &Handle::current());
            dispatcher.send(event(1));
            dispatcher.send(event(2));
            dispatcher.close(SOON).await.unwrap();
        });
    });
    let text = exposition.render();
    assert!(
        text.contains("hurricane_webhooks_undelivered_total 2"),
        "{text}"
    );
}

#[test]
fn an_error_is_told_with_its_causes() {
    let error = WebhookError::new("the request failed").with_source("connection refused");
    assert_eq!(chain(&error), "the request failed: connection refused");
}
