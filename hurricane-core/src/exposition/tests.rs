use std::io::Read as _;

use super::*;

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
fn the_same_labels_are_one_series_in_any_order() {
    let exposition = Exposition::new();
    exposition.local(|| {
        metrics::counter!("a_total", "x" => "1", "y" => "2").increment(1);
        metrics::counter!("a_total", "y" => "2", "x" => "1").increment(1);
    });
    let text = exposition.render();
    assert!(text.contains("a_total{x=\"1\",y=\"2\"} 2\n"), "{text}");
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

#[test]
fn tells_what_traffic_knows() {
    let exposition = Exposition::new();
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
