//! The endpoints as HTTP: methods, statuses, forms of an answer.

use std::{convert::Infallible, fmt::Write as _, sync::Arc};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tower::service_fn;

use super::{Endpoint, Probes, Verdict};
use crate::check::{CheckReport, Status};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const EXPOSITION: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const HEALTH_JSON: HeaderValue = HeaderValue::from_static("application/health+json");
const NO_STORE: HeaderValue =
    HeaderValue::from_static("no-store, no-cache, must-revalidate, max-age=0");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// The probes and metrics as an axum router, for the probe server or any other.
///
/// It answers every path: 404 for those it does not know. To have the endpoints before an application on the same
/// port, use [`WithProbes`](super::WithProbes).
///
/// | request | answer |
/// | --- | --- |
/// | GET, HEAD, POST of a probe's path | 200, 400 or 500, and a line of text or none |
/// | with `?verbose` | every check with its status, age and message, as text |
/// | with `Accept: application/health+json` | the same as JSON |
/// | GET, HEAD, POST of the metrics' path | the metrics for Prometheus |
/// | other methods | 405 |
pub fn router(probes: Arc<Probes>) -> Router {
    Router::new().fallback_service(service_fn(move |request: Request<Body>| {
        let probes = Arc::clone(&probes);
        async move {
            // The body is ignored, and with it dropped the server does not read it.
            let (head, _) = request.into_parts();
            let response = match probes.paths().find(head.uri.path()) {
                Some(endpoint) => {
                    respond(&probes, endpoint, &head.method, &head.uri, &head.headers).await
                }
                None => plain(StatusCode::NOT_FOUND, "not found\n"),
            };
            Ok::<_, Infallible>(response.map(Body::new))
        }
    }))
}

/// Answers a request for one of the endpoints.
pub(super) async fn respond(
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
            return match probes.scrape().await {
                Some(text) => answer(StatusCode::OK, EXPOSITION, text),
                None => plain(StatusCode::NOT_FOUND, "no metrics are collected\n"),
            };
        }
    };
    let verdict = probes.ask(probe).await;
    if wants_json(headers) {
        answer(
            verdict.status,
            HEALTH_JSON,
            health_json(&verdict).to_string(),
        )
    } else if is_verbose(uri) {
        answer(verdict.status, TEXT, verbose(&verdict))
    } else {
        plain(verdict.status, verdict.text)
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    answer(status, TEXT, text)
}

fn answer(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

fn is_verbose(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| pair == "verbose" || pair.starts_with("verbose="))
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/health+json"))
}

/// The checks line by line, as `kubectl get --raw '/readyz?verbose'` shows those of Kubernetes.
fn verbose(verdict: &Verdict) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for check in &verdict.checks {
        let _ = writeln!(text, "{}", line(check));
    }
    let outcome = if verdict.passed() { "passed" } else { "failed" };
    let _ = writeln!(text, "{} check {outcome}", verdict.probe.name());
    text
}

fn line(check: &CheckReport) -> String {
    let (mark, outcome) = match check.result.status {
        Status::Pass => ('+', "ok"),
        Status::Warn => ('+', "warning"),
        Status::Saturated => ('-', "saturated"),
        Status::Fail => ('-', "failed"),
    };
    let mut line = format!("[{mark}]{} {outcome}", check.name);
    if !check.result.message.is_empty() {
        let _ = write!(line, ": {}", check.result.message);
    }
    let mut details = Vec::new();
    if let Some(age) = check.age {
        details.push(format!("age {:.1}s", age.as_secs_f64()));
    }
    if let Some(took) = check.took {
        details.push(format!("took {took:.0?}"));
    }
    if check.stale && check.age.is_some() {
        details.push("stale".to_owned());
    }
    if !details.is_empty() {
        let _ = write!(line, " ({})", details.join(", "));
    }
    line
}

/// The form of draft-inadarei-api-health-check.
fn health_json(verdict: &Verdict) -> Value {
    let checks: Map<String, Value> = verdict
        .checks
        .iter()
        .map(|check| (check.name.clone(), json!([check_json(check)])))
        .collect();
    let warned = verdict
        .checks
        .iter()
        .any(|check| check.result.status == Status::Warn);
    let status = match (verdict.passed(), warned) {
        (false, _) => "fail",
        (true, true) => "warn",
        (true, false) => "pass",
    };
    json!({ "status": status, "checks": checks })
}

fn check_json(check: &CheckReport) -> Value {
    let status = match check.result.status {
        Status::Pass => "pass",
        Status::Warn => "warn",
        Status::Saturated | Status::Fail => "fail",
    };
    let mut fields = Map::new();
    fields.insert("status".to_owned(), status.into());
    if !check.result.message.is_empty() {
        fields.insert("output".to_owned(), (*check.result.message).into());
    }
    if let Some(age) = check.age {
        fields.insert("age".to_owned(), age.as_secs_f64().into());
    }
    if let Some(took) = check.took {
        fields.insert("duration".to_owned(), took.as_secs_f64().into());
    }
    if check.stale {
        fields.insert("stale".to_owned(), true.into());
    }
    fields.into()
}

#[cfg(test)]
mod tests;
