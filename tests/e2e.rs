//! End to end: the real `hurricane` binary with real Python behind it, seen from outside.
//!
//! `make test` sets `HURRICANE_TEST_PYTHON`, the interpreter (with Django) that the servers under
//! test use. One theme a file: `cargo test -p hurricane-cli --test e2e shutdown::` runs one.

#[cfg(test)]
mod app_metrics;
#[cfg(test)]
mod asgi;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod consume;
#[cfg(test)]
mod debugging;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod drop_in;
#[cfg(test)]
mod exit_codes;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod files;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod logging;
#[cfg(test)]
mod manage;
#[cfg(test)]
mod options;
#[cfg(test)]
mod postgresql;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod pythons;
#[cfg(test)]
mod recycling;
#[cfg(test)]
mod reloading;
#[cfg(test)]
mod rolling;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod training;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod wsgi;
