//! Workers under each version of Python that is there: `HURRICANE_TEST_PYTHONS` has the
//! interpreters, with spaces between them, besides the one of all other tests.

use std::path::PathBuf;

use crate::harness::{Launch, get, post, python};

fn pythons() -> Vec<PathBuf> {
    let others = std::env::var("HURRICANE_TEST_PYTHONS").unwrap_or_default();
    let others = others.split_whitespace().map(PathBuf::from);
    others.chain([python()]).collect()
}

#[test]
fn wsgi_and_asgi_are_served_under_each() {
    for python in pythons() {
        for (app, interface) in [("gallery", "wsgi"), ("asgi_gallery", "asgi")] {
            let server = Launch::app(app).arg("--python", python.display()).start();
            server.wait_for_line(&format!("interface=\"{interface}\""));
            let port = server.port();
            let what = format!("{interface} under {}", python.display());
            assert_eq!(get(port, "/hello").status, 200, "{what}");
            assert_eq!(post(port, "/echo", "body").text(), "body", "{what}");
            server.stop();
        }
    }
}
