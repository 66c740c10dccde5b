//! Queues, exchanges and bindings.

use std::sync::{Arc, Mutex};

use hurricane_amqp::{
    ConsumeError, Exchange, ExchangeKind, Handler, Message, Outcome, Publication, Queue, Topology,
    TopologyError, handler_fn,
};

use crate::harness::{Admin, Running, consumer, name, until};

type Seen = Arc<Mutex<Vec<String>>>;

fn keys(seen: &Seen) -> impl Handler {
    let seen = Arc::clone(seen);
    handler_fn("keys", move |message: Message| {
        seen.lock().unwrap().push(message.routing_key);
        async { Outcome::Ack }
    })
}

/// Publishes with these keys, and returns those that came, which are to be so many.
async fn route(topology: Topology, publications: Vec<Publication>, count: usize) -> Vec<String> {
    let (admin, seen) = (Admin::new().await, Seen::default());
    let running = Running::start(consumer("", keys(&seen)).topology(topology)).await;
    for publication in publications {
        admin.publisher.publish(publication).await.unwrap();
    }
    until(&format!("{count} messages"), || async {
        seen.lock().unwrap().len() >= count
    })
    .await;
    running.stop().await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    seen
}

fn with_keys(exchange: &str, keys: &[&str]) -> Vec<Publication> {
    let publication = |key: &&str| Publication::new(exchange, *key, "x");
    keys.iter().map(publication).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_bound_with_the_name_of_the_queue() {
    let (queue, exchange) = (name("my.topic"), name("x"));
    let publications = with_keys(&exchange, &["other", &queue]);
    let topology = Topology::topic(&queue, &exchange);
    assert_eq!(route(topology, publications, 1).await, [queue]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_exchange_finds_the_queue() {
    let exchange = name("topic");
    let topology = Topology::topic(name("q"), &exchange)
        .with_binding_key("a.*")
        .with_binding_key("b.#");
    let publications = with_keys(&exchange, &["a.1", "a.1.2", "b.1.2", "c"]);
    assert_eq!(route(topology, publications, 2).await, ["a.1", "b.1.2"]);

    let at = |exchange: &str, kind| {
        Topology::new(Queue::new(name("q"))).with_exchange(Exchange::new(exchange, kind).durable())
    };
    let exchange = name("direct");
    let topology = at(&exchange, ExchangeKind::Direct).with_binding_key("a");
    assert_eq!(
        route(topology, with_keys(&exchange, &["b", "a"]), 1).await,
        ["a"]
    );

    let exchange = name("fanout");
    let topology = at(&exchange, ExchangeKind::Fanout);
    assert_eq!(
        route(topology, with_keys(&exchange, &["a", "b"]), 2).await,
        ["a", "b"]
    );

    let exchange = name("headers");
    let mut topology = at(&exchange, ExchangeKind::Headers);
    topology.binding_arguments = [
        ("x-match".to_owned(), "all".into()),
        ("color".to_owned(), "red".into()),
    ]
    .into();
    let mut publications = with_keys(&exchange, &["blue", "red"]);
    for publication in &mut publications {
        let color = publication.routing_key.clone();
        publication
            .properties
            .headers
            .insert("color".into(), color.into());
    }
    assert_eq!(route(topology, publications, 1).await, ["red"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_may_name_the_queue() {
    let exchange = name("named");
    let queue = Queue {
        exclusive: true,
        auto_delete: true,
        ..Queue::default()
    };
    let topology = Topology::new(queue)
        .with_exchange(Exchange::new(&exchange, ExchangeKind::Topic))
        .with_binding_key("#");
    assert_eq!(
        route(topology, with_keys(&exchange, &["a"]), 1).await,
        ["a"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_otherwise_ends_it_with_an_error() {
    let (admin, queue) = (Admin::new().await, name("missing"));
    let passive = consumer(&queue, keys(&Seen::default()))
        .topology(Topology::new(Queue::durable(&queue)).passive());
    let error = Running::begin(passive).end().await.unwrap_err();
    let ConsumeError::Topology(TopologyError::Queue { source, .. }) = &error else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("NOT_FOUND"), "{source}");

    admin.declare(&queue).await;
    let other =
        consumer(&queue, keys(&Seen::default())).topology(Topology::new(Queue::new(&queue)));
    let error = Running::begin(other).end().await.unwrap_err();
    let ConsumeError::Topology(TopologyError::Queue { source, .. }) = &error else {
        panic!("{error:?}");
    };
    assert!(
        source.to_string().contains("PRECONDITION_FAILED"),
        "{source}"
    );

    let passive = consumer(&queue, keys(&Seen::default()))
        .topology(Topology::new(Queue::new(&queue)).passive());
    Running::start(passive).await.stop().await;
}
