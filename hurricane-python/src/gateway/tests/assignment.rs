//! Which slot gets which requests, and how many.

use std::io::{Read, Seek, Write};

use super::*;

#[tokio::test]
async fn requests_are_given_in_the_order_of_arrival() {
    let gateway = gateway(GatewayConfig::default());
    let mut worker = Process::start(&gateway, 1);
    let tickets: [_; 4] = gateway.ask_all();
    for (stream, ticket) in (1..).zip(tickets) {
        assert_eq!(worker.slot().streams().await, [stream]);
        assert!(worker.slot().is_left_alone().await, "one at a time");
        worker.slot().finish(&[stream]).await;
        assert_eq!(status(&ticket.answer().await), 200);
    }
}

#[tokio::test]
async fn idle_slots_come_first() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 3);
    let _tickets: [_; 3] = gateway.ask_all();
    for (slot, stream) in worker.slots.iter_mut().zip(1..) {
        assert_eq!(slot.streams().await, [stream]);
    }
    let _more: [_; 2] = gateway.ask_all();
    settle().await;
    assert_eq!(gateway.queued(), 0, "now they are given ahead");
}

#[tokio::test]
async fn the_process_that_has_the_least_to_do_comes_first() {
    let gateway = gateway(GatewayConfig::default());
    let mut workers = [Process::start(&gateway, 2), Process::start(&gateway, 2)];
    let mut tickets = Vec::new();
    let mut order = Vec::new();
    for _ in 0..4 {
        tickets.push(gateway.ask());
        settle().await;
        for (number, worker) in workers.iter_mut().enumerate() {
            for slot in &mut worker.slots {
                if !slot.is_left_alone().await {
                    slot.streams().await;
                    order.push(number);
                }
            }
        }
    }
    assert_eq!(order, [0, 1, 0, 1]);
}

#[tokio::test]
async fn a_slow_application_gets_one_at_a_time() {
    let gateway = gateway_at_pace(Duration::from_millis(20));
    let mut worker = Process::start(&gateway, 1);
    let _tickets: [_; 8] = gateway.ask_all();
    assert_eq!(worker.slot().streams().await, [1]);
    assert!(worker.slot().is_left_alone().await);
    assert_eq!(gateway.queued(), 7);
}

#[tokio::test]
async fn a_quick_application_gets_several_in_one_write() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let _tickets: [_; 12] = gateway.ask_all();
    let streams = worker.slot().streams().await;
    assert_eq!(streams, Vec::from_iter(1..=10));
    assert!(worker.slot().is_left_alone().await);
    worker.slot().finish(&streams[..4]).await;
    assert!(worker.slot().is_left_alone().await, "it has enough");
    worker.slot().finish(&streams[4..5]).await;
    assert_eq!(worker.slot().streams().await, [11, 12], "half is done");
}

#[tokio::test]
async fn idle_slots_share_what_there_is() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 2);
    let _tickets: [_; 6] = gateway.ask_all();
    assert_eq!(worker.slots[0].streams().await, [1, 2, 3]);
    assert_eq!(worker.slots[1].streams().await, [4, 5, 6]);
}

#[tokio::test]
async fn a_brief_application_runs_in_one_thread_of_a_process() {
    let gateway = gateway_at_pace(BRIEF);
    let mut workers = [Process::start(&gateway, 2), Process::start(&gateway, 2)];
    let _one = gateway.ask();
    let _two = gateway.ask();
    for (worker, stream) in workers.iter_mut().zip(1..) {
        assert_eq!(worker.slots[0].streams().await, [stream]);
    }
    let _three = gateway.ask();
    settle().await;
    assert_eq!(gateway.queued(), 0, "it was given ahead");
    for worker in &workers {
        assert!(worker.slots[1].is_left_alone().await);
    }
}

#[tokio::test]
async fn a_process_that_computes_uses_another_thread_when_the_first_is_held_up() {
    let gateway = gateway_at_pace(BRIEF);
    let mut worker = Process::start(&gateway, 2);
    let _tickets: [_; 100] = gateway.ask_all();
    let first = worker.slots[0].streams().await;
    assert!(worker.slots[1].is_left_alone().await);
    gateway.look(Instant::now() + WATCH);
    let second = worker.slots[1].streams().await;
    assert_eq!([first, second].concat(), Vec::from_iter(1..=65));
}

#[tokio::test]
async fn a_body_in_a_file_comes_with_a_frame_of_its_own() {
    let gateway = gateway_at_pace(QUICK);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"spooled").unwrap();
    let _one = gateway.ask();
    let body = JobBody::Spooled(Arc::new(file.try_clone().unwrap()));
    let _two = gateway.enqueue(Prepared::default(), body).unwrap();
    let _three = gateway.ask();
    let mut worker = Process::start(&gateway, 1);
    let slot = worker.slot();
    assert_eq!(slot.receive().await, [(1, Some(Vec::new()))]);

    let mut files = VecDeque::new();
    let mut data = [0; 64];
    slot.requests.readable().await.unwrap();
    let got = {
        let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = rustix::net::RecvAncillaryBuffer::new(&mut room);
        let slices = &mut [std::io::IoSliceMut::new(&mut data)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = rustix::net::recvmsg(&slot.requests, slices, &mut ancillary, flags).unwrap();
        for message in ancillary.drain() {
            if let rustix::net::RecvAncillaryMessage::ScmRights(descriptors) = message {
                files.extend(descriptors.map(std::fs::File::from));
            }
        }
        got.bytes
    };
    let length = frame::needed(&data[..got]);
    assert_eq!(requests(&data[frame::HEAD..length]), [(2, None)]);
    assert_eq!(files.len(), 1);
    let mut received = files.remove(0).unwrap();
    received.rewind().unwrap();
    let mut text = String::new();
    received.read_to_string(&mut text).unwrap();
    assert_eq!(text, "spooled");
    slot.finish(&[1, 2]).await;
    assert_eq!(slot.streams().await, [3]);
}

#[tokio::test]
async fn a_body_for_which_the_socket_has_no_room_is_sent_as_it_gets_some() {
    let gateway = gateway_at_pace(QUICK);
    let mut worker = Process::start(&gateway, 1);
    let body: Vec<u8> = (0_u8..251).cycle().take(900_000).collect();
    let large = gateway
        .enqueue(Prepared::default(), JobBody::Inline(body.clone()))
        .unwrap();
    settle().await;
    let _small = gateway.ask();
    settle().await;
    assert_eq!(gateway.queued(), 1, "nothing may come in between");
    let slot = worker.slot();
    assert!(slot.receive().await == [(1, Some(body))]);
    assert_eq!(slot.streams().await, [2]);
    slot.finish(&[1]).await;
    assert_eq!(status(&large.answer().await), 200);
}
