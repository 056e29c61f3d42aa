//! Sensors whose messages the node reads itself: what is accepted, what is installed, and every mistake.

use std::collections::BTreeMap;

use ensue_engine::catalog::{Decode, FileContent, Invalid, PollTimes, Source};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_packs::{FileMode, PackSource, build, check, library};

use crate::support::{demo, findings_of, render_findings, shown_with};

const PING: &str = "emits:\n  - trigger: demo.ping\n    payload: { host: a }\n";

/// The findings of a sensor that emits a ping.
fn sensor(source: &str) -> String {
    shown_with(&[("sensors/hook.yaml", &format!("{source}{PING}"))])
}

/// The findings of each of several sensors.
fn each(mistakes: &[(&str, &str)]) -> String {
    mistakes.iter().map(|(what, source)| format!("── {what}\n{}\n", sensor(source))).collect()
}

fn feed(changes: &[(&str, &str)]) -> PackSource {
    let mut files = vec![
        (
            "pack.yaml",
            "name: feed\nversion: 1.0.0\ndescription: News.\nconfig: { api: 'string = \"https://example.test\"', url: 'string = \"x\"' }\n",
        ),
        ("triggers/item.yaml", "payload: { schema: { type: object } }\n"),
        ("triggers/changed.yaml", "payload: { schema: true }\n"),
        (
            "sensors/new_items.yaml",
            "description: New items of a feed.\npoll:\n  every: 1m\n  http: { url: \"${{ config.api }}/items\", query: { since: \"${{ cursor }}\" } }\n  \
             items: body.items\n  cursor: { start: \"''\", next: \"items.map(i, i.updated_at).max()\" }\nemits: [{ trigger: feed.item, payload: \"${{ item }}\" }]\n",
        ),
        (
            "sensors/watch.yaml",
            "description: Watches a device, in Python.\nprocess: { command: [./watch.py], input: { url: \"${{ config.url }}\" } }\nemits:\n  - trigger: feed.changed\n    \
             payload: \"${{ line }}\"\n",
        ),
        ("sensors/watch.py", "#!/usr/bin/env python3\n"),
    ];
    files.extend(changes);
    let mut pack = PackSource::of("packs/feed", files.into_iter().map(|(path, text)| (path, text.to_owned()))).expect("the paths are fine");
    for (path, file) in &mut pack.files {
        if path.ends_with(".py") {
            file.mode = FileMode::Executable;
        }
    }
    pack
}

fn source_of(name: &str, pack: PackSource) -> Source {
    let packs: Vec<PackSource> = library().into_iter().chain([pack]).collect();
    let checked = check(&packs, &BTreeMap::new());
    assert!(!checked.has_errors(), "{}", render_findings(&checked));
    let mut next = 0;
    let mut ids = |_: &_| {
        next += 1;
        RuleId(Id::root(Timestamp::from_micros(1), next))
    };
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(&mut ids))).collect();
    let catalog = build(CatalogRevision(1), &installed).expect("the pack is valid");
    catalog.sensors()[&name.parse().expect("a ref")].source.clone()
}

#[test]
fn poll_of_a_feed_and_program_in_python_are_accepted() {
    assert_eq!(findings_of(&[feed(&[])]), "");
}

#[test]
fn poll_is_installed_with_its_defaults() {
    let Source::Poll(poll) = source_of("feed.new_items", feed(&[])) else { panic!("it polls") };
    assert_eq!(poll.times, PollTimes::Every(std::time::Duration::from_secs(60)));
    assert_eq!((poll.pages_max, poll.items_max), (100, 10_000));
    assert_eq!(poll.cursor.as_ref().map(|cursor| cursor.next.source()), Some("items.map(i, i.updated_at).max()"));
    assert_eq!(poll.reading.decode, Decode::Json);
}

