//! The values of options, as people write them.

use std::{convert::Infallible, path::PathBuf, str::FromStr, time::Duration};

use hurricane_amqp::FieldValue;
use hurricane_core::EventKind;

/// Between these is the limit of a request's head.
const SHORTEST_HEAD: u64 = 1 << 10;
const LONGEST_HEAD: u64 = 1 << 20;

/// Several values in one, with spaces or ends of lines between them.
#[derive(Clone, Debug)]
pub(crate) struct Words(pub(crate) Vec<String>);

/// Several values in one, each on a line of its own.
#[derive(Clone, Debug)]
pub(crate) struct Lines(pub(crate) Vec<String>);

/// Arguments of a queue, an exchange or a binding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arguments(pub(crate) Vec<(String, FieldValue)>);

/// Kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Events(pub(crate) Vec<EventKind>);

/// Folders and the paths under which their files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folders(pub(crate) Vec<Folder>);

/// Paths of files or folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths(pub(crate) Vec<PathBuf>);

/// A folder whose files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    /// With a slash at either end.
    pub(crate) url: String,
    pub(crate) path: PathBuf,
}

// === impl Words ===

impl FromStr for Words {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}

// === impl Lines ===

impl FromStr for Lines {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(Self(lines.map(str::to_owned).collect()))
    }
}

/// A time: a number of seconds, or a number with a unit (`500ms`, `30s`, `2m`).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        "a time is a number of seconds, or a number with a unit, such as 500ms, 30s or 2m"
            .to_owned()
    };
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong()),
        Err(_) => humantime::parse_duration(text).map_err(|_| wrong()),
    }
}

/// A size: a number of bytes, or a number with a unit of 1024 (`512K`, `100M`, `2G`).
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let unit = text.trim_end_matches(['b', 'B', 'i']);
    let (number, shift) = match unit
        .chars()
        .next_back()
        .map(|unit| unit.to_ascii_uppercase())
    {
        Some('K') => (&unit[..unit.len() - 1], 10),
        Some('M') => (&unit[..unit.len() - 1], 20),
        Some('G') => (&unit[..unit.len() - 1], 30),
        _ => (unit, 0),
    };
    let number: Option<u64> = number.trim_end().parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| {
            "a size is a number of bytes, or a number with a unit, such as 512K, 100M or 2G"
                .to_owned()
        })
}

/// The limit of a request's head. Those who come from django-hurricane may have the size of a body
/// here, which a head is not to have.
pub(crate) fn head_size(text: &str) -> Result<usize, String> {
    let size = size(text)?.min(LONGEST_HEAD);
    if size < SHORTEST_HEAD {
        return Err("the head of a request may have 1K at least".to_owned());
    }
    usize::try_from(size).map_err(|error| error.to_string())
}

/// A size of memory: a number of MiB, or a number with a unit.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    let wrong =
        || "this is a number of megabytes, or a number with a unit, such as 512M or 2G".to_owned();
    let size = if text.ends_with(|last: char| last.is_ascii_digit()) {
        size(&format!("{text}M"))
    } else {
        size(text)
    };
    size.ok().filter(|size| *size > 0).ok_or_else(wrong)
}

/// What switches an option that is a flag on or off.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("this is true, yes, on or 1, or false, no, off or 0".to_owned()),
    }
}

/// How many messages one process may handle at the same time.
pub(crate) fn places(text: &str) -> Result<usize, String> {
    count(text)
        .ok()
        .filter(|count| *count <= 1024)
        .ok_or_else(|| "this has to be a whole number from 1 to 1024".to_owned())
}

/// The port of a broker. Kubernetes sets `AMQP_PORT` to an address when there is a service `amqp`.
pub(crate) fn broker_port(text: &str) -> Result<u16, String> {
    let port = match text.strip_prefix("tcp://") {
        Some(address) => address.rsplit(':').next().unwrap_or_default(),
        None => text,
    };
    port.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| "a port is a number from 1 to 65535".to_owned())
}

/// `package.module.Class`.
pub(crate) fn class(text: &str) -> Result<String, String> {
    let mut parts = text.split('.');
    let is_name =
        |part: &str| !part.is_empty() && part.chars().all(|c| c == '_' || c.is_alphanumeric());
    if text.contains('.') && parts.all(is_name) {
        Ok(text.to_owned())
    } else {
        Err("a handler is named package.module.Class, such as shop.consumers.Mails".to_owned())
    }
}

/// Arguments of a queue, an exchange or a binding, one a line.
pub(crate) fn arguments(text: &str) -> Result<Arguments, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(argument).collect::<Result<_, _>>().map(Arguments)
}

