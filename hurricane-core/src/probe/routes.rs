//! The endpoints as HTTP: methods, statuses, forms of an answer.

use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};
use http_body_util::Full;

use super::{Endpoint, ProbeService, Probes, accept::Form, query::Query, render};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HEALTH_JSON: HeaderValue = HeaderValue::from_static("application/health+json");
const NO_STORE: HeaderValue =
    HeaderValue::from_static("no-store, no-cache, must-revalidate, max-age=0");
/// Keeps browsers from taking what a check says for a page.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// The probes and metrics as an axum router, for the probe server or any other.
///
/// It answers every path: 404 for those it does not know. To have the endpoints before an application on the same
/// port, use [`WithProbes`](super::WithProbes); [`ProbeService`] is the same without axum.
///
/// | request | answer |
/// | --- | --- |
/// | GET, HEAD, POST of a probe's path | 200, 400 or 500, and a line of text or none |
/// | the same, `/livez`, `/readyz`, `/healthz` | liveness, readiness, liveness, unless [switched off](super::ProbeConfig::aliases) |
/// | a name behind the path, as in `/ready/database` | that check alone: 200 and `ok`, or what it does to the probe; 404 for a name that the probe does not have |
/// | with `?check=`, `?tag=`, any number of them | those alone, in the same way |
/// | with `?exclude=`, any number of them | all but those |
/// | with `?verbose` | every check with its status, age and message, as text |
/// | with `Accept: application/json` | `probe`, `status` and `checks` with `name`, `status`, `message`; with `?verbose` also `age`, `duration` and `stale` |
/// | with `Accept: application/health+json` | every check in the form of draft-inadarei-api-health-check |
/// | GET, HEAD, POST of the metrics' path | the metrics for Prometheus, as `OpenMetrics` where `Accept` asks for it, gzipped where `Accept-Encoding` allows |
/// | other methods | 405 |
/// | `grpc.health.v1.Health` over HTTP/2, with the feature `grpc` | see `GrpcHealth` |
pub fn router(probes: Arc<Probes>) -> Router {
    #[cfg(feature = "grpc")]
    let router = {
        let health = super::GrpcHealth::new(Arc::clone(&probes));
        Router::new().route_service(super::GrpcHealth::ROUTE, health)
    };
    #[cfg(not(feature = "grpc"))]
    let router = Router::new();
    router.fallback_service(ProbeService::new(probes))
}

/// Answers any request.
pub(super) async fn answer(probes: &Probes, head: &Parts) -> Response<Full<Bytes>> {
    let (paths, path) = (probes.paths(), head.uri.path());
    let found = match paths.find(path).or_else(|| paths.find_alias(path)) {
        Some(endpoint) => Some((endpoint, None)),
        None => paths
            .find_check(path)
            .map(|(probe, name)| (Endpoint::Probe(probe), Some(name))),
    };
    let Some((endpoint, check)) = found else {
        return plain(StatusCode::NOT_FOUND, "not found\n");
    };
    if !matches!(head.method, Method::GET | Method::HEAD | Method::POST) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
        response.headers_mut().insert(ALLOW, METHODS);
        return response;
    }
    let probe = match endpoint {
        Endpoint::Probe(probe) => probe,
        Endpoint::Metrics => {
            return match probes.scrape(&head.headers).await {
                Some(mut response) => {
                    let headers = response.headers_mut();
                    headers.insert(CACHE_CONTROL, NO_STORE);
                    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
                    response.map(Full::new)
                }
                None => plain(StatusCode::NOT_FOUND, "no metrics are collected\n"),
            };
        }
    };
    let query = Query::of(&head.uri, check);
    let verdict = probes.ask_with(probe, &query.selection).await;
    if let Some(missed) = query.missed(&verdict) {
        return plain(StatusCode::NOT_FOUND, missed);
    }
    let (details, status) = (probes.details(), verdict.status);
    match Form::accepted(&head.headers) {
        Form::HealthJson => {
            let body = render::health_json(&verdict, details);
            with(status, HEALTH_JSON, body.to_string())
        }
        Form::Json => {
            let body = render::json(&verdict, details, query.verbose);
            with(status, JSON, body.to_string())
        }
        Form::Text if query.verbose => with(status, TEXT, render::verbose(&verdict, details)),
        Form::Text if verdict.passed() && query.is_for_checks() => plain(status, "ok"),
        Form::Text if verdict.passed() => plain(status, verdict.text),
        Form::Text => plain(status, details.reveal(&verdict.text, false).to_owned()),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    with(status, TEXT, text)
}

fn with(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

#[cfg(test)]
mod tests;
