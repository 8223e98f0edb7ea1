//! One libFuzzer binary for all targets: `FUZZ_TARGET` in the environment names the one that runs.

#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "seeds are for the test that replays the corpus")]
mod targets;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

fuzz_target!(|bytes: &[u8]| target()(bytes));

fn target() -> targets::Target {
    static TARGET: OnceLock<targets::Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        // The frontend catches panics of the ONNX library; those that nobody catches still end the run.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let known = targets::TARGETS.iter().find(|(name, _)| *name == wanted);
        known.unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {wanted:?}")).1
    })
}
