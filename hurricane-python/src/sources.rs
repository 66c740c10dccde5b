//! The worker's Python code, which the server carries and sends to each worker.

use crate::frame::{self, Kind};

/// The program that a worker is started with; the rest comes over its control channel.
pub(crate) const BOOTSTRAP: &str = include_str!("../python/hurricane/worker/bootstrap.py");

/// Module, whether it is a package, its source.
const MODULES: [(&str, bool, &str); 7] = [
    (
        "hurricane",
        true,
        include_str!("../python/hurricane/__init__.py"),
    ),
    (
        "hurricane.worker",
        true,
        include_str!("../python/hurricane/worker/__init__.py"),
    ),
    (
        "hurricane.worker.application",
        false,
        include_str!("../python/hurricane/worker/application.py"),
    ),
    (
        "hurricane.worker.checks",
        false,
        include_str!("../python/hurricane/worker/checks.py"),
    ),
    (
        "hurricane.worker.frame",
        false,
        include_str!("../python/hurricane/worker/frame.py"),
    ),
    (
        "hurricane.worker.main",
        false,
        include_str!("../python/hurricane/worker/main.py"),
    ),
    (
        "hurricane.worker.wsgi",
        false,
        include_str!("../python/hurricane/worker/wsgi.py"),
    ),
];

/// The frame that a worker gets first.
pub(crate) fn frame() -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, Kind::Sources, |writer| {
        writer.dict();
        for (name, is_package, source) in MODULES {
            writer.text(name);
            writer.tuple(2);
            writer.bool(is_package);
            writer.text(source);
        }
        writer.end_dict();
    });
    out
}
