//! The worker's Python code, which the server carries and sends to each worker.

use crate::frame::{self, Kind};

/// The program that a worker is started with; the rest comes over its control channel.
pub(crate) const BOOTSTRAP: &str = include_str!("../python/hurricane/worker/bootstrap.py");

/// The name of a module, its file and its source.
type Module = (&'static str, &'static str, &'static str);

macro_rules! module {
    ($name:literal, $file:literal) => {
        (
            $name,
            $file,
            include_str!(concat!("../python/hurricane/", $file)),
        )
    };
}

/// What an application may import in a worker; what only `manage.py` imports is not among it.
const MODULES: &[Module] = &[
    module!("hurricane", "__init__.py"),
    module!("hurricane.amqp", "amqp/__init__.py"),
    module!("hurricane.amqp.basehandler", "amqp/basehandler.py"),
    module!("hurricane.amqp.exceptions", "amqp/exceptions.py"),
    module!("hurricane.amqp.message", "amqp/message.py"),
    module!("hurricane.amqp.worker", "amqp/worker.py"),
    module!("hurricane.apps", "apps.py"),
    module!("hurricane.metrics", "metrics/__init__.py"),
    module!("hurricane.metrics.base", "metrics/base.py"),
    module!("hurricane.metrics.exceptions", "metrics/exceptions.py"),
    module!("hurricane.metrics.registry", "metrics/registry.py"),
    module!("hurricane.metrics.requests", "metrics/requests.py"),
    module!("hurricane.server", "server/__init__.py"),
    module!("hurricane.server.debugging", "server/debugging.py"),
    module!("hurricane.server.django", "server/django.py"),
    module!("hurricane.server.exceptions", "server/exceptions.py"),
    module!("hurricane.server.loggers", "server/loggers.py"),
    module!("hurricane.server.tasks", "server/tasks.py"),
    module!("hurricane.server.wsgi", "server/wsgi.py"),
    module!("hurricane.webhooks", "webhooks/__init__.py"),
    module!("hurricane.webhooks.base", "webhooks/base.py"),
    module!("hurricane.webhooks.exceptions", "webhooks/exceptions.py"),
    module!("hurricane.webhooks.registry", "webhooks/registry.py"),
    module!(
        "hurricane.webhooks.webhook_types",
        "webhooks/webhook_types.py"
    ),
    module!("hurricane.worker", "worker/__init__.py"),
    module!("hurricane.worker.amqp", "worker/amqp.py"),
    module!("hurricane.worker.application", "worker/application.py"),
    module!("hurricane.worker.asgi", "worker/asgi.py"),
    module!("hurricane.worker.asgi_http", "worker/asgi_http.py"),
    module!("hurricane.worker.asgi_link", "worker/asgi_link.py"),
    module!("hurricane.worker.asgi_tasks", "worker/asgi_tasks.py"),
    module!(
        "hurricane.worker.asgi_websocket",
        "worker/asgi_websocket.py"
    ),
    module!("hurricane.worker.checks", "worker/checks.py"),
    module!("hurricane.worker.debug", "worker/debug.py"),
    module!("hurricane.worker.files", "worker/files.py"),
    module!("hurricane.worker.frame", "worker/frame.py"),
    module!("hurricane.worker.lifespan", "worker/lifespan.py"),
    module!("hurricane.worker.loaded", "worker/loaded.py"),
    module!("hurricane.worker.logs", "worker/logs.py"),
    module!("hurricane.worker.main", "worker/main.py"),
    module!("hurricane.worker.metrics", "worker/metrics.py"),
    module!("hurricane.worker.startup", "worker/startup.py"),
    module!("hurricane.worker.webhooks", "worker/webhooks.py"),
    module!("hurricane.worker.wsgi", "worker/wsgi.py"),
];

/// The frame that a worker gets first.
pub(crate) fn frame() -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, Kind::Sources, |writer| {
        writer.dict();
        for &(name, file, source) in MODULES {
            writer.text(name);
            writer.tuple(2);
            // Whether it is a package.
            writer.bool(file.ends_with("__init__.py"));
            writer.text(source);
        }
        writer.end_dict();
    });
    out
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    /// What runs elsewhere than in a worker: under `manage.py`, or before anything else.
    const ELSEWHERE: [&str; 6] = [
        "__main__.py",
        "binary.py",
        "logs.py",
        "management/",
        "options.py",
        "worker/bootstrap.py",
    ];

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else if path.extension().is_some_and(|extension| extension == "py") {
                found.push(path);
            }
        }
        found
    }

    #[test]
    fn every_module_is_carried() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/hurricane");
        for file in files(&root) {
            let relative = file.strip_prefix(&root).unwrap().to_str().unwrap();
            if ELSEWHERE.iter().any(|start| relative.starts_with(start)) {
                continue;
            }
            let module = relative.trim_end_matches(".py").replace('/', ".");
            let module = module.trim_end_matches("__init__").trim_end_matches('.');
            let name = format!("hurricane.{module}");
            let name = name.trim_end_matches('.');
            let text = fs::read_to_string(&file).unwrap();
            let carried = MODULES.iter().find(|(carried, ..)| *carried == name);
            let carried = carried.unwrap_or_else(|| panic!("{name} is not carried"));
            assert_eq!(*carried, (name, relative, text.as_str()));
        }
    }
}
