//! Replicas that share a database server, which the test starts for itself. Skipped where there is none.

use std::{
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Launch, free_port, get, kill, python, until_true};

/// A server of one's own: on loopback, with its own folder, not as root.
struct PostgreSql {
    server: Child,
    port: u16,
    _folder: TempDir,
}

// === impl PostgreSql ===

impl PostgreSql {
    /// None, and a sentence, where it cannot be had.
    fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: PostgreSQL is not installed; `make setup` does that as root");
            return None;
        };
        let client = Command::new(python())
            .args(["-c", "import psycopg"])
            .stderr(Stdio::null())
            .status();
        if !client.is_ok_and(|status| status.success()) {
            println!(
                "skipped: psycopg is not installed for {}",
                python().display()
            );
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        if is_root() {
            // It refuses to be root's.
            let mut owner = Command::new("chown");
            let owned = run(owner.arg("postgres").arg(folder.path()));
            assert!(owned, "{} can be given away", folder.path().display());
        }
        let mut made = as_other(&programs.join("initdb"));
        let made = made
            .args(["--auth=trust", "--username=test", "--no-sync", "-D"])
            .arg(&data);
        assert!(run(made), "a folder for the data can be made");
        let port = free_port();
        let server = as_other(&programs.join("postgres"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-c",
                "fsync=off",
            ])
            .arg("-k")
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            server,
            port,
            _folder: folder,
        };
        until_true("PostgreSQL takes connections", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        Some(server)
    }

    /// A project that has its data here, and a migration to apply.
    fn project(&self) -> Launch {
        let port = self.port;
        Launch::manage(&format!(
            "INSTALLED_APPS += ['steps']
DATABASES = {{'default': {{'ENGINE': 'django.db.backends.postgresql', 'NAME': 'postgres', 'USER': 'test',
                         'HOST': '127.0.0.1', 'PORT': {port}}}}}"
        ))
        .arg("--wait-for-db", "10m")
        .flag("--check-migrations-apply")
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        // At once: nobody needs the data any more.
        kill(self.server.id(), Signal::QUIT);
        let _ = self.server.wait();
    }
}

/// Where the programs are: Debian has a folder for each version, others have them on the path.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let folders = versions.flatten().map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = folders.chain(std::env::split_paths(&path)).collect();
    folders.retain(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    folders.into_iter().next()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that is not run as root, where this process is root's.
fn as_other(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn run(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn of_two_replicas_one_applies_the_migrations_and_both_start() {
    let Some(database) = PostgreSql::start() else {
        return;
    };
    let replicas = [database.project(), database.project()].map(Launch::spawn);
    for replica in &replicas {
        replica.wait_for_line("No pending migrations");
        replica.wait_for_line("Starting HTTP Server");
        let probes = replica.early_probe_port();
        until_true("it is ready", || get(probes, "/ready").status == 200);
    }
    let applied = replicas.map(|replica| {
        let stdout = replica.stop().stdout;
        stdout.matches("Applying steps.0001_initial").count()
    });
    assert_eq!(applied.iter().sum::<usize>(), 1, "{applied:?}");
}