fn argument(text: &str) -> Result<(String, FieldValue), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("this has to be NAME=VALUE, such as x-max-length=1000")?;
    let value = match (value, value.parse::<i64>()) {
        ("true" | "false", _) => FieldValue::Bool(value == "true"),
        (_, Ok(number)) => FieldValue::I64(number),
        _ => FieldValue::Text(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}

/// A number that is at least one.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "this has to be a whole number from 1 on".to_owned())
}

/// Management commands and their arguments, one a line, quoted as for a shell.
pub(crate) fn commands(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    for line in text.lines() {
        command.push_str(line);
        match shlex::split(&command) {
            Some(words) => {
                commands.extend(Some(words).filter(|words| !words.is_empty()));
                command.clear();
            }
            // A line may end within quotation marks.
            None => command.push('\n'),
        }
    }
    if !command.is_empty() {
        Err("a quotation mark is not closed".to_owned())
    } else if commands.is_empty() {
        Err("a command has a name, such as migrate".to_owned())
    } else {
        Ok(commands)
    }
}

/// `module:attribute`.
pub(crate) fn app(text: &str) -> Result<String, String> {
    let (module, attribute) = text.split_once(':').unwrap_or((text, "application"));
    let is_name = |name: &str| {
        let mut parts = name.split('.');
        parts.all(|part| !part.is_empty() && part.chars().all(|c| c == '_' || c.is_alphanumeric()))
    };
    if is_name(module) && is_name(attribute) {
        Ok(text.to_owned())
    } else {
        Err("an application is named module:attribute, such as mysite.wsgi:application".to_owned())
    }
}

/// How paths begin, with spaces between them.
pub(crate) fn prefixes(text: &str) -> Result<Words, String> {
    let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    if !words.is_empty() && words.iter().all(|word| word.starts_with('/')) {
        Ok(Words(words))
    } else {
        Err("a path begins with a slash, such as /events/".to_owned())
    }
}

/// The kinds of events, by the names they have in their payload, with commas between them.
pub(crate) fn events(text: &str) -> Result<Events, String> {
    let one = |name: &str| {
        let mut kinds = EventKind::ALL.into_iter();
        kinds.find(|kind| kind.to_string() == name.trim())
    };
    let kinds: Option<Vec<_>> = text.split(',').map(one).collect();
    kinds.map(Events).ok_or_else(|| {
        let names = EventKind::ALL.map(|kind| kind.to_string());
        format!("the events are {}", names.join(", "))
    })
}

/// Paths, one a line.
pub(crate) fn paths(text: &str) -> Result<Paths, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let paths: Vec<_> = lines.map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err("this has to be the path of a folder or a file".to_owned());
    }
    Ok(Paths(paths))
}

/// Folders as `URL=PATH`, one a line.
pub(crate) fn folders(text: &str) -> Result<Folders, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let folders: Vec<_> = lines.map(folder).collect::<Result<_, _>>()?;
    if folders.is_empty() {
        return Err("this has to be URL=PATH, such as /assets/=dist".to_owned());
    }
    Ok(Folders(folders))
}

fn folder(text: &str) -> Result<Folder, String> {
    let (url, path) = text
        .trim()
        .split_once('=')
        .filter(|(_, path)| !path.is_empty())
        .ok_or("this has to be URL=PATH, such as /assets/=dist")?;
    if !url.starts_with('/') || url.contains(['?', '#', '%']) {
        return Err(
            "the URL of a folder is a path without ?, # and %, such as /assets/".to_owned(),
        );
    }
    let url = url.trim_matches('/');
    if url.is_empty() {
        return Err("/ is the application's: give a path below it, such as /assets/".to_owned());
    }
    Ok(Folder {
        url: format!("/{url}/"),
        path: path.into(),
    })
}

