//! The lifespan protocol.

use super::*;

#[test]
fn the_application_is_told_of_the_start_and_the_end() {
    let server = gallery().start();
    server.touch("slow-end");
    assert_eq!(
        server.notes(),
        ["lifespan.startup"],
        "before the first request"
    );
    let notes = server.dir().join("notes");
    let kept = tempfile::NamedTempFile::new().unwrap();
    std::fs::remove_file(kept.path()).unwrap();
    // The folder goes with the server; a second name of the file stays.
    std::fs::hard_link(&notes, kept.path()).unwrap();
    server.stop();
    let noted = std::fs::read_to_string(kept.path()).unwrap();
    assert_eq!(
        noted, "lifespan.startup\nlifespan.shutdown\n",
        "it was waited for"
    );
}

#[test]
fn a_start_that_fails_ends_the_server() {
    for mode in ["auto", "on"] {
        let launch = Launch::app("asgi_gallery:broken_start").arg("--lifespan", mode);
        let ended = launch.run();
        assert_eq!(ended.code, Some(3), "{mode}");
        assert!(ended.stderr.contains("Traceback of it"), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap();
        let sentence = "the application's lifespan start-up failed: no database";
        assert!(last.ends_with(sentence), "{last}");
    }
}

#[test]
fn an_application_without_lifespan_is_served_unless_it_has_to_have_one() {
    let app = "asgi_gallery:without_lifespan";
    for mode in ["auto", "off"] {
        let server = Launch::app(app).arg("--lifespan", mode).start();
        assert_eq!(get(server.port(), "/").text(), "hello", "{mode}");
        let log = server.stop().stderr;
        assert!(!log.contains("Traceback"), "{mode}: {log}");
    }
    let ended = Launch::app(app).arg("--lifespan", "on").run();
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("AssertionError"), "{}", ended.stderr);
}
