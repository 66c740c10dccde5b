use std::convert::Infallible;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::Notify;
use tokio_test::{assert_pending, assert_ready, task};
use tower::service_fn;

use super::*;

/// A service that answers each request when it is told to.
#[derive(Clone, Default)]
struct Gate {
    open: Arc<Notify>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    async fn answer(self) -> Result<Response<Full<Bytes>>, Infallible> {
        let running = self.running.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(running, Relaxed);
        self.open.notified().await;
        self.running.fetch_sub(1, Relaxed);
        Ok(Response::new(Full::new(Bytes::from("hello"))))
    }

    fn ask(
        &self,
        layer: &ConcurrencyLimitLayer,
    ) -> task::Spawn<
        impl Future<Output = Result<Response<ResponseBody<Full<Bytes>>>, Infallible>> + use<>,
    > {
        let gate = self.clone();
        let service = service_fn(move |_: Request<()>| gate.clone().answer());
        let mut asked = task::spawn(layer.layer(service).oneshot(Request::new(())));
        // The first poll makes the call.
        let _ = asked.enter(|cx, future| future.poll(cx).is_ready());
        asked
    }
}

fn layer(limit: usize, queue: usize) -> (Arc<Traffic>, ConcurrencyLimitLayer) {
    let traffic = Arc::new(Traffic::new());
    let layer = ConcurrencyLimitLayer::new(limit, queue).traffic(Arc::clone(&traffic));
    (traffic, layer)
}

#[tokio::test(start_paused = true)]
async fn those_who_came_first_run_first() {
    let (traffic, layer) = layer(1, 2);
    let gate = Gate::default();
    let mut first = gate.ask(&layer);
    let (mut second, mut third) = (gate.ask(&layer), gate.ask(&layer));
    assert_eq!((traffic.queued(), layer.waiting()), (2, 2));

    gate.open.notify_one();
    let response = assert_ready!(first.poll()).unwrap();
    assert_pending!(second.poll());
    assert_eq!(
        traffic.queued(),
        2,
        "the first one's body is not at its end"
    );
    drop(response);
    assert!(second.is_woken(), "it is its turn");
    assert!(!third.is_woken());
    assert_pending!(second.poll());
    assert_eq!(traffic.queued(), 1);

    let mut late = gate.ask(&layer);
    gate.open.notify_one();
    let response = assert_ready!(second.poll()).unwrap();
    let body = assert_ready!(task::spawn(response.into_body().collect()).poll());
    assert_eq!(body.unwrap().to_bytes(), "hello");
    assert!(
        third.is_woken(),
        "the end of the body is the end of the request"
    );
    assert_pending!(third.poll());
    assert_pending!(late.poll());
    assert_eq!(traffic.queued(), 1);
    assert_eq!(gate.most.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn who_finds_the_queue_full_is_refused_at_once() {
    for queue in [0, 1] {
        let (traffic, layer) = layer(1, queue);
        let layer = layer.retry_after(Duration::from_secs(7));
        let gate = Gate::default();
        let held: Vec<_> = (0..=queue).map(|_| gate.ask(&layer)).collect();
        let answer = layer
            .layer(service_fn(|_: Request<()>| Gate::default().answer()))
            .oneshot(Request::new(()));
        let refused = assert_ready!(task::spawn(answer).poll()).unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["retry-after"], "7");
        assert_eq!(refused.headers()["content-length"], "0");
        assert!(refused.into_body().is_end_stream());
        assert_eq!(traffic.queued(), queue);
        drop(held);
        assert_eq!(traffic.queued(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused() {
    let (traffic, layer) = layer(1, 5);
    let layer = layer.max_wait(Duration::from_secs(3));
    let gate = Gate::default();
    let _first = gate.ask(&layer);
    let mut second = gate.ask(&layer);
    time::advance(Duration::from_millis(2_990)).await;
    assert_pending!(second.poll());
    time::advance(Duration::from_millis(20)).await;
    let refused = assert_ready!(second.poll()).unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(second);
    assert_eq!(traffic.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_forgotten() {
    let (traffic, layer) = layer(1, 5);
    let gate = Gate::default();
    let first = gate.ask(&layer);
    let (second, mut third) = (gate.ask(&layer), gate.ask(&layer));
    drop(second);
    assert_eq!(traffic.queued(), 1);
    drop(first);
    assert!(third.is_woken(), "a request that was cancelled makes room");
    assert_pending!(third.poll());
    assert_eq!(traffic.queued(), 0);

    // It was handed the permit, and leaves without having seen it.
    let fourth = gate.ask(&layer);
    drop(third);
    drop(fourth);
    let mut fifth = gate.ask(&layer);
    gate.open.notify_one();
    assert!(assert_ready!(fifth.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_gives_its_permit_back() {
    let (_, layer) = layer(1, 0);
    for _ in 0..2 {
        let failing = service_fn(async |_: Request<()>| Err::<Response<Full<Bytes>>, _>("broken"));
        assert_eq!(
            layer.layer(failing).oneshot(Request::new(())).await.err(),
            Some("broken")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_more_than_the_limit() {
    let (traffic, layer) = layer(3, 1_000);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        let service = layer.layer(service_fn(move |_: Request<()>| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Relaxed) + 1, Relaxed);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Relaxed);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }
        }));
        // With the body dropped the next may run.
        tasks.spawn(async { service.oneshot(Request::new(())).await.unwrap().status() });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses, [StatusCode::OK; 200]);
    assert!(most.load(Relaxed) <= 3, "{most:?}");
    assert_eq!(traffic.queued(), 0);
}
