//! Tests that the library's own tests pass.

use std::collections::BTreeMap;

use ensue_packs::cases::CaseBackend;
use ensue_rehearsal::Rehearsal;

#[test]
fn every_case_of_the_library_passes() {
    let tested = ensue_packs::tests(&ensue_packs::library(), &BTreeMap::new());
    assert!(tested.diagnostics.is_empty(), "{:?}", tested.diagnostics);
    let mut ran = 0;
    for (_, suite) in &tested.suites {
        let mut rehearsal = Rehearsal::of(suite);
        let mocked = suite.cases.iter().filter(|case| case.against == CaseBackend::Mocks);
        for case in mocked {
            let verdict = rehearsal.run(case);
            assert!(verdict.is_passed(), "{}:{}: {}: {:#?}", case.file, case.line, case.name, verdict.findings);
            ran += 1;
        }
    }
    assert!(ran > 10, "{ran} cases");
}
