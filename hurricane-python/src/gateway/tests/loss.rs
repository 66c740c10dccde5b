//! Requests that do not stay with the slot that they were given to, and those that come too late.

use super::*;

/// Later than a slot may keep requests waiting behind a slow one.
fn soon() -> Instant {
    Instant::now() + 2 * WATCH
}

fn with_timeout(timeout: Duration) -> GatewayConfig {
    GatewayConfig {
        request_timeout: Some(timeout),
        ..GatewayConfig::default()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

// === a worker that dies ===

#[tokio::test]
async fn what_had_begun_is_lost_and_the_rest_goes_to_another_worker() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [one, two, _three, _four] = gateway.ask_all();
    assert_eq!(worker.slot().streams().await, [1, 2, 3, 4]);
    // The answer to 1 was held back.
    worker.begin(0, 2);
    worker.crash().await;
    assert_eq!(failure(one.answer().await), Failure::WorkerDied);
    assert_eq!(failure(two.answer().await), Failure::WorkerDied);
    let _five = gateway.ask();
    let mut other = Process::start(&gateway, 1);
    assert_eq!(other.slot().streams().await, [3, 4, 5], "in order");
}

#[tokio::test]
async fn nothing_is_lost_when_nothing_had_begun() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let _tickets: [_; 3] = gateway.ask_all();
    worker.slot().streams().await;
    worker.crash().await;
    let mut other = Process::start(&gateway, 1);
    assert_eq!(other.slot().streams().await, [1, 2, 3]);
}

#[tokio::test]
async fn nothing_is_lost_when_what_had_begun_is_answered() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [one, _two, _three] = gateway.ask_all();
    worker.slot().streams().await;
    worker.begin(0, 1);
    worker.slot().finish(&[1]).await;
    worker.crash().await;
    assert_eq!(status(&one.answer().await), 200);
    let mut other = Process::start(&gateway, 1);
    assert_eq!(other.slot().streams().await, [2, 3]);
}

#[tokio::test]
async fn the_rest_goes_to_a_worker_that_is_there() {
    let gateway = gateway(GatewayConfig::default());
    let mut workers = [Process::start(&gateway, 1), Process::start(&gateway, 1)];
    let _tickets: [_; 3] = gateway.ask_all();
    assert_eq!(workers[0].slot().streams().await, [1]);
    assert_eq!(workers[1].slot().streams().await, [2]);
    let [first, mut second] = workers;
    first.crash().await;
    second.slot().finish(&[2]).await;
    assert_eq!(second.slot().streams().await, [1], "before 3");
}

#[tokio::test]
async fn what_several_slots_leave_keeps_the_order_of_arrival() {
    let gateway = gateway(GatewayConfig::default());
    let mut worker = Process::start(&gateway, 3);
    let _tickets: [_; 3] = gateway.ask_all();
    for slot in &mut worker.slots {
        slot.streams().await;
    }
    worker.crash().await;
    let queue = |gateway: &Gateway| {
        let state = gateway.lock();
        Vec::from_iter(state.queue.iter().map(|job| job.stream))
    };
    assert_eq!(queue(&gateway), [1, 2, 3]);
}

#[tokio::test]
async fn what_makes_no_sense_ends_the_worker() {
    let unknown = [1, 0, 0, 0, 99, b'N'].to_vec();
    let no_answers = [5, 0, 0, 0, 16, b'[', 0, 0, 0, 0].to_vec();
    let cut_off = [1, 0, 0, 0, 17, b'('].to_vec();
    for frame in [unknown, no_answers, cut_off] {
        let gateway = gateway(GatewayConfig::default());
        let mut worker = Process::start(&gateway, 1);
        let ticket = gateway.ask();
        worker.slot().streams().await;
        worker.begin(0, 1);
        worker.slot().send(&frame).await;
        let command = worker.commands.recv().await;
        assert!(matches!(command, Some(Command::Broken)), "{command:?}");
        assert_eq!(failure(ticket.answer().await), Failure::WorkerDied);
    }
}

// === recalls ===

#[tokio::test]
async fn requests_behind_a_slow_one_are_recalled_to_the_front() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let begun = Instant::now();
    let [slow, _two, _three] = gateway.ask_all();
    assert_eq!(worker.slot().streams().await, [1, 2, 3]);
    assert_ne!(
        gateway.look(begun),
        Watch::Off,
        "there is something to look after"
    );
    assert!(worker.commands.try_recv().is_err(), "not yet");
    gateway.look(soon());
    assert!(matches!(worker.commands.try_recv(), Ok(Command::Recall(0))));
    gateway.look(soon());
    assert!(worker.commands.try_recv().is_err(), "once is enough");

    let _four = gateway.ask();
    assert!(worker.slot().is_left_alone().await, "it would come back");
    let id = worker.slot().id;
    gateway.recalled(id, &[2, 3]);
    let mut other = Process::start(&gateway, 1);
    assert_eq!(other.slot().streams().await[0], 2, "before 4");
    worker.slot().finish(&[1]).await;
    assert_eq!(status(&slow.answer().await), 200);
}

#[tokio::test]
async fn a_request_on_its_own_is_not_recalled() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let _ticket = gateway.ask();
    worker.slot().streams().await;
    gateway.look(Instant::now() + HOUR);
    assert!(worker.commands.try_recv().is_err());
}

#[tokio::test]
async fn a_recall_that_finds_nothing_leaves_everything_as_it_is() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [one, two] = gateway.ask_all();
    worker.slot().streams().await;
    gateway.look(soon());
    let id = worker.slot().id;
    gateway.recalled(id, &[]);
    // A stream that it does not have, say one that was answered in between.
    gateway.recalled(id, &[99]);
    worker.slot().finish(&[1, 2]).await;
    for ticket in [one, two] {
        assert_eq!(status(&ticket.answer().await), 200);
    }
}