/// The path under which the application is mounted: with a leading and without a trailing slash.
pub(crate) fn root_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    if path.is_empty() || (path.starts_with('/') && !path.contains(['?', '#', '%'])) {
        Ok(path.to_owned())
    } else {
        Err("a root path begins with a slash and has neither ?, # nor %, such as /shop".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "-1", "soon", "NaN", "1e300"] {
            assert!(duration(wrong).is_err(), "{wrong:?} is no time");
        }
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(size("100"), Ok(100));
        assert_eq!(size("512K"), Ok(512 << 10));
        assert_eq!(size("100M"), Ok(100 << 20));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        for wrong in ["", "M", "-1", "1T", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong:?} is no size");
        }
    }

    #[test]
    fn the_head_of_a_request_has_bounds() {
        assert_eq!(head_size("64K"), Ok(64 << 10));
        assert_eq!(head_size("104857600"), Ok(1 << 20));
        assert!(head_size("1000").is_err());
        assert!(head_size("much").is_err());
    }

    #[test]
    fn reads_sizes_of_memory() {
        assert_eq!(memory("512"), Ok(512 << 20));
        assert_eq!(memory("512M"), Ok(512 << 20));
        assert_eq!(memory("2G"), Ok(2 << 30));
        for wrong in ["", "0", "-1", "much"] {
            assert!(memory(wrong).is_err(), "{wrong:?} is no size");
        }
    }

    #[test]
    fn reads_flags() {
        for on in ["1", "true", "True", "yes", "on"] {
            assert_eq!(boolean(on), Ok(true));
        }
        for off in ["", "0", "False", "no", "off"] {
            assert_eq!(boolean(off), Ok(false));
        }
        assert!(boolean("maybe").is_err());
    }

    #[test]
    fn reads_commands() {
        assert_eq!(
            commands("migrate --noinput").unwrap(),
            [["migrate", "--noinput"]]
        );
        assert_eq!(
            commands("shell -c 'print(\"a b\")\nprint()'\n\nloaddata demo").unwrap(),
            [
                vec!["shell", "-c", "print(\"a b\")\nprint()"],
                vec!["loaddata", "demo"]
            ]
        );
        for wrong in ["", "  ", "shell -c 'print()", "migrate\nshell 'a"] {
            assert!(commands(wrong).is_err(), "{wrong:?} is no command");
        }
    }

    #[test]
    fn reads_names_of_applications() {
        assert!(app("mysite.wsgi:application").is_ok());
        assert!(app("mysite.wsgi").is_ok());
        for wrong in ["", ":", "mysite.wsgi:", "mysite/wsgi.py", "my site:app"] {
            assert!(app(wrong).is_err(), "{wrong:?} names no application");
        }
    }

    #[test]
    fn reads_ports_of_brokers() {
        assert_eq!(broker_port("5672"), Ok(5672));
        assert_eq!(broker_port("tcp://10.0.0.1:5673"), Ok(5673));
        for wrong in ["", "0", "65536", "amqp", "tcp://10.0.0.1"] {
            assert!(broker_port(wrong).is_err(), "{wrong:?} is no port");
        }
    }

    #[test]
    fn reads_names_of_handlers() {
        assert!(class("shop.consumers.Mails").is_ok());
        for wrong in [
            "",
            "Mails",
            ".Mails",
            "shop.",
            "shop/consumers.py",
            "shop:Mails",
        ] {
            assert!(class(wrong).is_err(), "{wrong:?} names no handler");
        }
    }

    #[test]
    fn reads_arguments() {
        let read = |text| argument(text).unwrap().1;
        assert_eq!(read("x-max-length=1000"), FieldValue::I64(1000));
        assert_eq!(read("x-single-active-consumer=true"), true.into());
        assert_eq!(read("x-queue-type=quorum"), "quorum".into());
        assert_eq!(read("a=b=c"), "b=c".into());
        assert!(argument("x-max-length").is_err() && argument("=1").is_err());
    }

    #[test]
    fn reads_events() {
        let both = Events(vec![EventKind::Drain, EventKind::WorkerCrashed]);
        assert_eq!(events("drain, worker_crashed"), Ok(both));
        let error = events("drain,crash").unwrap_err();
        assert!(error.contains("worker_crashed"), "{error}");
        assert!(events("").is_err());
    }

    #[test]
    fn reads_folders() {
        let folder = |url: &str, path: &str| Folder {
            url: url.to_owned(),
            path: path.into(),
        };
        let both = Folders(vec![
            folder("/assets/", "dist"),
            folder("/a/b/", "/srv/a=b"),
        ]);
        assert_eq!(folders("/assets=dist\n\n/a/b/=/srv/a=b\n"), Ok(both));
        for wrong in [
            "",
            "dist",
            "/assets=",
            "assets=dist",
            "/=dist",
            "/a%20b/=dist",
        ] {
            assert!(folders(wrong).is_err(), "{wrong:?} is no folder");
        }
    }

    #[test]
    fn reads_root_paths() {
        assert_eq!(root_path("/shop/"), Ok("/shop".to_owned()));
        assert_eq!(root_path("/"), Ok(String::new()));
        assert!(root_path("shop").is_err());
    }
}
