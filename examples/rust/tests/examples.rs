//! Starts each example, asks it what its users would ask, and ends it as Kubernetes would.

#[cfg(test)]
mod process;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        net::{TcpListener, TcpStream},
    };

    use crate::process::{Example, begin, finish, get, post, until};

    #[test]
    fn axum_embedded() {
        let example = Example::start(env!("CARGO_BIN_EXE_axum-embedded"), &[]);
        let (app, probes) = (example.addr("application on"), example.addr("probes on"));
        until("the start-up is over", || {
            get(&probes, "/startup").status == 200
        });
        assert_eq!(get(&app, "/").body, "hello");
        let ready = get(&probes, "/ready?verbose");
        assert_eq!(ready.status, 200);
        assert!(ready.body.contains("[+]database ok"), "{}", ready.body);
        assert_eq!(get(&probes, "/alive").status, 200);
        let metrics = get(&probes, "/metrics").body;
        assert!(
            metrics.contains("http_server_request_duration_seconds_count{"),
            "{metrics}"
        );

        // The end, while a request is in hand.
        let request = begin(&app, "/slow/3000");
        until("the request has come", || {
            let metrics = get(&probes, "/metrics").body;
            metrics.contains("\nhttp_server_active_requests 1")
        });
        example.terminate();
        example.wait_for("Received signal SIGTERM");
        until("it is not ready while draining", || {
            get(&probes, "/ready").status == 400
        });
        assert_eq!(get(&probes, "/alive").status, 200, "alive while draining");
        let answer = finish(request);
        assert_eq!((answer.status, &*answer.body), (200, "done"));
        let output = example.ended();
        let migrated = output.find("the tables are up to date").unwrap();
        let closed = output.find("closing the connections").unwrap();
        assert!(migrated < closed, "{output}");
    }

    #[test]
    fn tower_service() {
        let example = Example::start(env!("CARGO_BIN_EXE_tower-service"), &[]);
        let app = example.addr("application on");
        // The port of the application, on which the probes are here, is not open before it serves.
        until("it serves", || TcpStream::connect(&app).is_ok());
        until("it is ready", || get(&app, "/ready").status == 200);
        assert_eq!(get(&app, "/a/b").body, "you asked for /a/b");
        let ready = get(&app, "/ready?verbose");
        assert!(
            ready.body.contains("cache ok: it is warm"),
            "{}",
            ready.body
        );
        let metrics = get(&app, "/metrics");
        assert_eq!(metrics.status, 200);
        example.terminate();
        example.ended();
    }

    #[test]
    fn hyper_bare() {
        let example = Example::start(env!("CARGO_BIN_EXE_hyper-bare"), &[]);
        let (app, probes) = (example.addr("application on"), example.addr("probes on"));
        until("it serves", || get(&probes, "/ready").status == 200);
        assert_eq!(get(&app, "/").body, "hello from hyper");
        let alive = get(&probes, "/alive?verbose");
        assert!(alive.body.contains("[+]accepting ok"), "{}", alive.body);
        example.terminate();
        let output = example.ended();
        assert!(output.contains("all requests are finished"), "{output}");
    }

    #[test]
    fn background_worker() {
        // Somebody who takes webhooks, or rather does not.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", nobody.local_addr().unwrap());
        drop(nobody);
        let worker = env!("CARGO_BIN_EXE_background-worker");
        for settings in [&[][..], &[("WEBHOOK_URL", &*url)]] {
            let example = Example::start(worker, settings);
            let probes = example.addr("probes on");
            until("it is ready", || get(&probes, "/ready").status == 200);
            let alive = get(&probes, "/alive?verbose");
            assert!(alive.body.contains("[+]jobs ok"), "{}", alive.body);
            example.wait_for("job 1 is finished");
            until("the job is counted", || {
                let metrics = get(&probes, "/metrics").body;
                let count = metrics
                    .lines()
                    .find_map(|line| line.strip_prefix("worker_jobs_total "));
                count.is_some_and(|count| count.parse::<f64>().unwrap() >= 1.0)
            });
            example.terminate();
            let output = example.ended();
            let begun = output.matches(" begins").count();
            let finished = output.matches(" is finished").count();
            assert_eq!(begun, finished, "the job in hand is finished: {output}");
            assert!(
                output.contains(&format!("the worker ends after {finished} jobs")),
                "{output}"
            );
        }
    }

    #[test]
    fn custom_check_metric_webhook() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("maintenance");
        let example = Example::start(
            env!("CARGO_BIN_EXE_custom-check-metric-webhook"),
            &[("MAINTENANCE_FILE", file.to_str().unwrap())],
        );
        let (app, probes) = (example.addr("application on"), example.addr("probes on"));
        example.wait_for("pager: startup succeeded");
        until("it is ready", || get(&probes, "/ready").status == 200);
        example.wait_for("pager: readiness succeeded");
        assert_eq!(post(&app, "/orders").body, "1 orders are open");
        let metrics = get(&probes, "/metrics").body;
        assert!(metrics.contains("\nshop_open_orders 1\n"), "{metrics}");

        fs::write(&file, "").unwrap();
        let ready = get(&probes, "/ready?verbose");
        assert_eq!(ready.status, 400);
        assert!(
            ready.body.contains("maintenance is there"),
            "{}",
            ready.body
        );
        example.wait_for("pager: readiness failed");
        fs::remove_file(&file).unwrap();
        assert_eq!(get(&probes, "/ready").status, 200);

        example.terminate();
        let output = example.ended();
        for event in ["pager: drain succeeded", "pager: shutdown succeeded"] {
            assert!(output.contains(event), "{output}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_told() {
        for example in [
            env!("CARGO_BIN_EXE_axum-embedded"),
            env!("CARGO_BIN_EXE_hyper-bare"),
            env!("CARGO_BIN_EXE_custom-check-metric-webhook"),
        ] {
            let output = Example::spawn(example, &[("PROBE_ADDR", "here")]).failed();
            assert!(
                output.contains("PROBE_ADDR: here is no address"),
                "{output}"
            );
        }
    }

    #[test]
    fn every_example_is_in_the_list() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let list = fs::read_to_string(format!("{root}/examples/README.md")).unwrap();
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(list.contains(&format!("--bin {name}`")), "{name}");
        }
    }
}