#[tokio::test]
async fn a_slow_request_makes_the_application_a_slow_one() {
    let gateway = gateway_at_pace(BRIEF);
    let mut worker = Process::start(&gateway, 1);
    let _tickets: [_; 2] = gateway.ask_all();
    worker.slot().streams().await;
    gateway.look(Instant::now() + Duration::from_millis(50));
    assert_eq!(gateway.lock().pace.limit(), 1);
}

#[tokio::test]
async fn a_recalled_request_whose_client_has_gone_is_forgotten() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [_one, two, _three] = gateway.ask_all();
    worker.slot().streams().await;
    drop(two);
    gateway.look(soon());
    let id = worker.slot().id;
    gateway.recalled(id, &[2, 3]);
    let mut other = Process::start(&gateway, 1);
    assert_eq!(other.slot().streams().await, [3]);
}

#[tokio::test]
async fn a_request_that_was_too_late_is_not_run_after_all() {
    let gateway = gateway(with_timeout(HOUR));
    gateway.run_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let _tickets: [_; 2] = gateway.ask_all();
    worker.slot().streams().await;
    worker.begin(0, 1);
    gateway.look(Instant::now() + 2 * HOUR);
    worker.crash().await;
    assert_eq!(gateway.queued(), 0);
}

// === retirement ===

#[tokio::test]
async fn a_retired_slot_finishes_what_it_has_and_gets_no_more() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [one, _two] = gateway.ask_all();
    worker.slot().streams().await;
    let id = worker.slot().id;
    gateway.retire(id);
    assert!(matches!(worker.commands.try_recv(), Ok(Command::Recall(0))));
    assert!(!gateway.is_done(id));
    gateway.recalled(id, &[2]);
    assert!(!gateway.is_done(id));
    worker.slot().finish(&[1]).await;
    assert_eq!(status(&one.answer().await), 200);
    assert!(gateway.is_done(id));
    assert!(worker.slot().is_left_alone().await);
    let mut other = Process::start(&gateway, 1);
    assert_eq!(other.slot().streams().await, [2]);
}

#[tokio::test]
async fn an_idle_slot_is_retired_at_once() {
    let gateway = gateway(GatewayConfig::default());
    let mut worker = Process::start(&gateway, 1);
    let id = worker.slot().id;
    gateway.retire(id);
    assert!(gateway.is_done(id));
    let _ticket = gateway.ask();
    assert!(worker.slot().is_left_alone().await);
    worker.crash().await;
    assert!(gateway.is_done(id), "it is gone");
    let mut other = Process::start(&gateway, 1);
    assert_eq!(other.slot().id.place, id.place, "its place is taken");
    gateway.retire(id);
    gateway.close(id, None);
    assert_eq!(
        other.slot().streams().await,
        [1],
        "what the old one is told does not reach the new one"
    );
}

// === deadlines ===

#[tokio::test]
async fn a_request_that_waits_too_long_is_answered_and_reaches_no_worker() {
    let gateway = gateway(with_timeout(HOUR));
    let [one, two] = gateway.ask_all();
    assert_eq!(gateway.look(Instant::now()), Watch::Close);
    assert_eq!(gateway.queued(), 2);
    let then = Instant::now() + 2 * HOUR;
    assert_eq!(gateway.look(then), Watch::Off, "nothing is left");
    for ticket in [one, two] {
        assert_eq!(failure(ticket.answer().await), Failure::TimedOut);
    }
    let mut worker = Process::start(&gateway, 1);
    assert!(worker.slot().is_left_alone().await);
}

#[tokio::test]
async fn a_request_that_runs_too_long_is_answered_and_its_worker_is_hung() {
    let gateway = gateway(with_timeout(HOUR));
    let mut worker = Process::start(&gateway, 1);
    let ticket = gateway.ask();
    worker.slot().streams().await;
    gateway.look(Instant::now() + 2 * HOUR);
    assert_eq!(failure(ticket.answer().await), Failure::TimedOut);
    assert!(matches!(worker.commands.try_recv(), Ok(Command::Hung)));
    let id = worker.slot().id;
    assert!(!gateway.is_done(id), "it is still at it");
    worker.slot().finish(&[1]).await;
    settle().await;
    assert!(gateway.is_done(id));
}

#[tokio::test]
async fn without_a_limit_nothing_is_too_late() {
    let gateway = gateway(GatewayConfig::default());
    let mut worker = Process::start(&gateway, 1);
    let _tickets: [_; 2] = gateway.ask_all();
    worker.slot().streams().await;
    gateway.look(Instant::now() + 1000 * HOUR);
    assert!(worker.commands.try_recv().is_err());
    assert_eq!(gateway.queued(), 1);
}

#[tokio::test]
async fn what_waits_is_watched_more_closely_than_what_runs() {
    let gateway = gateway(GatewayConfig::default());
    let mut worker = Process::start(&gateway, 1);
    let watch = || gateway.look(Instant::now());
    assert_eq!(watch(), Watch::Off);
    let _running = gateway.ask();
    worker.slot().streams().await;
    assert_eq!(watch(), Watch::Patrol);
    let _waiting = gateway.ask();
    settle().await;
    assert_eq!(watch(), Watch::Close);
}

#[tokio::test]
async fn someone_watches_the_deadlines() {
    let gateway = gateway(with_timeout(Duration::from_millis(1)));
    tokio::spawn(gateway.clone().watch());
    for _ in 0..2 {
        let ticket = gateway.ask();
        assert_eq!(failure(ticket.answer().await), Failure::TimedOut);
        // Nothing is left to look after; the next request wakes the watch again.
        settle().await;
    }
}
