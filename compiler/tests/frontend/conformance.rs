//! The ONNX backend tests against the committed lists of those that pass, which only grow.
//!
//! `UPDATE_CONFORMANCE=1 cargo test -p cipherloom-compiler --test frontend conformance` adds what passes now.

use crate::suite::{self, Meaning, Tier, Verdict};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn listed_backend_tests_pass() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-test");
    let Some(cases) = suite::cases(&scratch) else { return };
    assert_eq!(Tier::ALL.map(|t| cases.iter().filter(|c| c.tier == t).count()), [305, 138]);
    let verdicts = suite::judge_all(&cases);
    let mut broken = Vec::new();
    for tier in Tier::ALL {
        let judged = cases.iter().zip(&verdicts).filter(|(c, _)| c.tier == tier);
        let judged: BTreeMap<&str, &Verdict> = judged.map(|(c, v)| (c.name.as_str(), v)).collect();
        let mut list = suite::committed(tier);
        for (name, meaning) in &list {
            match judged.get(name.as_str()) {
                Some(Ok(Meaning::Circuit)) => {}
                Some(Ok(found)) if found == meaning => {}
                Some(Ok(found)) => broken.push(format!("{name} passes by its {found} only")),
                Some(Err(why)) => broken.push(format!("{name}: {why}")),
                None => broken.push(format!("{name} is no test")),
            }
        }
        for (name, verdict) in &judged {
            match verdict {
                Ok(found) if list.get(*name) != Some(found) => {
                    println!("not listed: {name} passes by its {found}");
                    list.insert((*name).to_owned(), *found);
                }
                Ok(_) => {}
                Err(why) => println!("fails: {name}: {why}"),
            }
        }
        println!(
            "{}: {} of {} pass",
            tier.name(),
            judged.values().filter(|v| v.is_ok()).count(),
            judged.len()
        );
        if std::env::var_os("UPDATE_CONFORMANCE").is_some() && broken.is_empty() {
            suite::commit(tier, &list);
        }
    }
    assert!(broken.is_empty(), "listed tests no longer pass:\n{}", broken.join("\n"));
}