#[test]
fn author_sets_how_long_ids_are_remembered() {
    let of = |remember: &str| {
        let text = format!("poll: {{ every: 1m, http: {{ url: 'https://example.test/' }}, only_new: item.id{remember} }}\n{PING}");
        match source_of("demo.log", demo(&[("sensors/log.yaml", &text)])) {
            Source::Poll(poll) => (poll.remember.ids, poll.remember.long.map(|long| long.as_secs())),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(""), (10_000, None));
    assert_eq!(of(", remember: { ids: 100, for: 7d }"), (100, Some(7 * 24 * 3_600)));
    assert_eq!([of(", remember: { ids: 1 }"), of(", remember: { for: 10m }")], [(1, None), (10_000, Some(600))]);
}

#[test]
fn lines_of_a_file_are_text_unless_declared_otherwise() {
    let of = |text: &str| match source_of("demo.log", demo(&[("sensors/log.yaml", text)])) {
        Source::File(file) => (file.content, file.reading.decode),
        other => panic!("{other:?}"),
    };
    let tail = format!("file: {{ path: /var/log/app.log, tail: true }}\n{PING}");
    assert_eq!(of(&tail), (FileContent::Tail, Decode::Text));
    assert_eq!(of(&format!("decode: json\n{tail}")), (FileContent::Tail, Decode::Json));
    assert_eq!(of(&format!("file: {{ path: /in/*, read: json }}\n{PING}")), (FileContent::Whole, Decode::Json));
}

#[test]
fn author_chooses_what_happens_to_bytes_that_are_not_utf_8() {
    let of = |text: &str| {
        let source = source_of("demo.log", demo(&[("sensors/log.yaml", text)]));
        source.reading().map(|reading| (reading.decode, reading.text_decoding.invalid)).expect("it reads messages")
    };
    let (replace, reject) = (Invalid::Replace, Invalid::Reject);
    let tail = format!("file: {{ path: /var/log/app.log, tail: true }}\n{PING}");
    assert_eq!(of(&tail), (Decode::Text, reject));
    assert_eq!(of(&format!("decode: {{ invalid: replace }}\n{tail}")), (Decode::Text, replace));
    assert_eq!(of(&format!("decode: {{ form: json, invalid: replace }}\n{tail}")), (Decode::Json, replace));
    assert_eq!(of(&format!("decode: {{ form: json }}\n{tail}")), (Decode::Json, reject));
    let whole = format!("file: {{ path: /in/*, read: text }}\n{PING}");
    assert_eq!(of(&format!("decode: {{ invalid: replace }}\n{whole}")), (Decode::Text, replace));
    assert_eq!(of(&format!("decode: {{ invalid: replace }}\nprocess: {{ command: [watch] }}\n{PING}")), (Decode::Json, replace));
}

#[test]
fn author_names_the_charset_of_messages() {
    let with = |charset: &str, source: &str| demo(&[("sensors/log.yaml", &format!("decode: {{ charset: {charset} }}\n{source}\n{PING}"))]);
    let of = |charset: &str, source: &str| {
        source_of("demo.log", with(charset, source)).reading().and_then(|reading| reading.text_decoding.charset.clone())
    };
    let (tail, whole) = ("file: { path: /var/log/app.log, tail: true }", "file: { path: /in/*, read: text }");
    for source in [tail, whole, "process: { command: [watch] }", "poll: { every: 1m, only_new: item.id, http: { url: 'https://a.test/' } }"]
    {
        assert_eq!(of("windows-1252", source).as_deref(), Some("windows-1252"), "{source}");
    }
    assert_eq!(of("utf-16le", whole).as_deref(), Some("utf-16le"));
    for lines in [tail, "process: { command: [watch] }"] {
        let reported = findings_of(&[with("utf-16le", lines)]);
        assert!(reported.contains("lines cannot be read in `utf-16le`, which is not compatible with ASCII"), "{reported}");
    }
    assert!(findings_of(&[with("ebcdic", tail)]).contains("the charset `ebcdic` is not known"));
}

#[test]
fn schema_gives_the_line_its_type() {
    let text = "process: { command: [watch] }\nschema: { level: integer }\nemits:\n  - trigger: demo.ping\n    when: line.level == 'high'\n    payload: { host: a }\n";
    insta::assert_snapshot!(shown_with(&[("sensors/hook.yaml", text)]));
}

#[test]
fn sensor_has_exactly_one_source() {
    insta::assert_snapshot!(each(&[("two", "process: { command: [watch] }\ntimer: { every: 1m }\n"), ("none", ""),]));
}

#[test]
fn fields_beside_a_source_must_fit_it() {
    insta::assert_snapshot!(each(&[
        ("decode of a timer", "timer: { every: 1m }\ndecode: text\n"),
        ("unknown treatment", "process: { command: [watch] }\ndecode: { invalid: drop }\n"),
        ("a form of the whole content", "file: { path: /in/*, read: text }\ndecode: { form: json, invalid: replace }\n"),
        ("no content", "file: { path: /in/* }\ndecode: { invalid: replace }\n"),
        ("unknown form", "process: { command: [watch] }\ndecode: xml\n"),
        ("decode of a whole file", "file: { path: /in/*, read: json }\ndecode: text\n"),
        ("poison without a period", "process: { command: [watch] }\npoison: { limit: 3 }\n"),
        ("unknown word", "process: { command: [watch] }\non_poison: drop\n"),
    ]));
}

#[test]
fn mistakes_in_process_are_reported() {
    insta::assert_snapshot!(each(&[
        ("no command", "process: { input: {} }\n"),
        ("not a list", "process: { command: watch }\n"),
        ("no such file", "process: { command: [./watch.py] }\n"),
        ("an expression in the command", "process: { command: [watch, '${{ config.owner }}'] }\n"),
        ("a reserved variable", "process: { command: [watch], env: { ENSUE_TEST: 1 } }\n"),
        ("a key that is not listed", "process: { command: [watch], input: '${{ keys[\"demo.other\"] }}' }\n"),
        ("a name that is not there", "process: { command: [watch], input: '${{ line }}' }\n"),
        ("unknown word", "process: { command: [watch], restart: never }\n"),
    ]));
}

#[test]
fn mistakes_in_poll_are_reported() {
    insta::assert_snapshot!(each(&[
        ("no time", "poll: { http: { url: 'https://example.test/' }, only_new: item.id }\n"),
        ("two times", "poll: { every: 1m, cron: '* * * * *', http: { url: 'https://example.test/' }, only_new: item.id }\n"),
        ("a zone without cron", "poll: { every: 1m, timezone: UTC, http: { url: 'https://example.test/' }, only_new: item.id }\n"),
        ("too often", "poll: { every: 10ms, http: { url: 'https://example.test/' }, only_new: item.id }\n"),
        ("no request", "poll: { every: 1m, only_new: item.id }\n"),
        ("a host that is not fixed", "poll: { every: 1m, http: { url: 'https://${{ config.owner }}/' }, only_new: item.id }\n"),
        (
            "items of another type",
            "poll: { every: 1m, http: { url: 'https://example.test/' }, items: 'size(headers)', only_new: item.id }\n"
        ),
        ("too many pages", "poll: { every: 1m, http: { url: 'https://example.test/' }, max_pages: 5000, only_new: item.id }\n"),
        ("half a cursor", "poll: { every: 1m, http: { url: 'https://example.test/?since=${{ cursor }}' }, cursor: { start: '0' } }\n"),
        ("cursor without one", "poll: { every: 1m, http: { url: 'https://example.test/?since=${{ cursor }}' }, only_new: item.id }\n"),
        (
            "a key in the query",
            "poll: { every: 1m, http: { url: 'https://example.test/', query: { t: '${{ keys[\"demo.token\"] }}' } }, only_new: item.id }\n"
        ),
        (
            "a cursor nobody reads",
            "poll: { every: 1m, http: { url: 'https://example.test/' }, cursor: { start: '0', next: 'items.size()' } }\n"
        ),
        (
            "ids of nothing are remembered",
            "poll: { every: 1m, http: { url: 'https://example.test/' }, remember: { ids: 5 }, max_items: 5 }\n"
        ),
        ("too short a memory", "poll: { every: 1m, http: { url: 'https://example.test/' }, only_new: item.id, remember: { for: 1m } }\n"),
        ("too many ids", "poll: { every: 1m, http: { url: 'https://example.test/' }, only_new: item.id, remember: { ids: 10001 } }\n"),
        ("no mark of new items", "poll: { every: 1m, http: { url: 'https://example.test/' } }\n"),
    ]));
}

/// The findings of a sensor that polls an action of its pack.
fn findings_of_poll(poll: &str, action: &str) -> String {
    let sensor = format!("poll: {{ every: 1m, {poll} }}\n{PING}");
    shown_with(&[("sensors/hook.yaml", &sensor), ("actions/fetch.yaml", action)])
}

const FETCH: &str = "description: Fetches.\nparameters: { since: integer }\nresult: { items: '[object]', next: integer }\nrun: { process: { command: [fetch] } }\n";

#[test]
fn poll_of_an_action_is_accepted() {
    let poll = "action: demo.fetch, with: { since: '${{ cursor }}' }, items: result.items, cursor: { start: '0', next: result.next }";
    assert_eq!(findings_of_poll(poll, FETCH), "");
}

#[test]
fn mistakes_in_polling_an_action_are_reported() {
    let fetch = "action: demo.fetch, with: { since: '${{ cursor }}' }, cursor: { start: '0', next: result.next }";
    let mistakes = [
        ("both", "action: demo.fetch, with: { since: 1 }, http: { url: 'https://example.test/' }, only_new: item.id", FETCH),
        ("neither", "only_new: item.id", FETCH),
        ("parameters of a request", "http: { url: 'https://example.test/' }, with: { since: 1 }, only_new: item.id", FETCH),
        ("an unknown action", "action: demo.fetsh, with: { since: 1 }, only_new: item.id", FETCH),
        ("an action of another pack", "action: core.shell, with: { script: ls }, only_new: item.id", FETCH),
        ("a parameter that is missing", "action: demo.fetch, only_new: item.id", FETCH),
        ("a cursor that is not passed on", "action: demo.fetch, with: { since: 1 }, cursor: { start: '0', next: result.next }", FETCH),
        ("a field that the result does not have", "action: demo.fetch, with: { since: 1 }, items: result.list, only_new: item.id", FETCH),
        ("the answer of a server", "action: demo.fetch, with: { since: 1 }, items: body.items, only_new: item.id", FETCH),
        (
            "an event",
            fetch,
            "description: Emits.\nparameters: { since: integer }\nrun: { emit: { trigger: demo.ping, payload: { host: a } } }\n",
        ),
        ("a token", fetch, "description: Asks.\nparameters: { since: integer }\ntoken: true\nrun: { process: { command: [fetch] } }\n"),
    ];
    let mut all: String = mistakes.iter().map(|(what, poll, action)| format!("── {what}\n{}\n", findings_of_poll(poll, action))).collect();
    let decode = format!("poll: {{ every: 1m, {fetch} }}\ndecode: text\n{PING}");
    let shown = shown_with(&[("sensors/hook.yaml", &decode), ("actions/fetch.yaml", FETCH)]);
    all.push_str(&format!("── decode\n{shown}"));
    insta::assert_snapshot!(all);
}

#[test]
fn mistakes_in_file_are_reported() {
    insta::assert_snapshot!(each(&[
        ("no path", "file: { read: text }\n"),
        ("a relative path", "file: { path: in/*.csv }\n"),
        ("a path that climbs", "file: { path: /srv/../etc/* }\n"),
        ("an unknown change", "file: { path: /in/*, on: [creatd] }\n"),
        ("tail and read", "file: { path: /in/*, tail: true, read: text }\n"),
        ("tail and after", "file: { path: /in/*, tail: true, after: delete }\n"),
        ("an unknown end", "file: { path: /in/*, after: rename }\n"),
        ("a folder outside", "file: { path: /in/*, after: { move: ../out } }\n"),
        ("an absolute folder with a gap", "file: { path: /in/*, after: { move: /out//x } }\n"),
        ("the folder itself", "file: { path: /srv/in/*.csv, after: { move: /srv/in/ } }\n"),
        ("the folder of all folders", "file: { path: '/srv/in/**/*.csv', after: { move: /srv/in } }\n"),
        ("too often", "file: { path: /in/*, rescan: 1ms }\n"),
    ]));
}

#[test]
fn names_of_one_source_are_not_those_of_another() {
    let emits = |source: &str, when: &str| {
        shown_with(&[(
            "sensors/hook.yaml",
            &format!("{source}emits:\n  - trigger: demo.ping\n    when: {when}\n    payload: {{ host: a }}\n"),
        )])
    };
    let process = "process: { command: [watch] }\n";
    insta::assert_snapshot!(
        [
            emits(process, "body.x == 1"),
            emits(process, "item.x == 1"),
            emits("file: { path: /in/* }\n", "line == ''"),
            emits("file: { path: /in/* }\n", "file.body == ''"),
            emits("poll: { every: 1m, http: { url: 'https://example.test/' }, only_new: item.id }\n", "cursor == 1"),
        ]
        .join("\n")
    );
}

/// The files that a guide has the reader write: a path in backticks with a colon, and the indented lines below it.
fn files_of(page: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = page.lines().collect();
    let mut files = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(path) = line.strip_prefix("`packs/").and_then(|rest| rest.strip_suffix("`:")) else { continue };
        let block = lines[at + 2..].iter().take_while(|line| line.is_empty() || line.starts_with("    "));
        let text: Vec<&str> = block.map(|line| line.strip_prefix("    ").unwrap_or("")).collect();
        files.push((path.to_owned(), format!("{}\n", text.join("\n").trim_end())));
    }
    files
}

