use std::{
    future,
    sync::{Mutex, mpsc as std_mpsc},
};

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

/// Fails, panics, and then works.
#[cfg(feature = "prometheus")]
#[derive(Default)]
struct Broken(AtomicUsize);

#[async_trait]
#[cfg(feature = "prometheus")]
impl Webhook for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    async fn deliver(&self, _: &Event) -> Result<(), WebhookError> {
        match self.0.fetch_add(1, Relaxed) {
            0 => Err(WebhookError::new("nobody is there")),
            1 => panic!("nobody thought of that"),
            _ => Ok(()),
        }
    }

    fn wants(&self, kind: EventKind) -> bool {
        kind == EventKind::Startup
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
fn what_is_delivered_and_what_is_not_are_counted() {
    let exposition = crate::Exposition::new();
    exposition.local(|| {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let webhooks: [Arc<dyn Webhook>; 1] = [Arc::new(Broken::default())];
            let dispatcher = Dispatcher::spawn(&webhooks, None, &Handle::current());
            for number in 0..3 {
                dispatcher.send(event(number));
            }
            dispatcher.send(Event::new(EventKind::Drain, EventStatus::Succeeded));
            dispatcher.close(SOON).await.unwrap();
        });
    });
    let text = exposition.render();
    for line in [
        r#"hurricane_webhooks_undelivered_total{webhook="broken"} 2"#,
        r#"hurricane_webhooks_delivered_total{webhook="broken"} 1"#,
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// Tells the thread that it was called on.
struct Echo(std_mpsc::Sender<Option<String>>);

#[async_trait]
impl Webhook for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    async fn deliver(&self, _: &Event) -> Result<(), WebhookError> {
        let name = thread::current().name().map(str::to_owned);
        self.0
            .send(name)
            .map_err(|error| WebhookError::new(error.to_string()))
    }
}

#[test]
fn events_get_through_while_everything_stands_still() {
    let (echo, heard) = std_mpsc::channel();
    let webhooks: [Arc<dyn Webhook>; 1] = [Arc::new(Echo(echo))];
    let dispatcher = Dispatcher::start(&webhooks, None).unwrap();
    // No runtime runs here, and this thread is blocked.
    dispatcher.send(event(1));
    let thread = heard.recv_timeout(SOON).unwrap();
    assert_eq!(thread.as_deref(), Some("hurricane-webhook"));
    drop((dispatcher, webhooks));
    heard
        .recv_timeout(SOON)
        .expect_err("the webhook is dropped when its thread ends");
}
