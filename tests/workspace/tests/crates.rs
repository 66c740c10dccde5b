//! What holds of all crates together.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// Crates that the library's default features may bring along, itself not counted.
const TREE: usize = 120;

/// The crates that are published, in that order.
const PUBLISHED: [&str; 3] = ["hurricane-core", "hurricane-python", "hurricane-cli"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What cargo says.
fn cargo(arguments: &[&str]) -> String {
    let said = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&said.stderr)
    );
    String::from_utf8(said.stdout).unwrap()
}

/// What cargo knows of all packages, those of others too.
pub(crate) fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let metadata = cargo(&[
            "metadata",
            "--format-version=1",
            "--all-features",
            "--locked",
        ]);
        serde_json::from_str(&metadata).unwrap()
    })
}

fn packages() -> &'static [Value] {
    metadata()["packages"].as_array().unwrap()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

fn name(package: &Value) -> String {
    format!("{} {}", text(package, "name"), text(package, "version"))
}

/// The same list that cargo-deny reads, where it is installed.
fn allowed_licences() -> BTreeSet<String> {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, rest) = deny.split_once("\nallow = [").unwrap();
    let (list, _) = rest.split_once(']').unwrap();
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_licence_is_permissive() {
    let allowed = allowed_licences();
    for package in packages() {
        let licence = text(package, "license");
        let expression = Expression::parse_mode(licence, ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{}: {licence:?}: {error}", name(package)));
        let is_allowed =
            expression.evaluate(|requirement| allowed.contains(&requirement.to_string()));
        assert!(
            is_allowed,
            "{}: {licence:?} is not among the licences of deny.toml",
            name(package)
        );
    }
}

#[test]
fn every_dependency_works_with_the_oldest_rust_that_we_name() {
    let version = |text: &str| -> Vec<u32> {
        let numbers = text.split('.').map(|number| number.parse().unwrap());
        numbers.chain([0, 0]).take(3).collect()
    };
    let core = packages()
        .iter()
        .find(|package| package["name"] == "hurricane-core");
    let ours = version(text(core.unwrap(), "rust_version"));
    for package in packages() {
        let needs = text(package, "rust_version");
        assert!(
            needs.is_empty() || version(needs) <= ours,
            "{} needs Rust {needs}",
            name(package)
        );
    }
}

#[test]
fn everything_comes_from_the_registry() {
    for package in packages() {
        let source = text(package, "source");
        let is_ours = text(package, "name").starts_with("hurricane-");
        assert!(
            is_ours || source.starts_with("registry+"),
            "{} comes from {source:?}",
            name(package)
        );
    }
}

#[test]
fn the_library_brings_few_crates_along() {
    let tree = cargo(&[
        "tree",
        "--locked",
        "--package=hurricane-core",
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
    ]);
    let crates: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.starts_with("hurricane-core "))
        .collect();
    assert!(
        crates.len() < TREE,
        "{} crates, the limit is {TREE}: {crates:#?}",
        crates.len()
    );
}

#[test]
fn packages_hold_what_they_need() {
    for package in PUBLISHED {
        let list = cargo(&["package", "--package", package, "--list", "--allow-dirty"]);
        let files: BTreeSet<_> = list.lines().collect();
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "Cargo.toml"] {
            assert!(files.contains(file), "{package} lacks {file}: {files:#?}");
        }
        if package == "hurricane-python" {
            let sources = fs::read_to_string(root().join(package).join("src/sources.rs")).unwrap();
            let needed = sources
                .split('"')
                .filter(|text| text.len() > 3 && text.ends_with(".py"));
            for file in needed.map(|file| file.trim_start_matches("../python/hurricane/")) {
                let path = format!("python/hurricane/{file}");
                assert!(files.contains(&*path), "{package} lacks {path}: {files:#?}");
            }
        }
    }
}

#[test]
fn what_is_published_is_described() {
    for package in packages() {
        if PUBLISHED.contains(&text(package, "name")) {
            for field in [
                "description",
                "license",
                "repository",
                "readme",
                "rust_version",
            ] {
                assert_ne!(text(package, field), "", "{}: {field}", name(package));
            }
            let keywords = package["keywords"].as_array().unwrap();
            assert!((1..=5).contains(&keywords.len()), "{}", name(package));
        }
    }
}
