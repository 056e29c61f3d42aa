//! Releases without a common protocol: the other side is notified, and nothing is silently lost.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::node::{Node, has_ended, holder, supervised_plan};

/// The versions of a release far in the future.
const OLDEST: u32 = 7;
const NEWEST: u32 = 9;

fn say(stream: &mut UnixStream, word: &Value) {
    let word = word.to_string();
    let length = u32::try_from(word.len()).unwrap();
    stream.write_all(&[&length.to_le_bytes()[..], &[0; 4], word.as_bytes()].concat()).unwrap();
}

fn hear(stream: &mut UnixStream) -> Value {
    let mut head = [0; 8];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let mut word = vec![0; length as usize];
    stream.read_exact(&mut word).unwrap();
    serde_json::from_slice(&word).unwrap()
}

#[test]
fn node_without_a_common_protocol_is_rejected_and_the_program_continues() {
    let script = "echo ready; while [ ! -e go ]; do sleep 0.02; done; echo done";
    let node = Node::begin(supervised_plan(script));
    node.run_until_it_says("ready");
    let private = node.private();
    let dead = node.die();
    let folder = holder(&dead);
    let key = std::fs::read_to_string(folder.join("key")).unwrap();
    let mut stream = UnixStream::connect(folder.join("socket")).unwrap();
    say(&mut stream, &json!({ "hello": { "oldest": OLDEST, "newest": NEWEST, "release": "9.0.0", "key": key } }));
    assert_eq!(hear(&mut stream), json!({ "no_protocol": { "oldest": 1, "newest": 4 } }));
    let mut next = Node::after(&dead);
    std::fs::write(private.join("go"), "").unwrap();
    assert_eq!(next.result(), json!("ready\ndone"));
}

#[test]
fn supervisor_without_a_common_protocol_is_ended_with_its_program() {
    let node = Node::begin(supervised_plan("echo $$; exec sleep 1000"));
    node.run_until_it_says("\n");
    let program = node.program();
    let dead = node.die();
    // From now on it answers like a release far in the future.
    let socket = holder(&dead).join("socket");
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let greeting = hear(&mut stream);
        say(&mut stream, &json!({ "no_protocol": { "oldest": OLDEST, "newest": NEWEST } }));
        greeting
    });
    let mut next = Node::after(&dead);
    next.loses();
    assert!(has_ended(program));
    let greeting = answers.join().unwrap();
    assert_eq!((&greeting["hello"]["oldest"], &greeting["hello"]["newest"]), (&json!(1), &json!(4)));
    assert!(!next.world.has_private_directories());
}

#[test]
fn program_of_a_later_release_is_ended_despite_an_unreadable_note() {
    let node = Node::begin(supervised_plan("echo $$; exec sleep 1000"));
    node.run_until_it_says("\n");
    let program = node.program();
    let supervisor = node.supervisors()[0];
    let dead = node.die();
    let folder = holder(&dead);
    let mut note: Value = serde_json::from_slice(&std::fs::read(folder.join("held")).unwrap()).unwrap();
    note["format"] = json!(OLDEST);
    note["attempts"] = json!([note["attempt"].take()]);
    note.as_object_mut().unwrap().retain(|name, _| name != "attempt");
    std::fs::write(folder.join("held"), note.to_string()).unwrap();
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
    assert!(has_ended(Pid::from_raw(supervisor).unwrap()));
    let mut next = Node::after(&dead);
    next.loses();
    assert!(has_ended(program));
    assert!(!next.world.has_private_directories());
}
