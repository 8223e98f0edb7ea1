//! The house rules that the compiler does not check: layers, doorways, licences, file shapes.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metadata(with_dependencies: bool) -> Value {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked", "--offline"]).current_dir(root());
    if with_dependencies {
        // Only what this machine builds: other platforms' crates may not have been downloaded.
        command.args(["--filter-platform", &host()]);
    } else {
        command.arg("--no-deps");
    }
    let out = command.output().expect("cargo runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON")
}

/// The platform that tests are built for.
fn host() -> String {
    let out = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().find_map(|l| l.strip_prefix("host: ")).expect("cargo -vV names its host").to_owned()
}

/// Files that git tracks or would track, relative to the root.
fn files(suffix: &str) -> Vec<String> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(out.status.success(), "git ls-files: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("paths are UTF-8");
    text.lines().filter(|f| f.ends_with(suffix) && root().join(f).is_file()).map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn crates_depend_only_downwards() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("cipherloom-ring", &[][..]),
        ("cipherloom-ckks", &["cipherloom-ring"]),
        ("cipherloom-ir", &[]),
        ("cipherloom-compiler", &["cipherloom-ir"]),
        ("cipherloom-runtime", &["cipherloom-ir", "cipherloom-ckks", "cipherloom-ring"]),
        ("cipherloom-client", &["cipherloom-ir", "cipherloom-ckks", "cipherloom-ring"]),
        ("cipherloom-service", &["cipherloom-ir", "cipherloom-runtime"]),
        ("cipherloom-remote", &["cipherloom-ir", "cipherloom-client"]),
        (
            "cipherloom",
            &[
                "cipherloom-ring",
                "cipherloom-ckks",
                "cipherloom-ir",
                "cipherloom-compiler",
                "cipherloom-runtime",
                "cipherloom-client",
                "cipherloom-service",
                "cipherloom-remote",
            ],
        ),
    ]);
    let metadata = metadata(false);
    let packages = metadata["packages"].as_array().expect("packages");
    for package in packages {
        let name = package["name"].as_str().expect("name");
        let edges = allowed.get(name).unwrap_or_else(|| panic!("crate {name} has no place in the layering"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let target = dependency["name"].as_str().expect("name");
            let development = dependency["kind"] == "dev";
            let fine = edges.contains(&target) || development && target == "cipherloom-client";
            assert!(!target.starts_with("cipherloom") || fine, "{name} must not depend on {target}");
        }
    }
    let members: BTreeSet<&str> =
        metadata["workspace_members"].as_array().expect("members").iter().filter_map(Value::as_str).collect();
    let defaults: BTreeSet<&str> = metadata["workspace_default_members"]
        .as_array()
        .expect("defaults")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(members, defaults, "plain `cargo test` must run every crate");
}

#[test]
fn each_big_dependency_has_one_doorway() {
    let doorways: [(&str, &[&str]); 15] = [
        ("tract_onnx", &["compiler/src/frontend.rs", "compiler/src/frontend/"]),
        ("petgraph", &["compiler/src/graph.rs"]),
        ("egg::", &["compiler/src/saturate/"]),
        ("clap", &["src/"]),
        ("png", &["src/data/"]),
        ("jpeg_decoder", &["src/data/"]),
        ("zip", &["src/data/"]),
        ("flate2", &["src/data/", "src/data.rs", "tests/fuzz/targets.rs"]),
        ("tfhe_ntt", &["runtime/ring/src/transform.rs"]),
        ("axum", &["runtime/service/src/", "runtime/remote/src/ui.rs"]),
        ("axum_server", &["runtime/service/src/server.rs", "runtime/remote/src/ui.rs"]),
        ("redb", &["runtime/service/src/ledger/database.rs"]),
        ("rustls", &["runtime/service/src/server.rs"]),
        ("utoipa", &["runtime/service/src/"]),
        ("ureq", &["runtime/remote/src/connection.rs"]),
    ];
    for file in files(".rs").iter().filter(|f| !f.starts_with("tests/tidy")) {
        let text = read(file);
        for (name, places) in doorways {
            let used = text.lines().any(|l| {
                let code = l.trim_start();
                !code.starts_with("//") && names(code, name)
            });
            assert!(
                !used || places.iter().any(|p| file.starts_with(p)),
                "{file} reaches past the doorway of {name}"
            );
        }
    }
}

