//! The files for authors of sensors in Python and JavaScript, against the real protocol.

use std::collections::BTreeSet;

use ensue_engine::catalog::{ProcessSource, Restart};

use super::*;
use crate::skipped::has_program;

const PYTHON: &str = r#"
import ensue

def watch(sensor):
    print("started with", sensor.input["name"])
    number = sensor.cursor or 0
    for _ in range(2):
        number += 1
        sensor.emit({"number": number}, cursor=number)
    sensor.log("in the log: %s" % sensor.wait_for_ack())
    sensor.report_failing("feed", ValueError("no answer"))
    sensor.report_running("feed")
    sensor.emit({"acked": sensor.acked})
    while sensor.sleep(60):
        pass
    sensor.emit("stopped")

ensue.sensor(watch)
"#;

const JAVASCRIPT: &str = r#"
import { sensor } from './ensue.mjs';

await sensor(async (sensor) => {
  console.log('started with', sensor.input.name);
  let number = sensor.cursor ?? 0;
  for (let count = 0; count < 2; count += 1) {
    number += 1;
    await sensor.emit({ number }, { cursor: number });
  }
  await sensor.log(`in the log: ${await sensor.waitForAck()}`);
  await sensor.reportFailing('feed', new Error('no answer'));
  await sensor.reportRunning('feed');
  await sensor.emit({ acked: sensor.acked });
  while (await sensor.sleep(60_000));
  await sensor.emit('stopped');
});
"#;

/// A language, with its file for authors and a sensor.
struct Language {
    command: [&'static str; 2],
    file: &'static str,
    module: &'static str,
    sensor: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language {
        command: ["python3", "./watch.py"],
        file: "ensue.py",
        module: include_str!("../../../../sdk/python/ensue.py"),
        sensor: PYTHON,
    },
    Language {
        command: ["node", "./watch.mjs"],
        file: "ensue.mjs",
        module: include_str!("../../../../sdk/javascript/ensue.mjs"),
        sensor: JAVASCRIPT,
    },
];

fn source(language: &Language) -> Source {
    source_with_grace(language, Duration::from_secs(5))
}

fn source_with_grace(language: &Language, grace: Duration) -> Source {
    Source::Process(Arc::new(ProcessSource {
        command: language.command.map(str::to_owned).to_vec(),
        beside: BTreeSet::from([1]),
        input: Some(template(&json!({ "name": "${{ config.name }}" }))),
        env: Vec::new(),
        grace,
        restart: Restart::OnFailure,
        reading: reading(Decode::Json),
        pack: Digest::of(b"pack"),
    }))
}

/// The languages that this machine has, with a pack that holds their files.
fn languages(test: &str) -> Vec<(Outside, &'static Language)> {
    let there = LANGUAGES.iter().filter(|language| has_program(test, language.command[0]));
    there
        .map(|language| {
            let outside = Outside::new();
            outside.program(language.file, language.module);
            outside.program(language.command[1].trim_start_matches("./"), language.sensor);
            (outside, language)
        })
        .collect()
}

#[tokio::test]
async fn sensor_emits_and_hears_of_its_acks() {
    for (outside, language) in languages("sensor_emits_and_hears_of_its_acks") {
        let mut running = outside.open(source(language), None).await.unwrap();
        let all = settle_next(&mut running, 3).await;
        assert_eq!(bodies(&all), [json!({ "number": 1 }), json!({ "number": 2 }), json!({ "acked": 2 })], "{:?}", outside.lines());
        assert!(outside.lines().contains(&"started with device".to_owned()), "{:?}", outside.lines());
        assert!(outside.lines().iter().any(|line| line.to_lowercase() == "in the log: true"), "{:?}", outside.lines());
        for said in ["feed fails: no answer", "feed runs"] {
            assert!(outside.lines().contains(&said.to_owned()), "{:?}", outside.lines());
        }
        running.close().await;
        until("nothing of it is left", || outside.keepers() == 0).await;
    }
}

#[tokio::test]
async fn sensor_continues_after_its_cursor() {
    for (outside, language) in languages("sensor_continues_after_its_cursor") {
        let cursor = Document::from_value(&json!(7));
        let mut running = outside.open(source(language), Some(&cursor)).await.unwrap();
        let all = settle_next(&mut running, 2).await;
        assert_eq!(bodies(&all), [json!({ "number": 8 }), json!({ "number": 9 })], "{:?}", outside.lines());
        running.close().await;
    }
}

#[tokio::test]
async fn sensor_ends_by_itself_when_it_is_asked_to_stop() {
    for (outside, language) in languages("sensor_ends_by_itself_when_it_is_asked_to_stop") {
        // It would be killed only long after the test has given up.
        let mut running = outside.open(source_with_grace(language, PATIENCE * 10), None).await.unwrap();
        settle_next(&mut running, 3).await;
        tokio::time::timeout(PATIENCE, running.close()).await.expect("it ends by itself");
    }
}

#[tokio::test]
async fn failure_of_a_sensor_ends_it_with_its_exit_code() {
    for (outside, language) in languages("failure_of_a_sensor_ends_it_with_its_exit_code") {
        let failing = match language.command[0] {
            "python3" => "import ensue\n\ndef watch(sensor):\n    raise ensue.Failure('no device', code=4)\n\nensue.sensor(watch)\n",
            _ => "import { sensor, Failure } from './ensue.mjs';\nawait sensor(() => { throw new Failure('no device', 4); });\n",
        };
        outside.program(language.command[1].trim_start_matches("./"), failing);
        let mut running = outside.open(source(language), None).await.unwrap();
        assert!(next(&mut running).await.unwrap_err().message.contains("exit code 4"));
        until("the message is in the log", || outside.lines().contains(&"no device".to_owned())).await;
    }
}
