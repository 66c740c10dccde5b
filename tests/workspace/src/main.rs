//! Compares the public API of the library with the list in `public-api.txt`, or writes the list.
//!
//! `make api` compares and `make api-update` writes. The list is made of the JSON that rustdoc
//! writes, which is no stable form: with another toolchain than the one it is for it is not
//! compared.

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};

/// The toolchain whose JSON is understood.
const TOOLCHAIN: &str = "rustc 1.95.";

/// The crate whose API is listed.
const CRATE: &str = "hurricane-core";

const LIST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../hurricane-core/public-api.txt"
);

fn main() -> Result<ExitCode> {
    let update = match env::args().nth(1).as_deref() {
        None => false,
        Some("--update") => true,
        Some(other) => bail!("{other} is not --update"),
    };
    let version = Command::new("rustc").arg("--version").output()?.stdout;
    let version = String::from_utf8_lossy(&version);
    if !version.starts_with(TOOLCHAIN) {
        say(&format!(
            "The public API is not compared: that takes {TOOLCHAIN}x, and this is {version}"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let now = listed()?;
    if update {
        fs::write(LIST, now).context("failed to write the list")?;
        return Ok(ExitCode::SUCCESS);
    }
    let before = fs::read_to_string(LIST).context("failed to read the list")?;
    let mut changes = Vec::new();
    for line in before
        .lines()
        .filter(|line| !now.lines().any(|new| new == *line))
    {
        changes.push(format!("- {line}"));
    }
    for line in now
        .lines()
        .filter(|line| !before.lines().any(|old| old == *line))
    {
        changes.push(format!("+ {line}"));
    }
    if changes.is_empty() {
        say(&format!("The public API of {CRATE} is as listed."));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "The public API of {CRATE} is not as listed; if that is meant, `make api-update` lists it anew:\n{}",
        changes.join("\n")
    ));
    Ok(ExitCode::FAILURE)
}

/// The public API, an item a line.
fn listed() -> Result<String> {
    let target = env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    // A folder of its own, so that the documentation for people stays.
    let target = Path::new(&target).join("public-api");
    let status = Command::new(env!("CARGO"))
        .args(["rustdoc", "--quiet", "--locked", "--lib", "--all-features"])
        .args(["--package", CRATE, "--target-dir"])
        .arg(&target)
        .args([
            "--",
            "-Zunstable-options",
            "--output-format=json",
            "--cap-lints=allow",
        ])
        // The form is unstable, the toolchain is not.
        .env("RUSTC_BOOTSTRAP", "1")
        .status()
        .context("failed to run cargo rustdoc")?;
    ensure!(status.success(), "cargo rustdoc failed");
    let json = target.join("doc").join("hurricane_core.json");
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .context("failed to read the JSON of rustdoc")?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn say(text: &str) {
    println!("{}", text.trim_end());
}
