//! What the compiler learns from, see `make profile`.

use std::{path::Path, process::Command};

use crate::harness::python;

#[test]
fn the_training_for_the_compiler_can_be_done() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/load/train.py");
    let output = Command::new(python())
        .arg(script)
        .args([
            "--hurricane",
            env!("CARGO_BIN_EXE_hurricane"),
            "--no-broker",
        ])
        .args(["--seconds", "0.01", "--probes", "4"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