/// Whether a line of code names the crate `name` (`name::` or `use name`, as a whole word).
fn names(code: &str, name: &str) -> bool {
    let path = format!("{}::", name.trim_end_matches(':'));
    let starts = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:.".contains(c));
    code.match_indices(&path).any(|(at, _)| starts(at))
        || code.strip_prefix("use ").is_some_and(|rest| {
            rest.strip_prefix(name).is_some_and(|after| after.starts_with([';', ':', ' ']))
        })
}

#[test]
fn unsafe_stands_under_the_kernels_alone() {
    for file in files(".rs")
        .iter()
        .filter(|f| !f.starts_with("runtime/ring/src/kernel") && !f.starts_with("tests/tidy"))
    {
        let text = read(file);
        let found = text.lines().find(|l| {
            let code = l.split("//").next().unwrap_or("");
            ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|u| code.contains(u))
        });
        assert!(found.is_none(), "{file}: {}", found.unwrap_or(""));
    }
    for krate in [
        "src",
        "ir/src",
        "compiler/src",
        "runtime/src",
        "runtime/ckks/src",
        "runtime/client/src",
        "runtime/service/src",
        "runtime/remote/src",
    ] {
        assert!(read(&format!("{krate}/lib.rs")).contains("#![forbid(unsafe_code)]"), "{krate}");
    }
}

#[test]
fn files_have_their_shape() {
    for file in files(".rs") {
        let text = read(&file);
        let name = Path::new(&file).file_stem().and_then(|s| s.to_str()).expect("a name");
        assert!(
            !["mod", "utils", "util", "common", "helper", "helpers", "manager"].contains(&name),
            "{file}"
        );
        if file != "src/main.rs" && !file.contains("/fuzz/") {
            assert!(text.starts_with("//!"), "{file} does not begin with what it is for");
        }
        let lines = text.lines().count();
        let header =
            text.lines().take_while(|l| l.starts_with("//!")).any(|l| l.contains("Above the soft cap"));
        assert!(lines <= 500 || header, "{file} has {lines} lines and gives no reason for it in its header");
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    for file in files(".md") {
        let folder = root().join(&file).parent().expect("a folder").to_path_buf();
        let text = read(&file);
        for target in text.split("](").skip(1).filter_map(|t| t.split(')').next()) {
            let path = target.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            assert!(folder.join(path).exists(), "{file} links to {path}, which is not there");
        }
    }
}

#[test]
fn every_direct_dependency_is_explained() {
    let text = read("docs/dependencies.md");
    for package in metadata(false)["packages"].as_array().expect("packages") {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let name = dependency["name"].as_str().expect("name");
            if !name.starts_with("cipherloom") {
                assert!(
                    text.contains(&format!("| {name} |")),
                    "docs/dependencies.md does not explain {name}"
                );
            }
        }
    }
}

#[test]
fn licences_are_known() {
    let known = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSD-3-Clause-Clear",
        "ISC",
        "Zlib",
        "Unlicense",
        "CC0-1.0",
        "0BSD",
        "Unicode-3.0",
        "MIT-0",
        "MPL-2.0",
        "BSL-1.0",
        "Apache-2.0 WITH LLVM-exception",
        "CDLA-Permissive-2.0",
    ];
    for package in metadata(true)["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("name");
        let licence = package["license"].as_str().unwrap_or("none");
        let fine = licence
            .replace(['(', ')'], "")
            .replace('/', " OR ")
            .split(" OR ")
            .any(|alternative| alternative.trim().split(" AND ").all(|l| known.contains(&l.trim())));
        assert!(fine, "{name} has licence {licence}");
    }
}
