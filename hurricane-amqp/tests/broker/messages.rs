//! Bodies and headers, as they come.

use std::sync::{Arc, Mutex};

use hurricane_amqp::{
    FieldTable, FieldValue, Message, Outcome, Properties, Publication, PublishError, handler_fn,
};

use crate::harness::{Admin, Running, consumer, name, until};

/// Publishes and consumes one message.
async fn through(publication: Publication) -> Message {
    let admin = Admin::new().await;
    let seen: Arc<Mutex<Option<Message>>> = Arc::default();
    let handler = handler_fn("seen", {
        let seen = Arc::clone(&seen);
        move |message| {
            *seen.lock().unwrap() = Some(message);
            async { Outcome::Ack }
        }
    });
    let running = Running::start(consumer(&publication.routing_key, handler)).await;
    let queue = publication.routing_key.clone();
    admin.publisher.publish(publication).await.unwrap();
    until("the message", || async { seen.lock().unwrap().is_some() }).await;
    running.stop().await;
    assert_eq!(admin.depth(&queue).await, 0);
    seen.lock().unwrap().take().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_come_whole() {
    // RabbitMQ takes 128 MiB at most.
    for size in [0, 1, 1 << 20, 100 << 20] {
        let body: Vec<u8> = (0..size).map(|index: usize| (index % 251) as u8).collect();
        let message = through(Publication::new("", name("body"), body.clone())).await;
        assert!(
            message.body == body,
            "{} bytes instead of {size}, or others",
            message.body.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_and_headers_of_every_type_come_as_they_were() {
    let mut publication = Publication::new("", name("headers"), "x");
    let text = |text: &str| Some(text.to_owned());
    let fields: FieldTable = [
        ("void", FieldValue::Void),
        ("bool", FieldValue::Bool(true)),
        ("i8", FieldValue::I8(i8::MIN)),
        ("u8", FieldValue::U8(u8::MAX)),
        ("i16", FieldValue::I16(i16::MIN)),
        ("u16", FieldValue::U16(u16::MAX)),
        ("i32", FieldValue::I32(i32::MIN)),
        ("u32", FieldValue::U32(u32::MAX)),
        ("i64", FieldValue::I64(i64::MIN)),
        ("f32", FieldValue::F32(1.5)),
        ("f64", FieldValue::F64(-2.5e300)),
        (
            "decimal",
            FieldValue::Decimal {
                scale: 2,
                value: 12345,
            },
        ),
        ("text", "grüße".into()),
        ("bytes", FieldValue::Bytes(vec![0, 159, 146, 150].into())),
        ("timestamp", FieldValue::Timestamp(1_700_000_000)),
        (
            "array",
            FieldValue::Array(vec![FieldValue::I32(1), "two".into()]),
        ),
        (
            "table",
            FieldValue::Table([("inner".to_owned(), FieldValue::Void)].into()),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    publication.properties = Properties {
        content_type: text("application/json"),
        content_encoding: text("identity"),
        headers: fields,
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: text("correlation"),
        reply_to: text("reply"),
        expiration: text("600000"),
        message_id: text("id"),
        timestamp: Some(1_700_000_001),
        kind: text("kind"),
        user_id: Some(crate::harness::connection().user),
        app_id: text("app"),
        cluster_id: text("cluster"),
    };
    let sent = publication.clone();
    let message = through(publication).await;
    assert_eq!(message.properties, sent.properties);
    assert_eq!(
        (message.exchange.as_str(), &message.routing_key),
        ("", &sent.routing_key)
    );
    assert!(!message.redelivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_tells_what_became_of_a_message() {
    let (admin, queue) = (Admin::new().await, name("publish"));
    let publisher = &admin.publisher;
    let mut nowhere = Publication::new("", name("nowhere"), "x");
    publisher
        .publish(nowhere.clone())
        .await
        .expect("without `mandatory` nobody cares");
    nowhere.mandatory = true;
    let error = publisher.publish(nowhere).await.unwrap_err();
    assert!(
        matches!(error, PublishError::Returned { code: 312, .. }),
        "{error}"
    );

    let error = publisher
        .publish(Publication::new(name("none"), "", "x"))
        .await
        .unwrap_err();
    let PublishError::Closed(text) = error else {
        panic!("{error}");
    };
    assert!(text.contains("NOT_FOUND"), "{text}");

    let long = Publication::new("", "k".repeat(300), "x");
    let error = publisher.publish(long).await.unwrap_err();
    assert!(matches!(error, PublishError::Invalid(_)), "{error}");

    admin.declare(&queue).await;
    admin.publish("", &queue, "the publisher goes on").await;
    admin.until_depth(&queue, 1).await;
}
