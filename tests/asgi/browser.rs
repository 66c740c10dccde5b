//! The live pages of the example in a browser: headless Chromium, where it is installed.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::Command,
};

use crate::harness::{Launch, python};

/// A program of one of these names on the path.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut places = env::split_paths(&path).flat_map(|folder| {
        let programs = names.iter().map(move |name| folder.join(name));
        programs.collect::<Vec<_>>()
    });
    places.find(|place| place.is_file())
}

#[test]
fn two_tabs_of_a_browser_chat_and_see_votes_come_in() {
    let chromium = program(&["chromium", "chromium-browser", "google-chrome"]);
    let (Some(chromium), Some(driver)) = (chromium, program(&["chromedriver"])) else {
        // Not `eprintln`, which is not shown of a test that passes.
        let sentence =
            "chromium or chromedriver is missing: the example's pages are not tested in a browser";
        return writeln!(io::stderr(), "{sentence}").unwrap();
    };
    let server = Launch::django()
        .arg("--interface", "hybrid")
        .arg("--async-path", "/live/events")
        .start();
    let script = Command::new(python())
        .args(["-c", include_str!("browser.py")])
        .env("PORT", server.port().to_string())
        .env("CHROMIUM", chromium)
        .env("CHROMEDRIVER", driver)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&script.stderr);
    assert!(script.status.success(), "{said}");
    let log = server.stop().stderr;
    assert!(!log.contains("Traceback"), "{log}");
}
