use std::io::Read as _;

use super::*;
use crate::{AverageMetric, CounterMetric, ObservedMetric, StoredMetric, metric_fn};

#[test]
fn renders_buckets_by_the_unit_in_the_name() {
    let exposition = Exposition::new();
    exposition.local(|| {
        metrics::histogram!(names::REQUEST_DURATION).record(0.02);
        metrics::histogram!(names::RESPONSE_BODY_SIZE).record(2_000.0);
    });
    let text = exposition.render();
    assert!(
        text.contains("http_server_request_duration_seconds_bucket{le=\"0.01\"} 0"),
        "{text}"
    );
    assert!(
        text.contains("http_server_request_duration_seconds_bucket{le=\"0.025\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("http_server_response_body_size_bytes_bucket{le=\"10000.0\"} 1"),
        "{text}"
    );
}

#[test]
fn families_are_in_the_order_of_their_names() {
    let exposition = Exposition::new();
    exposition.local(|| {
        metrics::gauge!("b").set(1);
        metrics::counter!("c_total", "x" => "2").increment(2);
        metrics::counter!("c_total", "x" => "1").increment(1);
        metrics::histogram!("a_seconds", "y" => "z").record(0.3);
    });
    let text = exposition.render();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("_bucket"))
        .collect();
    let expected = [
        "# TYPE a_seconds histogram",
        "a_seconds_sum{y=\"z\"} 0.3",
        "a_seconds_count{y=\"z\"} 1",
        "# TYPE b gauge",
        "b 1",
        "# TYPE c_total counter",
        "c_total{x=\"1\"} 1",
        "c_total{x=\"2\"} 2",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_name_keeps_its_kind() {
    let exposition = Exposition::new();
    exposition.local(|| {
        metrics::counter!("a").increment(1);
        metrics::gauge!("a").set(7);
        metrics::histogram!("a").record(7);
        metrics::counter!("a", "x" => "y").increment(1);
    });
    assert_eq!(exposition.render(), "# TYPE a counter\na 1\na{x=\"y\"} 1\n");
}

#[test]
fn openmetrics_has_suffixes_units_and_an_end() {
    let exposition = Exposition::new();
    exposition.local(|| {
        metrics::describe_counter!("jobs", "All \"jobs\".");
        metrics::counter!("jobs").increment(1);
        metrics::counter!("bytes_total").increment(2);
        metrics::gauge!("age_seconds").set(0.5);
        // One name for two families cannot be told in this format.
        metrics::gauge!("load").set(1);
        metrics::counter!("load_total").increment(3);
    });
    let expected = "\
        # TYPE age_seconds gauge\n# UNIT age_seconds seconds\nage_seconds 0.5\n\
        # TYPE bytes counter\nbytes_total 2\n\
        # HELP jobs All \\\"jobs\\\".\n# TYPE jobs counter\njobs_total 1\n\
        # TYPE load gauge\nload 1\n\
        # TYPE load_total unknown\nload_total 3\n\
        # EOF\n";
    assert_eq!(exposition.render_as(Format::OpenMetrics), expected);
}

#[test]
fn a_scrape_is_compressed_for_those_who_take_it() {
    let exposition = Exposition::new();
    exposition.local(|| metrics::counter!("a_total").increment(1));
    let mut headers = HeaderMap::new();
    let plain = exposition.respond(&headers);
    assert!(!plain.headers().contains_key(CONTENT_ENCODING));
    headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
    let zipped = exposition.respond(&headers);
    assert_eq!(zipped.headers()[CONTENT_ENCODING], "gzip");
    assert_eq!(
        zipped.headers()[CONTENT_TYPE],
        plain.headers()[CONTENT_TYPE]
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(&**zipped.body())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text.as_bytes(), &**plain.body());
}

#[tokio::test]
async fn every_kind_of_metric_is_told() {
    let (stored, counter) = (
        StoredMetric::new("a", "A."),
        CounterMetric::new("b_total", "B."),
    );
    let (average, observed) = (
        AverageMetric::new("c", "C."),
        ObservedMetric::new("d", "D.", [1.0]),
    );
    let metrics: [Arc<dyn Metric>; 5] = [
        Arc::new(stored.clone()),
        Arc::new(counter.clone()),
        Arc::new(average.clone()),
        Arc::new(observed.clone()),
        Arc::new(metric_fn("e", "E.", || async { 5.0 })),
    ];
    let exposition = Exposition::new();
    for _ in 0..2 {
        stored.add(1.5);
        counter.increment(1);
        average.add(4.0);
        observed.observe(0.5);
        exposition
            .ask(&metrics, &Handle::current(), Duration::from_secs(5))
            .await;
    }
    let text = exposition.render();
    let expected = [
        "# HELP a A.\n# TYPE a gauge\na 3\n",
        "# TYPE b_total counter\nb_total 2\n",
        "\nc 4\n",
        "# HELP d D.\n# TYPE d histogram\nd_bucket{le=\"1.0\"} 2\nd_bucket{le=\"+Inf\"} 2\nd_sum 1\nd_count 2\n",
        "\ne 5\n",
    ];
    for lines in expected {
        assert!(text.contains(lines), "{lines} is not in {text}");
    }
}

#[test]
fn tells_what_traffic_knows() {
    let exposition = Exposition::new().with_names(MetricNames::Both);
    let traffic = Traffic::new();
    traffic.set_queued(3);
    traffic.begin();
    traffic.begin();
    traffic.end(Duration::from_millis(250));
    exposition.observe(&traffic);
    let text = exposition.render();
    for line in [
        "request_queue_length 3",
        "http_server_active_requests 1",
        "response_time_average 250",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{text}");
    }
}

#[test]
fn the_families_of_django_hurricane_are_there_from_the_start() {
    let exposition = Exposition::new().with_names(MetricNames::Both);
    let text = exposition.render();
    for lines in [
        "# TYPE request_counter_total counter\nrequest_counter_total 0\n",
        "# TYPE path_requests_total counter\n# ",
        "\nresponse_time_seconds_bucket{le=\"0.005\"} 0\n",
        "\nresponse_size_bytes_count 0\n",
        "# TYPE request_counter_created gauge\nrequest_counter_created 1",
        "# TYPE response_time_seconds_created gauge\n",
        "# TYPE response_size_bytes_created gauge\n",
    ] {
        assert!(text.contains(lines), "{lines} is not in {text}");
    }
    let open = exposition.render_as(Format::OpenMetrics);
    assert!(open.contains("# TYPE request_counter counter\nrequest_counter_total 0\n"));
    assert!(
        !open.contains("_created"),
        "a name of a part of another family"
    );

    exposition.local(|| {
        metrics::counter!(names::django::REQUESTS).increment(2);
        metrics::histogram!(names::django::RESPONSE_TIME).record(0.3);
    });
    let text = exposition.render();
    assert!(text.contains("\nrequest_counter_total 2\n"), "{text}");
    assert_eq!(
        text.matches("# TYPE response_time_seconds histogram")
            .count(),
        1
    );
    assert!(text.contains("\nresponse_time_seconds_count 1\n"), "{text}");
    let others = Exposition::new().render();
    assert!(!others.contains("request_counter"), "{others}");
}
