//! What a process writes, line by line, while it runs.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Instant,
};

use super::PATIENCE;

#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Shared>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<(Stream, String)>,
    /// How many streams are not at their end.
    open: usize,
}

impl Output {
    /// Keeps what comes from `source`, on a thread of its own.
    pub(crate) fn follow(&self, stream: Stream, source: impl Read + Send + 'static) {
        self.lock().open += 1;
        let output = self.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(source.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches('\n').to_owned();
                output.lock().lines.push((stream, text));
                output.0.news.notify_all();
                line.clear();
            }
            output.lock().open -= 1;
            output.0.news.notify_all();
        });
    }

    /// The first thing that is found in a line; none when the process has ended without it.
    pub(crate) fn find<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        let mut seen = 0;
        loop {
            let fresh = &state.lines[seen..];
            if let Some(found) = fresh.iter().find_map(|(_, line)| find(line)) {
                return Some(found);
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return None;
            }
            state = self.0.news.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until the streams are at their ends.
    pub(crate) fn wait_for_end(&self) {
        let state = self.lock();
        let waited = self
            .0
            .news
            .wait_timeout_while(state, PATIENCE, |state| state.open > 0);
        drop(waited.unwrap());
    }

    pub(crate) fn text(&self, of: Stream) -> String {
        let state = self.lock();
        let lines = state.lines.iter().filter(|(stream, _)| *stream == of);
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Everything, for people.
    pub(crate) fn transcript(&self) -> String {
        let state = self.lock();
        let lines = state.lines.iter().map(|(stream, line)| match stream {
            Stream::Stdout => format!("  out | {line}\n"),
            Stream::Stderr => format!("  err | {line}\n"),
        });
        lines.collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}
