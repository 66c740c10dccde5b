//! Tests with a real `RabbitMQ`: the one at `AMQP_URL`, or one that is started for them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod broker;
mod chaos;
mod delivery;
mod faults;
mod harness;
mod messages;
#[path = "../../../tests/harness/ports.rs"]
mod ports;
mod proxy;
mod queues;
mod stop;
