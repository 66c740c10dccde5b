//! Whether the application answers with errors only: checks may all pass while every page is a 500.

use std::{
    collections::VecDeque,
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use http::StatusCode;
use hurricane_core::{Check, CheckResult, Metric, check_fn, metric_fn};

/// The seconds that count.
const WINDOW: u64 = 60;

/// From so many answers and such a part of them on, errors are worth a warning.
const ENOUGH: u64 = 10;
const MANY: f64 = 0.5;

/// Counts the answers of the last minute. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct ErrorRate {
    began: Instant,
    seconds: Arc<Mutex<VecDeque<Second>>>,
}

/// The answers of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second {
    /// Since the beginning.
    number: u64,
    answers: u64,
    errors: u64,
}

// === impl ErrorRate ===

impl ErrorRate {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            seconds: Arc::default(),
        }
    }

    /// Counts an answer. A 503 is no error: it says that there is too much to do, of which other numbers tell.
    pub(crate) fn count(&self, status: StatusCode) {
        let is_error = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
        self.count_at(self.began.elapsed().as_secs(), is_error);
    }

    fn count_at(&self, number: u64, is_error: bool) {
        let mut seconds = self.lock();
        if seconds.back().is_none_or(|last| last.number != number) {
            seconds.push_back(Second {
                number,
                ..Second::default()
            });
            while seconds.len() as u64 > WINDOW {
                seconds.pop_front();
            }
        }
        if let Some(second) = seconds.back_mut() {
            second.answers += 1;
            second.errors += u64::from(is_error);
        }
    }

    /// The answers of the last minute, and those of them that were errors.
    fn recent(&self) -> (u64, u64) {
        self.recent_at(self.began.elapsed().as_secs())
    }

    fn recent_at(&self, now: u64) -> (u64, u64) {
        let seconds = self.lock();
        let recent = seconds.iter().filter(|second| second.number + WINDOW > now);
        recent.fold((0, 0), |(answers, errors), second| {
            (answers + second.answers, errors + second.errors)
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Second>> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Warns while half of the answers are errors. It fails no probe: another pod would do the same.
    pub(crate) fn check(&self) -> impl Check + use<> {
        let rate = self.clone();
        check_fn("server errors", move || {
            let (answers, errors) = rate.recent();
            ready(verdict(answers, errors))
        })
    }

    /// The part of the answers that were errors.
    pub(crate) fn metric(&self) -> impl Metric + use<> {
        let rate = self.clone();
        let help = "Part of the answers of the last minute that were errors of the server (5xx, without 503).";
        metric_fn("hurricane_server_error_ratio", help, move || {
            let (answers, errors) = rate.recent();
            ready(ratio(answers, errors))
        })
    }
}

fn verdict(answers: u64, errors: u64) -> CheckResult {
    if answers < ENOUGH || ratio(answers, errors) < MANY {
        return CheckResult::pass();
    }
    CheckResult::warn(format!(
        "{errors} of {answers} answers in the last minute were errors of the server"
    ))
}

fn ratio(answers: u64, errors: u64) -> f64 {
    if answers == 0 {
        0.0
    } else {
        errors as f64 / answers as f64
    }
}

#[cfg(test)]
mod tests {
    use hurricane_core::Status;

    use super::*;

    #[test]
    fn a_minute_counts() {
        let rate = ErrorRate::new();
        rate.count_at(0, true);
        rate.count_at(0, false);
        rate.count_at(59, true);
        assert_eq!(rate.recent_at(59), (3, 2));
        assert_eq!(rate.recent_at(60), (1, 1));
        assert_eq!(rate.recent_at(1_000), (0, 0));
        for second in 60..1_000 {
            rate.count_at(second, false);
        }
        assert_eq!(rate.lock().len(), 60);
        assert_eq!(rate.recent_at(999), (60, 0));
    }

    #[test]
    fn too_much_to_do_is_no_error() {
        let rate = ErrorRate::new();
        for status in [200, 404, 500, 502, 503] {
            rate.count(StatusCode::from_u16(status).unwrap());
        }
        assert_eq!(rate.recent(), (5, 2));
    }

    #[test]
    fn half_of_enough_is_worth_a_warning() {
        assert_eq!(verdict(9, 9).status, Status::Pass);
        assert_eq!(verdict(20, 9).status, Status::Pass);
        assert_eq!(verdict(20, 10).status, Status::Warn);
    }
}
