//! What the processes take: the server and its workers, put together as if they were one.
//!
//! The names are those that `prometheus_client` has for the process that it runs in. django-hurricane is one process,
//! and a container's limits are those of all: so memory, processor time and files are sums.

use std::{fs, io, time::Duration};

use hurricane_core::exposition::{SourceFamily, SourceKind, SourceSample};

/// The names of the families.
const NAMES: [&str; 6] = [
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds",
    "process_open_fds",
    "process_max_fds",
];

/// What one process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usage {
    virtual_bytes: f64,
    resident_bytes: f64,
    /// Its own, and that of those of its children that have ended.
    cpu_seconds: f64,
    open_files: f64,
    /// Since the machine was started.
    start_seconds: f64,
}

/// Whether a family is one of those that are told here.
pub(crate) fn is_ours(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The families for the server and for the workers with these process ids.
///
/// Empty where the system does not tell.
pub(crate) fn families(workers: impl IntoIterator<Item = u32>) -> Vec<SourceFamily> {
    let Ok(server) = usage("self") else {
        return Vec::new();
    };
    let mut all = server;
    // One that cannot be looked at has just ended.
    for worker in workers
        .into_iter()
        .filter_map(|pid| usage(&pid.to_string()).ok())
    {
        all.virtual_bytes += worker.virtual_bytes;
        all.resident_bytes += worker.resident_bytes;
        all.cpu_seconds += worker.cpu_seconds;
        all.open_files += worker.open_files;
    }
    let mut families = vec![
        gauge(
            NAMES[0],
            "Virtual memory of the server and its workers, in bytes.",
            all.virtual_bytes,
        ),
        gauge(
            NAMES[1],
            "Resident memory of the server and its workers, in bytes.",
            all.resident_bytes,
        ),
    ];
    if let Some(boot) = boot_time() {
        let start = boot.as_secs_f64() + server.start_seconds;
        families.push(gauge(
            NAMES[2],
            "When the server was started, in seconds since 1970.",
            start,
        ));
    }
    let help = "Processor time of the server and its workers, in seconds.";
    let mut cpu = SourceFamily::new(NAMES[3], help, SourceKind::Counter);
    cpu.samples.push(SourceSample::new(
        "process_cpu_seconds_total",
        all.cpu_seconds,
    ));
    families.push(cpu);
    families.push(gauge(
        NAMES[4],
        "Files that the server and its workers have open.",
        all.open_files,
    ));
    if let Some(most) = most_files() {
        families.push(gauge(
            NAMES[5],
            "Files that each of the processes may have open.",
            most,
        ));
    }
    families
}

fn gauge(name: &str, help: &str, value: f64) -> SourceFamily {
    let mut family = SourceFamily::new(name, help, SourceKind::Gauge);
    family.samples.push(SourceSample::new(name, value));
    family
}

fn usage(process: &str) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let mut usage = parse(&stat).ok_or(io::ErrorKind::InvalidData)?;
    usage.open_files = fs::read_dir(format!("/proc/{process}/fd"))?.count() as f64;
    Ok(usage)
}

/// Reads the line of `/proc/…/stat`.
fn parse(stat: &str) -> Option<Usage> {
    // The name in parentheses may hold anything; the fields behind it have numbers from 3 on.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let cpu = (14..=17).map(field).sum::<Option<f64>>()?;
    Some(Usage {
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * rustix::param::page_size() as f64,
        cpu_seconds: cpu / ticks,
        open_files: 0.0,
        start_seconds: field(22)? / ticks,
    })
}

/// When the machine was started, since 1970.
fn boot_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Duration::from_secs(line.trim().parse().ok()?))
}

fn most_files() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // `None` means that there is no limit, which a number cannot say.
    limit.current.map(|limit| limit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_system_tells() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 200 100 50 50 20 0 4 0 1000 4096000 25 18446744073709551615";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let expected = Usage {
            virtual_bytes: 4_096_000.0,
            resident_bytes: 25.0 * rustix::param::page_size() as f64,
            cpu_seconds: 400.0 / ticks,
            open_files: 0.0,
            start_seconds: 1000.0 / ticks,
        };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("7 (a) S"), None);
    }

    #[test]
    fn processes_are_put_together() {
        let value = |families: &[SourceFamily], name: &str| {
            let family = families.iter().find(|family| family.name == name);
            family
                .unwrap_or_else(|| panic!("there is no {name}"))
                .samples[0]
                .value
        };
        let alone = families([]);
        // This process a second time, and one that is not there.
        let twice = families([std::process::id(), u32::MAX]);
        for name in NAMES {
            assert!(
                value(&alone, name) > 0.0 || name == "process_cpu_seconds",
                "{name}"
            );
        }
        let memory = |families| value(families, "process_resident_memory_bytes");
        assert!(memory(&twice) > 1.5 * memory(&alone));
        let start = value(&alone, "process_start_time_seconds");
        assert!((1.7e9..4e9).contains(&start), "{start}");
    }
}
