//! Tells the command which commit it is built from (`cipherloom --version`), where git and a checkout are at hand.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    let out = Command::new("git").args(["rev-parse", "--short=10", "HEAD"]).output();
    if let Some(commit) =
        out.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok())
    {
        println!("cargo::rustc-env=CIPHERLOOM_COMMIT={}", commit.trim());
    }
}
