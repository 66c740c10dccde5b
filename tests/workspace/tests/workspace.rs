//! What holds of the whole workspace: its crates, and what its documents say.

#[cfg(test)]
mod crates;
#[cfg(test)]
#[path = "../../harness/ports.rs"]
mod ports;
#[cfg(test)]
mod stranger;
