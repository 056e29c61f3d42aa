//! How long `ensue check` and `ensue lint` take for a thousand files: `cargo run --release -p ensue-packs --example check_many`.
//!
//! Ten packs are made in memory, each with fifty rules, thirty actions and twenty triggers as people write them. Files are not read
//! from a disk.

use std::collections::BTreeMap;
use std::time::Instant;

use ensue_packs::{CheckResult, PackSource, check, library, lint};

/// How many packs there are; each has a hundred files.
const PACKS: usize = 10;
/// How often each is measured; the median is shown.
const ROUNDS: usize = 9;

fn main() -> Result<(), ensue_packs::ReadError> {
    let own: Vec<PackSource> = (0..PACKS).map(pack).collect::<Result<_, _>>()?;
    let files: usize = own.iter().map(|pack| pack.files.len()).sum();
    let packs: Vec<PackSource> = library().into_iter().chain(own).collect();
    for (name, look) in [("check", check as fn(&_, &_) -> CheckResult), ("lint", lint)] {
        let mut rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let begun = Instant::now();
                let checked = look(&packs, &BTreeMap::new());
                (begun.elapsed(), checked.has_errors(), checked.diagnostics.len())
            })
            .collect();
        rounds.sort();
        let (time, has_errors, reported) = rounds[ROUNDS / 2];
        println!("{name}: {files} files in {} ms, {reported} reported, errors: {has_errors}", time.as_millis());
    }
    Ok(())
}

fn pack(number: usize) -> Result<PackSource, ensue_packs::ReadError> {
    let name = format!("team_{number}");
    let mut files = vec![(
        "pack.yaml".to_owned(),
        format!(
            "name: {name}\nversion: 1.0.0\nrequires: {{ packs: {{ github: ^0.1 }} }}\nconfig: {{ owner: 'string = \"acme\"' }}\nkeys: [token]\n"
        ),
    )];
    for at in 0..20 {
        let text = "description: A deployment changed.\npayload:\n  service: string\n  region: eu | us\n  load: number?\n  tags: [string]\nindex: [service]\n";
        files.push((format!("triggers/deployed_{at}.yaml"), text.to_owned()));
    }
    for at in 0..29 {
        let text = format!(
            "description: Tells the team.\nparameters:\n  text: string\n  channel: 'string = \"#team-{at}\"'\nrun:\n  http:\n    url: https://chat.example.test/post\n    method: POST\n    headers: {{ authorization: 'Bearer ${{{{ keys[\"{name}.token\"] }}}}' }}\n    json: {{ text: '${{{{ params.text }}}}', channel: '${{{{ params.channel }}}}' }}\ntimeout: 30s\n"
        );
        files.push((format!("actions/tell_{at}.yaml"), text));
    }
    for at in 0..50 {
        let (trigger, when) = match at % 3 {
            0 => (
                "github.pull_request".to_owned(),
                format!(
                    "event.payload.action == \"opened\"\n    && event.payload.repository.full_name == \"acme/service-{at}\"\n    && event.payload.repository.owner.login == config.owner"
                ),
            ),
            1 => ("github.push".to_owned(), format!("event.payload.ref.startsWith(\"refs/tags/v{at}.\")")),
            _ => (
                format!("{name}.deployed_{}", at % 20),
                format!("event.payload.service == \"service-{at}\"\n    && event.payload.region in [\"eu\", \"us\"]"),
            ),
        };
        let text = format!(
            "description: Tells team {number} of what happened.\ntrigger: {trigger}\nwhen: |\n  {when}\naction: {name}.tell_{}\nwith:\n  text: 'Something happened to ${{{{ config.owner }}}} (${{{{ event.id }}}})'\n",
            at % 29
        );
        files.push((format!("rules/rule_{at}.yaml"), text));
    }
    PackSource::of(format!("packs/{name}"), files)
}
