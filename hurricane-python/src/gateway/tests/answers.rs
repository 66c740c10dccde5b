//! What comes from a slot.

use http_body_util::BodyExt;

use super::*;
use crate::response::BodyError;

async fn collect(body: Body) -> Result<Vec<u8>, BodyError> {
    Ok(body.collect().await?.to_bytes().to_vec())
}

/// A gateway, its worker with one slot, and a request that it was given.
macro_rules! one_request {
    ($gateway:ident, $worker:ident, $ticket:ident) => {
        let $gateway = gateway(GatewayConfig::default());
        let mut $worker = Process::start(&$gateway, 1);
        let $ticket = $gateway.ask();
        assert_eq!($worker.slot().streams().await, [1]);
    };
}

#[tokio::test]
async fn answers_of_one_frame_reach_their_clients() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [one, two, three] = gateway.ask_all();
    worker.slot().streams().await;
    let answers = [
        head(1, b"200 OK", Some(b"one")),
        head(2, b"404 Not Found", Some(b"two")),
        failed(3),
    ];
    worker.slot().send(&frame_of(10, &answers)).await;
    let reply = one.answer().await;
    assert_eq!(status(&reply), 200);
    assert_eq!(collect(reply.unwrap().into_body()).await.unwrap(), b"one");
    assert_eq!(status(&two.answer().await), 404);
    assert_eq!(failure(three.answer().await), Failure::Application);
}

#[tokio::test]
async fn an_answer_may_come_byte_by_byte() {
    one_request!(gateway, worker, ticket);
    for byte in frame_of(10, &[ok(1)]) {
        worker.slot().send(&[byte]).await;
        settle().await;
    }
    assert_eq!(status(&ticket.answer().await), 200);
}

#[tokio::test]
async fn several_frames_may_come_in_one_read() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [one, two] = gateway.ask_all();
    worker.slot().streams().await;
    let frames = [frame_of(10, &[ok(1)]), frame_of(10, &[ok(2)])].concat();
    worker.slot().send(&frames).await;
    assert_eq!(status(&one.answer().await), 200);
    assert_eq!(status(&two.answer().await), 200);
}

#[tokio::test]
async fn a_whole_answer_may_be_large() {
    one_request!(gateway, worker, ticket);
    let body = vec![7; 3_000_000];
    let frame = frame_of(10, &[head(1, b"200 OK", Some(&body))]);
    let (reply, ()) = tokio::join!(ticket.answer(), worker.slot().send(&frame));
    assert!(collect(reply.unwrap().into_body()).await.unwrap() == body);
    let next = gateway.ask();
    worker.slot().streams().await;
    worker.slot().finish(&[2]).await;
    assert_eq!(status(&next.answer().await), 200);
}

#[tokio::test]
async fn a_head_that_cannot_be_sent_fails_its_request_alone() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [one, two, three] = gateway.ask_all();
    worker.slot().streams().await;
    let number = answer(2, 3, |writer| {
        writer.int(200);
        writer.list(0);
        writer.bytes(b"");
    });
    let answers = [head(1, b"twohundred", Some(b"")), number, ok(3)];
    worker.slot().send(&frame_of(10, &answers)).await;
    assert_eq!(failure(one.answer().await), Failure::Application);
    assert_eq!(failure(two.answer().await), Failure::Application);
    assert_eq!(status(&three.answer().await), 200);
}

#[tokio::test]
async fn an_answer_to_nothing_is_passed_over() {
    one_request!(gateway, worker, ticket);
    let answers = [ok(99), piece(98, b"x"), end(98), failed(97), ok(1)];
    worker.slot().send(&frame_of(10, &answers)).await;
    assert_eq!(status(&ticket.answer().await), 200);
    settle().await;
    assert!(gateway.is_done(worker.slot().id));
}

#[tokio::test]
async fn a_stream_keeps_its_slot_busy_until_it_ends() {
    one_request!(gateway, worker, ticket);
    let next = gateway.ask();
    let head = frame_of(10, &[head(1, b"200 OK", None)]);
    worker.slot().send(&head).await;
    let body = ticket.answer().await.unwrap().into_body();
    assert!(worker.slot().is_left_alone().await);
    assert!(!gateway.is_done(worker.slot().id));
    worker.slot().send(&frame_of(10, &[piece(1, b"a")])).await;
    assert!(worker.slot().is_left_alone().await);
    let frame = frame_of(10, &[piece(1, b"b"), end(1)]);
    worker.slot().send(&frame).await;
    assert_eq!(collect(body).await.unwrap(), b"ab");
    assert_eq!(worker.slot().streams().await, [2]);
    worker.slot().finish(&[2]).await;
    assert_eq!(status(&next.answer().await), 200);
}

