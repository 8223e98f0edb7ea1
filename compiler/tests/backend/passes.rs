//! `docs/passes.md` is made from the tables of stages and laws; stages are watched, stopped and switched off.

use crate::nets;
use cipherloom_compiler::stages::{STAGES, Stage};
use cipherloom_compiler::{CompileError, CompileOptions, Watch, compile, compile_watched, passes};
use std::path::PathBuf;

#[test]
fn the_document_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/passes.md");
    let wanted = passes::document();
    if std::env::var_os("UPDATE_PASSES").is_some() {
        std::fs::write(&path, &wanted).expect("docs/passes.md can be written");
    } else {
        let found = std::fs::read_to_string(&path).expect("docs/passes.md is there");
        let how = "UPDATE_PASSES=1 cargo test -p cipherloom-compiler --test backend passes";
        assert!(wanted == found, "docs/passes.md is not current: {how}");
    }
}

#[test]
fn every_stage_leaves_a_text_with_a_line_of_costs_and_can_be_the_last() {
    let net = nets::named("tiny-relu");
    let options = nets::options();
    let all = Watch { print: STAGES.iter().map(|s| s.stage).collect(), stop: None };
    let watched = compile_watched(&net, &options, &all).expect("tiny networks compile");
    assert!(watched.compiled.is_some());
    for row in STAGES {
        let last = watched.texts[&row.stage].lines().last().unwrap_or_default();
        assert!(last.starts_with("cost: "), "{}: {last}", row.name);
        let watch = Watch { stop: Some(row.stage), ..Watch::default() };
        let stopped = compile_watched(&net, &options, &watch).expect("tiny networks compile");
        assert!(stopped.compiled.is_none() && stopped.texts.len() == 1, "{}", row.name);
    }
}

#[test]
fn stages_that_are_off_cost_time_and_mean_the_same() {
    let net = nets::named("tiny-relu");
    let seconds = |off: &[Stage]| {
        let options = CompileOptions { off: off.iter().copied().collect(), ..nets::options() };
        crate::check(&net, &options).circuit.forecast.seconds
    };
    let on = seconds(&[]);
    for row in STAGES.iter().filter(|s| s.off.is_some() && s.stage != Stage::Balance) {
        assert!(seconds(&[row.stage]) >= on, "{}", row.name);
    }
    assert!(seconds(&[Stage::Balance]) > 0.0);
    let refused = CompileOptions { off: [Stage::Levels].into(), ..nets::options() };
    assert!(matches!(compile(&net, &refused), Err(CompileError::Stage(_))));
}
