//! Whose turn it is, and messages with pictures in them.

use std::time::Duration;

use serde_json::json;

use crate::{
    frame::{Frame, message},
    queue::Queue,
};

const SECOND: Duration = Duration::from_secs(1);

/// Takes so many jobs, each of which takes the device as long as it says.
fn turns(queue: &Queue<&'static str, Duration>, count: usize) -> Vec<&'static str> {
    let turn = |_| {
        let (user, time) = queue.next().expect("a job");
        queue.done(&user, time);
        user
    };
    (0..count).map(turn).collect()
}

#[test]
fn each_user_has_as_much_of_the_device() {
    let queue = Queue::new(100);
    for _ in 0..6 {
        queue.push(&"many", SECOND).expect("room");
    }
    queue.push(&"one", SECOND).expect("room");
    assert_eq!(turns(&queue, 3), ["many", "one", "many"]);
    // Of pictures that take three times as long, a third as many.
    let queue = Queue::new(100);
    for _ in 0..8 {
        queue.push(&"large", 3 * SECOND).expect("room");
        queue.push(&"small", SECOND).expect("room");
    }
    let first = turns(&queue, 8);
    assert_eq!(first.iter().filter(|user| **user == "small").count(), 6, "{first:?}");
}

#[test]
fn who_was_away_has_saved_up_nothing() {
    let queue = Queue::new(100);
    queue.push(&"back", SECOND).expect("room");
    assert_eq!(turns(&queue, 1), ["back"]);
    for _ in 0..10 {
        queue.push(&"stayed", SECOND).expect("room");
    }
    turns(&queue, 5);
    for _ in 0..3 {
        queue.push(&"back", SECOND).expect("room");
    }
    let next = turns(&queue, 4);
    assert_eq!(next.iter().filter(|user| **user == "stayed").count(), 2, "{next:?}");
}

#[test]
fn no_more_wait_than_there_is_room_for_and_a_page_has_one() {
    let queue = Queue::new(2);
    queue.push(&"a", 1).expect("room");
    queue.push(&"b", 2).expect("room");
    assert_eq!(queue.push(&"c", 3), Err((3, 2)));
    assert!(queue.replace(&"page", 4).is_empty());
    assert_eq!(queue.replace(&"page", 5), [4]);
    assert_eq!(queue.waiting(), 3);
    assert_eq!(queue.withdraw(&"page"), [5]);
    let mut left = queue.close();
    left.sort_unstable();
    assert_eq!((left, queue.next()), (vec![1, 2], None));
    assert_eq!(queue.push(&"a", 6), Err((6, 0)));
    assert_eq!(queue.replace(&"a", 7), [7]);
}

#[test]
fn a_message_is_taken_apart_as_it_was_put_together() {
    let bytes = message(json!({ "type": "draw" }), b"pixels");
    let frame = Frame::parse(&bytes).expect("a frame");
    assert_eq!(frame.parts, [b"pixels"]);
    assert!(std::str::from_utf8(frame.header).expect("text").contains("\"bytes\":6"));
    // No piece of it is one, and nothing panics.
    for end in 0..bytes.len() {
        assert!(Frame::parse(&bytes[..end]).is_err(), "{end}");
    }
    assert!(Frame::parse(&[&bytes[..], b"more"].concat()).is_err());
    let header = br#"{"parts": [{"bytes": 18446744073709551615}]}"#;
    let huge = [&u32::try_from(header.len()).expect("small").to_le_bytes()[..], header].concat();
    assert!(Frame::parse(&huge).expect_err("more than there is").contains("part 0"));
}