#[tokio::test]
async fn requests_behind_a_stream_are_recalled() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let [one, _two] = gateway.ask_all();
    assert_eq!(worker.slot().streams().await, [1, 2]);
    let head = frame_of(10, &[head(1, b"200 OK", None)]);
    worker.slot().send(&head).await;
    let _body = one.answer().await.unwrap().into_body();
    gateway.look(Instant::now() + 2 * WATCH);
    let command = worker.commands.try_recv();
    assert!(matches!(command, Ok(Command::Recall(0))), "{command:?}");
}

#[tokio::test]
async fn a_stream_that_fails_is_cut_off() {
    one_request!(gateway, worker, ticket);
    let answers = [head(1, b"200 OK", None), piece(1, b"half"), failed(1)];
    worker.slot().send(&frame_of(10, &answers)).await;
    let body = ticket.answer().await.unwrap().into_body();
    assert!(matches!(collect(body).await, Err(BodyError::Aborted)));
    assert!(gateway.is_done(worker.slot().id));
}

#[tokio::test]
async fn a_stream_is_cut_off_when_its_worker_dies() {
    one_request!(gateway, worker, ticket);
    let answers = [head(1, b"200 OK", None), piece(1, b"half")];
    worker.slot().send(&frame_of(10, &answers)).await;
    let body = ticket.answer().await.unwrap().into_body();
    worker.crash().await;
    assert!(matches!(collect(body).await, Err(BodyError::Aborted)));
}

#[tokio::test]
async fn the_application_is_told_when_the_client_of_its_stream_goes() {
    one_request!(gateway, worker, ticket);
    let head = frame_of(10, &[head(1, b"200 OK", None)]);
    worker.slot().send(&head).await;
    drop(ticket.answer().await.unwrap());
    let pieces = [piece(1, b"a"), piece(1, b"b")];
    worker.slot().send(&frame_of(10, &pieces)).await;
    let command = worker.commands.recv().await;
    assert!(matches!(command, Some(Command::Cancel(0, 1))));
    assert!(!gateway.is_done(worker.slot().id), "until it has stopped");
    worker.slot().send(&frame_of(10, &[failed(1)])).await;
    settle().await;
    assert!(gateway.is_done(worker.slot().id));
    assert!(worker.commands.try_recv().is_err(), "told once");
}

#[tokio::test]
async fn a_slow_client_gets_what_came_while_it_was_waited_for() {
    one_request!(gateway, worker, ticket);
    let mut first = vec![head(1, b"200 OK", None)];
    first.extend((0..5).map(|_| piece(1, b"a")));
    worker.slot().send(&frame_of(10, &first)).await;
    let body = ticket.answer().await.unwrap().into_body();
    // The gateway waits for the client to take a piece.
    settle().await;
    let last = frame_of(10, &[piece(1, b"b"), end(1)]);
    worker.slot().send(&last).await;
    // The runtime learns of it meanwhile.
    settle().await;
    let all = timeout(Duration::from_secs(5), collect(body)).await;
    let all = all.expect("the end was not noticed");
    assert_eq!(all.unwrap(), b"aaaaab");
}

#[tokio::test]
async fn a_file_is_sent_by_the_server() {
    one_request!(gateway, worker, ticket);
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(b"0123456789", 0).unwrap();
    let head = frame_of(10, &[head(1, b"200 OK", None)]);
    worker.slot().send(&head).await;
    let part = answer(1, 2, |writer| {
        writer.int(2);
        writer.int(5);
    });
    worker.slot().send_file(&frame_of(10, &[part]), &file);
    let body = ticket.answer().await.unwrap().into_body();
    settle().await;
    assert!(gateway.is_done(worker.slot().id), "its part is done");
    assert_eq!(collect(body).await.unwrap(), b"23456");
}

#[tokio::test]
async fn a_file_without_its_descriptor_ends_the_worker() {
    one_request!(gateway, worker, ticket);
    let part = answer(1, 2, |writer| {
        writer.int(0);
        writer.int(5);
    });
    let answers = [head(1, b"200 OK", None), part];
    worker.slot().send(&frame_of(10, &answers)).await;
    assert!(matches!(
        worker.commands.recv().await,
        Some(Command::Broken)
    ));
    let body = ticket.answer().await.unwrap().into_body();
    assert!(matches!(collect(body).await, Err(BodyError::Aborted)));
}
