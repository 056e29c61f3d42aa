//! A supervisor that is used again: nothing of its last program is heard of the next, and one that is not free of it is not used.

use ensue_engine::ports::OutputStream::Stdout;
use serde_json::json;

use crate::supervised::{Node, folders, has_ended, pid, supervised, supervisors};

/// More programs than there are supervisors that wait.
const PROGRAMS: u32 = 12;

#[test]
fn what_a_forgotten_program_printed_is_not_heard_of_the_next_under_its_supervisor() {
    let chatty = "echo $$ $PPID; yes & yes >&2 & wait";
    let node = Node::begin(supervised(chatty));
    node.run_until_it_says("\n");
    let said = String::from_utf8(node.world.outputs.printed(1, Stdout).0).unwrap();
    let mut numbers = said.lines().next().unwrap().split(' ').map(str::to_owned);
    let (program, holder) = (pid(&numbers.next().unwrap()), numbers.next().unwrap());
    // It prints as much as is kept of it, all of which is told to the next node.
    let is_full = |name| folders(&node.world).iter().any(|folder| folder.join(name).metadata().is_ok_and(|file| file.len() == 16 << 20));
    while !(is_full("stdout") && is_full("stderr")) {
        std::thread::yield_now();
    }
    let dead = node.die();
    let mut next = Node::begin(supervised("echo $PPID; sleep 0.3").after(&dead));
    next.runtime.block_on(next.world.executor.take_over([], &next.world.previous));
    assert!(has_ended(program));
    while !supervisors(&next.world).is_empty() {
        std::thread::yield_now();
    }
    // In the first round its supervisor may not be back yet.
    let mut seen = Vec::new();
    for round in 0..2 {
        for number in 1..=PROGRAMS {
            next.world.dispatch(round * PROGRAMS + number, json!({}));
        }
        seen.extend((1..=PROGRAMS).map(|_| next.result()));
    }
    assert!(seen.contains(&json!(holder)), "its supervisor was not used again: {seen:?}");
}
