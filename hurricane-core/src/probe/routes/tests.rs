use std::{
    convert::Infallible,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{body::Body, routing::get};
use http::{HeaderMap, Request, header::ACCEPT, request::Builder};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::Notify, task::JoinSet, time};
use tower::ServiceExt as _;

use super::*;
use crate::{
    CheckResult, Details, Dispatcher, Event, EventKind, EventStatus, Lifecycle, Probe, ProbeConfig,
    Registry, Traffic, Webhook, WebhookError, async_trait, check_fn, probe::WithProbes,
};

/// Probes whose one check finds what it is told to find, and who was told about it.
struct Scene {
    lifecycle: Lifecycle,
    traffic: Arc<Traffic>,
    found: Arc<Mutex<CheckResult>>,
    events: Arc<Mutex<Vec<(EventKind, EventStatus)>>>,
    dispatcher: Dispatcher,
    probes: Arc<Probes>,
}

struct Ear(Arc<Mutex<Vec<(EventKind, EventStatus)>>>);

#[async_trait]
impl Webhook for Ear {
    fn name(&self) -> &str {
        "ear"
    }

    async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
        self.0.lock().unwrap().push((event.kind, event.status));
        Ok(())
    }
}

impl Scene {
    fn new() -> Self {
        Self::with(&ProbeConfig::default())
    }

    fn with(config: &ProbeConfig) -> Self {
        let found = Arc::new(Mutex::new(CheckResult::pass()));
        let events = Arc::default();
        let mut registry = Registry::new();
        let finds = Arc::clone(&found);
        let check = check_fn("database", move || {
            let result = finds.lock().unwrap().clone();
            async { result }
        });
        registry
            .add_check(check, [Probe::Liveness, Probe::Readiness])
            .unwrap();
        registry.add_webhook(Ear(Arc::clone(&events))).unwrap();
        let lifecycle = Lifecycle::new();
        let traffic = Arc::new(Traffic::new());
        let handle = Handle::current();
        let dispatcher = Dispatcher::spawn(registry.webhooks(), None, &handle);
        let probes = Probes::new(
            config,
            &registry,
            lifecycle.clone(),
            Arc::clone(&traffic),
            handle,
        )
        .unwrap()
        .with_dispatcher(dispatcher.clone());
        #[cfg(feature = "prometheus")]
        let probes = probes.with_exposition(crate::Exposition::new());
        Self {
            lifecycle,
            traffic,
            found,
            events,
            dispatcher,
            probes: Arc::new(probes),
        }
    }

    fn running() -> Self {
        let scene = Self::new();
        scene.lifecycle.run();
        scene
    }

    fn finds(&self, result: CheckResult) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = result;
    }

    async fn ask(&self, request: Builder) -> Answer {
        let request = request.body(Body::empty()).unwrap();
        let response = router(Arc::clone(&self.probes))
            .oneshot(request)
            .await
            .unwrap();
        Answer::of(response).await
    }

    /// Status and body of a GET.
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask(Request::get(path)).await;
        (answer.status, answer.body)
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

fn empty(status: u16) -> (u16, String) {
    (status, String::new())
}

