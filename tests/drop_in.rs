//! What users of django-hurricane rely on, as the document about migrating from it says: a project with nothing but
//! `hurricane`, through `manage.py serve`.

use crate::harness::{Launch, Request, get, post};

#[test]
fn a_project_without_databases_is_alive_and_ready() {
    let server = Launch::manage("DATABASES = {}").start();
    for probe in ["/startup", "/alive", "/ready"] {
        assert_eq!(get(server.probe_port(), probe).status, 200, "{probe}");
    }
    server.stop();
}

#[test]
fn probes_take_get_post_and_head_with_one_slash_at_the_end() {
    let server = Launch::manage("")
        .arg("--startup-probe", " //pro be/")
        .start();
    let port = server.probe_port();
    for path in ["/probe", "/probe/", "/probe?x=1"] {
        assert_eq!(get(port, path).status, 200, "{path}");
        assert_eq!(post(port, path, b"null").status, 200, "{path}");
        let head = Request::new("HEAD", path).send(port);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    assert_eq!(get(port, "/probe//").status, 404);
    assert_eq!(Request::new("PUT", "/probe").send(port).status, 405);
    server.stop();
}

#[test]
fn a_check_that_raises_is_a_check_error() {
    // The first run is that of manage.py.
    let check = "
from django.core.checks import register
@register('hurricane', deploy=True)
def broken(**kwargs):
    raise ValueError('a secret detail')
";
    for (debug, body) in [
        ("", "check error"),
        (
            "DEBUG = True",
            "django check error: ValueError('a secret detail')",
        ),
    ] {
        let server = Launch::manage(&format!("{check}\n{debug}")).start();
        let answer = get(server.probe_port(), "/alive");
        assert_eq!((answer.status, answer.text().as_str()), (500, body));
        assert_eq!(get(server.probe_port(), "/ready").status, 200);
        assert_eq!(get(server.probe_port(), "/startup").status, 200);
        server.stop();
    }
}

#[test]
fn the_end_of_a_life_is_told_without_metrics_too() {
    let server = Launch::manage("MAX_LIFETIME = 2")
        .flag("--no-metrics")
        .start();
    for _ in 0..2 {
        assert_eq!(get(server.port(), "/").status, 200);
    }
    assert_eq!(get(server.probe_port(), "/alive").status, 200);
    assert_eq!(get(server.port(), "/").status, 200);
    let answer = get(server.probe_port(), "/alive");
    assert_eq!(answer.status, 400);
    let why = "lifetime: 3 requests answered, the limit is 2";
    assert_eq!(answer.text(), why);
    assert_eq!(get(server.probe_port(), "/ready").status, 200);
    server.stop();
}

#[test]
fn a_check_of_the_databases_can_be_replaced() {
    for (replaced, says) in [
        ("lambda: False", "a database does not answer"),
        ("lambda: 1 / 0", "division by zero"),
    ] {
        let settings =
            format!("import hurricane.server\nhurricane.server.check_databases = {replaced}");
        let ended = Launch::manage(&settings).flag("--check-migrations").run();
        assert_eq!(ended.code, Some(9), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

#[test]
fn what_is_tornados_is_told_where_it_is_imported() {
    let settings = "from hurricane.server import make_http_server";
    let ended = Launch::manage(settings).run();
    assert_ne!(ended.code, Some(0));
    let says =
        "hurricane.server.make_http_server is not there: Hurricane's server is not tornado's";
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
}
