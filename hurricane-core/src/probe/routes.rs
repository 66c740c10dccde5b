//! The endpoints as HTTP: methods, statuses, forms of an answer.

use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Uri,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};
use http_body_util::Full;

use super::{Endpoint, ProbeService, Probes, accept::Form, render};

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
/// | with `?verbose` | every check with its status, age and message, as text |
/// | with `Accept: application/json` | `probe`, `status` and `checks` with `name`, `status`, `message`; with `?verbose` also `age`, `duration` and `stale` |
/// | with `Accept: application/health+json` | every check in the form of draft-inadarei-api-health-check |
/// | GET, HEAD, POST of the metrics' path | the metrics for Prometheus, as `OpenMetrics` where `Accept` asks for it, gzipped where `Accept-Encoding` allows |
/// | other methods | 405 |
pub fn router(probes: Arc<Probes>) -> Router {
    Router::new().fallback_service(ProbeService::new(probes))
}

/// Answers any request.
pub(super) async fn answer(probes: &Probes, head: &Parts) -> Response<Full<Bytes>> {
    let (paths, path) = (probes.paths(), head.uri.path());
    match paths.find(path).or_else(|| paths.find_alias(path)) {
        Some(endpoint) => respond(probes, endpoint, &head.method, &head.uri, &head.headers).await,
        None => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Answers a request for one of the endpoints.
async fn respond(
    probes: &Probes,
    endpoint: Endpoint,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD | Method::POST) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
        response.headers_mut().insert(ALLOW, METHODS);
        return response;
    }
    let probe = match endpoint {
        Endpoint::Probe(probe) => probe,
        Endpoint::Metrics => {
            return match probes.scrape(headers).await {
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
    let verdict = probes.ask(probe).await;
    let (details, status) = (probes.details(), verdict.status);
    let verbose = is_verbose(uri);
    match Form::accepted(headers) {
        Form::HealthJson => {
            let body = render::health_json(&verdict, details);
            with(status, HEALTH_JSON, body.to_string())
        }
        Form::Json => {
            let body = render::json(&verdict, details, verbose);
            with(status, JSON, body.to_string())
        }
        Form::Text if verbose => with(status, TEXT, render::verbose(&verdict, details)),
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

fn is_verbose(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| pair == "verbose" || pair.starts_with("verbose="))
}

#[cfg(test)]
mod tests;