fn told(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn nothing_is_ready_before_the_start_is_done() {
    let scene = Scene::new();
    for path in ["/startup", "/alive", "/ready"] {
        assert_eq!(scene.get(path).await, empty(400), "{path}");
    }
    assert_eq!(
        scene.get("/ready?verbose").await,
        told(
            400,
            "[-]lifecycle failed: starting\nreadiness check failed\n"
        )
    );
}

#[tokio::test]
async fn a_running_process_is_alive_and_ready() {
    let scene = Scene::running();
    let (status, startup) = scene.get("/startup").await;
    assert_eq!(status, 200);
    let seconds: f64 = startup
        .strip_prefix("Startup was finished ")
        .unwrap()
        .parse()
        .unwrap();
    assert!(seconds > 1.6e9, "{startup}");
    assert_eq!(scene.get("/alive").await, told(200, "alive"));
    assert_eq!(scene.get("/ready").await, empty(200));
}

#[tokio::test]
async fn liveness_tells_the_load_once_there_is_some() {
    let scene = Scene::running();
    scene.traffic.begin();
    scene.traffic.end(Duration::from_micros(12_345));
    scene.traffic.set_queued(7);
    let text = "Average response time: 12.35ms Request queue size: 7 Rx";
    assert_eq!(scene.get("/alive").await, told(200, text));
}

#[tokio::test]
async fn a_failed_check_answers_500_with_its_message() {
    let scene = Scene::running();
    scene.finds(CheckResult::fail("database error"));
    assert_eq!(scene.get("/alive").await, told(500, "database error"));
    assert_eq!(scene.get("/ready").await, told(500, "database error"));
    assert_eq!(scene.get("/startup").await.0, 200);
}

#[tokio::test]
async fn a_check_that_panics_answers_500() {
    let scene = Scene::running();
    let found = Arc::clone(&scene.found);
    let poisoned = tokio::task::spawn_blocking(move || {
        let _guard = found.lock();
        panic!("poisons the lock the check takes");
    });
    assert!(poisoned.await.is_err());
    assert_eq!(scene.get("/alive").await, told(500, "check panicked"));
}

#[tokio::test]
async fn saturation_answers_400_and_a_warning_200() {
    let scene = Scene::running();
    scene.finds(CheckResult::saturated("queue is full"));
    assert_eq!(
        scene.get("/ready").await,
        told(400, "database: queue is full")
    );
    scene.finds(CheckResult::warn("getting slow"));
    assert_eq!(scene.get("/ready").await, empty(200));
}

#[tokio::test]
async fn draining_is_alive_but_not_ready() {
    let scene = Scene::running();
    scene.lifecycle.drain();
    scene.finds(CheckResult::fail("the workers are gone"));
    assert_eq!(scene.get("/startup").await.0, 200);
    assert_eq!(scene.get("/alive").await, told(200, "alive"));
    assert_eq!(scene.get("/ready").await, empty(400));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_stops_is_told_and_then_fails_liveness() {
    let scene = Scene::running();
    let heartbeat = scene.probes.heartbeat("main runtime");
    let verbose = async || scene.get("/alive?verbose&exclude=database").await;
    time::advance(Duration::from_secs(2)).await;
    let (status, text) = verbose().await;
    assert_eq!(status, 200);
    assert!(
        text.starts_with("[+]main runtime ok (last beat 2.0s ago)\n"),
        "{text}"
    );
    time::advance(Duration::from_secs(1)).await;
    let (status, text) = verbose().await;
    assert_eq!(status, 200);
    assert!(
        text.starts_with("[+]main runtime warning: stalled for 3s\n"),
        "{text}"
    );
    time::advance(Duration::from_secs(27)).await;
    assert_eq!(scene.get("/alive").await, told(200, "alive"));
    time::advance(Duration::from_secs(1)).await;
    assert_eq!(
        scene.get("/alive").await,
        told(500, "main runtime stalled for 31s")
    );
    let (status, text) = verbose().await;
    assert_eq!(status, 500);
    assert!(
        text.starts_with("[-]main runtime stalled for 31s\n"),
        "{text}"
    );
    assert_eq!(scene.get("/ready").await, empty(200));
    #[cfg(feature = "prometheus")]
    {
        let (_, metrics) = scene.get("/metrics").await;
        let stall = "hurricane_runtime_stall_seconds{heartbeat=\"main runtime\"} 31\n";
        assert!(metrics.contains(stall), "{metrics}");
    }
    heartbeat.beat();
    assert_eq!(scene.get("/alive").await, told(200, "alive"));
    #[cfg(feature = "prometheus")]
    {
        let (_, metrics) = scene.get("/metrics").await;
        for line in [
            "hurricane_runtime_stall_seconds{heartbeat=\"main runtime\"} 0\n",
            "hurricane_runtime_stalls_total{heartbeat=\"main runtime\"} 1\n",
        ] {
            assert!(metrics.contains(line), "{metrics}");
        }
    }
    time::advance(Duration::from_secs(60)).await;
    heartbeat.retire();
    assert_eq!(scene.get("/alive").await, told(200, "alive"));
}

#[tokio::test]
async fn get_head_and_post_answer_and_nothing_else() {
    let scene = Scene::running();
    for path in ["/alive", "/alive/", "/alive?x=1"] {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let answer = scene.ask(Request::builder().method(method).uri(path)).await;
            assert_eq!(answer.status, 200, "{path}");
        }
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let answer = scene
            .ask(Request::builder().method(method).uri("/ready"))
            .await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.headers[ALLOW], "GET, HEAD, POST");
    }
    for path in ["/", "/alive//", "/alivex", "/alive/x"] {
        assert_eq!(scene.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn no_answer_is_to_be_kept() {
    let scene = Scene::running();
    for path in ["/alive", "/ready", "/startup", "/metrics", "/nowhere"] {
        let answer = scene.ask(Request::get(path)).await;
        assert_eq!(answer.headers[CACHE_CONTROL], NO_STORE, "{path}");
        if path != "/metrics" {
            assert_eq!(
                answer.headers[CONTENT_TYPE], "text/plain; charset=utf-8",
                "{path}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn verbose_tells_every_check() {
    let scene = Scene::running();
    let _heartbeat = scene.probes.heartbeat("main runtime");
    scene.finds(CheckResult::warn("getting slow"));
    let text = "[+]main runtime ok (last beat 0.0s ago)\n\
                [+]database warning: getting slow (age 0.0s, took 0ns)\n\
                liveness check passed\n";
    assert_eq!(scene.get("/alive?verbose").await, told(200, text));
    scene.finds(CheckResult::fail("database error"));
    let text = "[-]database failed: database error (age 0.0s, took 0ns)\n\
                readiness check failed\n";
    assert_eq!(scene.get("/ready?a=b&verbose=1").await, told(500, text));
}

#[tokio::test(start_paused = true)]
async fn single_checks_have_paths() {
    let scene = Scene::running();
    let _heartbeat = scene.probes.heartbeat("main runtime");
    assert_eq!(scene.get("/ready/database").await, told(200, "ok"));
    assert_eq!(scene.get("/alive/main%20runtime").await, told(200, "ok"));
    assert_eq!(scene.get("/ready/lifecycle").await, told(200, "ok"));
    scene.finds(CheckResult::fail("database error"));
    for path in [
        "/ready/database",
        "/readyz/database/",
        "/ready?check=database",
        "/ready?check=database&check=application",
        "/ready/database?verbosely",
    ] {
        assert_eq!(scene.get(path).await, told(500, "database error"), "{path}");
    }
    let text = "[-]database failed: database error (age 0.0s, took 0ns)\n\
                readiness check failed\n";
    assert_eq!(scene.get("/ready/database?verbose").await, told(500, text));
    assert_eq!(scene.get("/alive/main%20runtime").await, told(200, "ok"));
}

#[tokio::test]
async fn a_thousand_probes_at_once_share_one_run() {
    let runs = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(Notify::new());
    let scene = Scene::running();
    let slow = {
        let (runs, open) = (Arc::clone(&runs), Arc::clone(&open));
        check_fn("slow", move || {
            runs.fetch_add(1, Relaxed);
            let open = Arc::clone(&open);
            async move {
                open.notified().await;
                CheckResult::pass()
            }
        })
    };
    scene.probes.checks().add(slow, [Probe::Readiness]).unwrap();
    let service = ProbeService::new(Arc::clone(&scene.probes));
    let mut asking = JoinSet::new();
    for _ in 0..1_000 {
        let request = Request::get("/ready").body(()).unwrap();
        asking.spawn(service.clone().oneshot(request));
    }
    // All of them have asked before the one run may end.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    open.notify_one();
    for answer in asking.join_all().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(runs.load(Relaxed), 1);
}

#[tokio::test]
async fn a_name_that_nothing_has_is_not_found() {
    let scene = Scene::running();
    for (path, sentence) in [
        (
            "/ready/databse",
            "the readiness probe has no check named \"databse\"\n",
        ),
        (
            "/startup?check=database",
            "the startup probe has no check named \"database\"\n",
        ),
        (
            "/ready?check=database&check=x%0Ay",
            "the readiness probe has no check named \"x\\ny\"\n",
        ),
        (
            "/ready?tag=slow",
            "the readiness probe has no check with the tag \"slow\"\n",
        ),
    ] {
        assert_eq!(scene.get(path).await, told(404, sentence), "{path}");
    }
    let post = scene.ask(Request::put("/ready/database")).await;
    assert_eq!(post.status, 405);
}

#[tokio::test(start_paused = true)]
async fn checks_can_be_excluded() {
    let scene = Scene::running();
    let _heartbeat = scene.probes.heartbeat("main runtime");
    scene.finds(CheckResult::fail("database error"));
    assert_eq!(scene.get("/ready?exclude=database").await, empty(200));
    assert_eq!(scene.get("/alive?exclude=databse").await.0, 500);
    let text = "[+]main runtime ok (last beat 0.0s ago)\n\
                [+]database excluded: ok\n\
                warn: some health checks cannot be excluded: no matches for \"a\", \"b\"\n\
                liveness check passed\n";
    let path = "/alive?verbose&exclude=database&exclude=a&exclude=b";
    assert_eq!(scene.get(path).await, told(200, text));
    let answer = scene
        .ask(Request::get(path).header(ACCEPT, "application/json"))
        .await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["excluded"], json!(["database"]));
    assert_eq!(
        body["warning"],
        "some health checks cannot be excluded: no matches for \"a\", \"b\""
    );
}

#[tokio::test(start_paused = true)]
async fn health_json_tells_every_check() {
    let scene = Scene::running();
    let accept = "text/html, application/health+json;q=0.9";
    for (found, status, expected) in [
        (
            CheckResult::warn("getting slow"),
            200,
            json!({"status": "warn", "checks": {"database": [
                {"status": "warn", "output": "getting slow", "age": 0.0, "duration": 0.0}
            ]}}),
        ),
        (
            CheckResult::pass(),
            200,
            json!({"status": "pass", "checks": {"database": [{"status": "pass", "age": 0.0, "duration": 0.0}]}}),
        ),
        (
            CheckResult::saturated("queue is full"),
            400,
            json!({"status": "fail", "checks": {"database": [
                {"status": "fail", "output": "queue is full", "age": 0.0, "duration": 0.0}
            ]}}),
        ),
    ] {
        scene.finds(found);
        let answer = scene
            .ask(Request::get("/ready").header(ACCEPT, accept))
            .await;
        assert_eq!(
            (answer.status, &answer.headers[CONTENT_TYPE]),
            (status, &HEALTH_JSON)
        );
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn json_is_small_and_grows_when_asked() {
    let scene = Scene::running();
    scene.finds(CheckResult::saturated("queue is full"));
    let ask = async |path| {
        let request = Request::get(path).header(ACCEPT, "application/json");
        let answer = scene.ask(request).await;
        assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        (answer.status, body)
    };
    let check = json!({"name": "database", "status": "saturated", "message": "queue is full"});
    assert_eq!(
        ask("/ready").await,
        (
            400,
            json!({"probe": "readiness", "status": "fail", "checks": [check]})
        )
    );
    scene.finds(CheckResult::pass());
    let check = json!({"name": "database", "status": "pass", "age": 0.0, "duration": 0.0});
    assert_eq!(
        ask("/alive?verbose").await,
        (
            200,
            json!({"probe": "liveness", "status": "pass", "checks": [check]})
        )
    );
}

#[tokio::test]
async fn reasons_can_be_withheld() {
    let scene = |details| {
        let scene = Scene::with(&ProbeConfig {
            details,
            ..ProbeConfig::default()
        });
        scene.lifecycle.run();
        scene.finds(CheckResult::fail("db-7 is down"));
        scene
    };
    let on_request = scene(Details::OnRequest);
    assert_eq!(on_request.get("/ready").await, told(500, "reason withheld"));
    let (_, verbose) = on_request.get("/ready?verbose").await;
    assert!(verbose.contains("failed: db-7 is down"), "{verbose}");

    let never = scene(Details::Never);
    assert_eq!(never.get("/ready").await, told(500, "reason withheld"));
    let (_, verbose) = never.get("/ready?verbose").await;
    assert!(
        verbose.starts_with("[-]database failed: reason withheld ("),
        "{verbose}"
    );
    for accept in ["application/json", "application/health+json"] {
        let answer = never
            .ask(Request::get("/ready").header(ACCEPT, accept))
            .await;
        assert!(answer.body.contains("reason withheld"), "{}", answer.body);
        assert!(!answer.body.contains("db-7"), "{}", answer.body);
    }
    never.finds(CheckResult::pass());
    assert_eq!(never.get("/alive").await, told(200, "alive"));
}

#[tokio::test]
async fn the_paths_of_kubernetes_own_servers_answer_too() {
    let scene = Scene::running();
    scene.finds(CheckResult::saturated("queue is full"));
    for (path, probe) in [
        ("/livez", "liveness"),
        ("/healthz/", "liveness"),
        ("/readyz", "readiness"),
    ] {
        let (status, body) = scene.get(&format!("{path}?verbose")).await;
        assert_eq!(status, 400, "{path}");
        assert!(body.ends_with(&format!("{probe} check failed\n")), "{body}");
    }
    let scene = Scene::with(&ProbeConfig {
        aliases: false,
        ..ProbeConfig::default()
    });
    assert_eq!(scene.get("/livez").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn webhooks_hear_of_changes_only() {
    use EventKind::{Liveness, Readiness};
    use EventStatus::{Failed, Succeeded};

    let scene = Scene::new();
    let ask = async || {
        for path in ["/alive", "/alive", "/ready", "/ready"] {
            scene.get(path).await;
        }
    };
    ask().await;
    scene.lifecycle.run();
    ask().await;
    scene.finds(CheckResult::saturated("queue is full"));
    ask().await;
    scene.finds(CheckResult::fail("broken"));
    ask().await;
    scene.finds(CheckResult::pass());
    ask().await;
    scene.lifecycle.drain();
    ask().await;
    scene
        .dispatcher
        .close(Duration::from_secs(1))
        .await
        .unwrap();
    let expected = [
        (Liveness, Succeeded),
        (Readiness, Succeeded),
        (Liveness, Failed),
        (Readiness, Failed),
        (Liveness, Succeeded),
        (Readiness, Succeeded),
    ];
    assert_eq!(*scene.events.lock().unwrap(), expected);
}

#[cfg(feature = "prometheus")]
#[tokio::test]
async fn metrics_are_those_of_the_exposition() {
    let scene = Scene::new();
    scene
        .probes
        .exposition()
        .unwrap()
        .local(|| metrics::counter!("orders_total").increment(3));
    scene.traffic.set_queued(2);
    let answer = scene.ask(Request::get("/metrics")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers[CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for line in [
        "orders_total 3\n",
        "request_queue_length 2\n",
        "http_server_active_requests 0\n",
    ] {
        assert!(answer.body.contains(line), "{}", answer.body);
    }
}

#[tokio::test]
async fn probes_stand_before_an_application_on_its_port() {
    let scene = Scene::running();
    let app = Router::new()
        .route("/", get(|| async { "app" }))
        .route("/alive", get(|| async { "not reached" }))
        .route("/livez", get(|| async { "of the app" }));
    let both = WithProbes::new(Arc::clone(&scene.probes), app);
    let ask = async |service: WithProbes<Router>, path| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response: Result<_, Infallible> = service.oneshot(request).await;
        let answer = Answer::of(response.unwrap().map(Body::new)).await;
        (answer.status, answer.body)
    };
    for (path, expected) in [
        ("/", told(200, "app")),
        ("/alive", told(200, "alive")),
        ("/livez", told(200, "of the app")),
        ("/alive/database", empty(404)),
        ("/x", empty(404)),
    ] {
        assert_eq!(ask(both.clone(), path).await, expected, "{path}");
    }
    assert_eq!(ask(both.with_aliases(), "/livez").await, told(200, "alive"));
}