#[test]
fn packs_of_the_guides_are_accepted() {
    for (page, pack, count) in [
        (include_str!("../../docs/guides/write-a-sensor-in-python.md"), "device", 5),
        (include_str!("../../docs/guides/poll-an-api.md"), "feed", 8),
        (include_str!("../../docs/guides/watch-a-folder.md"), "shop", 5),
    ] {
        let files: Vec<_> = files_of(page)
            .into_iter()
            .filter_map(|(path, text)| Some((path.strip_prefix(pack)?.strip_prefix('/')?.to_owned(), text)))
            .collect();
        assert_eq!(files.len(), count, "{pack}");
        let mut source = PackSource::of(format!("packs/{pack}"), files).expect("the paths are fine");
        for (path, file) in &mut source.files {
            if path.ends_with(".py") {
                file.mode = FileMode::Executable;
            }
        }
        assert_eq!(findings_of(&[source]), "", "{pack}");
    }
}

#[test]
fn rules_can_listen_to_each_trigger_of_the_engine() {
    let library = library();
    let core = library.iter().find(|pack| pack.files.contains_key("triggers/sensor_failed.yaml")).unwrap();
    let names = core.files.keys().filter_map(|path| path.strip_prefix("triggers/")?.strip_suffix(".yaml"));
    // A rule says when it is due with `schedule`.
    let names: Vec<&str> = names.filter(|name| *name != "schedule").collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        let rule = format!("trigger: core.{name}\naction: core.noop\n");
        let packs: Vec<PackSource> = library.iter().cloned().chain([demo(&[("rules/listens.yaml", &rule)])]).collect();
        let checked = check(&packs, &BTreeMap::new());
        assert!(!checked.has_errors(), "{}", render_findings(&checked));
    }
}
