//! What a layer costs: the same service with it and without it. The difference is the layer's.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use http::{Request, Response};
use http_body_util::Full;
use hurricane_core::{
    ConcurrencyLimitLayer, DrainLayer, Exposition, InFlightLayer, Lifecycle, MetricNames,
    MetricsLayer, RequestIdLayer, Route, Traffic,
};
use tower::{Layer as _, Service, service_fn};

fn main() {
    let exposition = Exposition::new();
    exposition.install().expect("nothing else records");
    let mut criterion = Criterion::default().configure_from_args();
    services(&mut criterion.benchmark_group("service"));
    routers(&mut criterion.benchmark_group("router"));
    criterion.final_summary();
    black_box(exposition.render());
}

/// A tower service that answers at once, and tells its route.
fn services(group: &mut BenchmarkGroup<'_, WallTime>) {
    let traffic = Arc::new(Traffic::new());
    let hello = service_fn(hello);
    let metrics = MetricsLayer::new(Arc::clone(&traffic));
    let both = metrics.clone().names(MetricNames::Both);
    let in_flight = InFlightLayer::new(Arc::clone(&traffic));
    let drain = DrainLayer::new(Lifecycle::new());
    let limit = ConcurrencyLimitLayer::new(64, 256).traffic(traffic);

    measure(group, "bare", hello);
    measure(group, "metrics", metrics.layer(hello));
    measure(group, "metrics, both names", both.layer(hello));
    measure(group, "in flight", in_flight.layer(hello));
    measure(group, "drain", drain.layer(hello));
    measure(group, "concurrency limit", limit.layer(hello));
    measure(group, "request id", RequestIdLayer::new().layer(hello));
}

/// An axum router, which puts the matched path into the request.
fn routers(group: &mut BenchmarkGroup<'_, WallTime>) {
    let bare = Router::new().route("/users/{id}", get(|| async { "hello" }));
    let metrics = MetricsLayer::new(Arc::new(Traffic::new()));
    let counted = bare.clone().layer(metrics);
    measure(group, "bare", bare);
    measure(group, "metrics", counted);
}

fn hello(_: Request<Body>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
    response.extensions_mut().insert(Route::new("/users/{id}"));
    ready(Ok(response))
}

/// Measures one request, from its making to the end of the answer's body, at one thread and without a runtime.
fn measure<S, B>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut service: S)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    let mut context = Context::from_waker(Waker::noop());
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = http::Uri::from_static("/users/7");
            assert!(service.poll_ready(&mut context).is_ready());
            let answer = pin!(service.call(request));
            let Poll::Ready(Ok(response)) = answer.poll(&mut context) else {
                panic!("the service answers at once");
            };
            let mut body = pin!(response.into_body());
            while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
                black_box(frame.is_ok());
            }
        });
    });
}
