//! The page of a circuit: its whole text, its bounds, names that would break out of it, and a real browser.

use crate::{cipherloom, done, json, shipped};
use cipherloom::compiler::cost::Profile;
use cipherloom::compiler::{CompileError, Purpose};
use cipherloom::ir::{Circuit, Node, Op, ValueId, verify_draft};
use cipherloom::page::{Page, html};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A residual block on two maps of 2 x 2.
const RESIDUAL: &str = include_str!("residual.txt");
/// Most bytes of a page, whatever the circuit.
const PAGE_BYTES_MAX: usize = 16 << 20;

fn residual() -> Circuit {
    let circuit = Circuit::from_text(RESIDUAL, &[]).expect("the text is a circuit");
    verify_draft(&circuit).expect("the circuit obeys the laws");
    circuit
}

fn page(circuit: &Circuit) -> Result<String, CompileError> {
    let round = include_str!("../../compiler/tests/profiles/round.json");
    let profile = Profile::read(round).expect("the round profile is sound");
    html(&Page { circuit, purpose: Purpose::Encrypted, profile: &profile, report: None })
}

/// The page without its constant parts.
fn without_style(page: &str) -> String {
    let cut = |text: &str, open: &str, close: &str| {
        let (before, rest) = text.split_once(open).expect("a page has style and script");
        let (_, after) = rest.split_once(close).expect("what is opened is closed");
        format!("{before}{open}…{close}{after}")
    };
    cut(&cut(page, "<style>", "</style>"), "<script>", "</script>")
}

#[test]
fn a_small_circuit_has_this_page() {
    let found = page(&residual()).unwrap();
    insta::assert_snapshot!("page_residual", without_style(&found));
    assert_eq!(found, page(&residual()).unwrap(), "the same circuit gives the same bytes");
    assert!(!found.contains("://"), "the page names nothing outside itself");
    assert!(!found.contains("0.0625"), "no weight stands in the page");
}

#[test]
fn names_are_text_and_nothing_else() {
    let hostile = "</title><script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>\u{202e}";
    let mut circuit = residual();
    circuit.name = hostile.into();
    circuit.tensors.iter_mut().for_each(|t| t.name = "<script>".into());
    circuit.origins.iter_mut().for_each(|o| *o = hostile.into());
    circuit.inputs[0].name = hostile.into();
    circuit.outputs[0].name = hostile.into();
    let found = page(&circuit).unwrap();
    assert_eq!(found.matches("<script").count(), 1, "the page's own script");
    assert!(found.contains("<td class=about>&lt;script&gt;"), "the bias is named");
    assert!(!found.contains("<img") && !found.contains('\u{202e}') && !found.contains("owned'<"));
    assert_eq!(found.matches("</title>").count(), found.matches("<title>").count());
}

#[test]
fn pages_of_huge_circuits_are_bounded() {
    let mut circuit = residual();
    // Each node is a layer of its own with a long name; reads the one before it and the first block.
    let name = "\"".repeat(400);
    for k in 0..30_000u32 {
        let first = ValueId(circuit.values() as u32);
        let op = Op::Add(first_of(&circuit), ValueId(first.0 - 1));
        circuit.origins.push(format!("{k}{name}"));
        circuit.nodes.push(Node { op, first, results: 1, origin: circuit.origins.len() as u32 - 1 });
    }
    let found = page(&circuit).unwrap();
    assert!(found.len() <= PAGE_BYTES_MAX, "{} bytes", found.len());
    assert!(found.contains("more layers"), "what is left out is counted");
}

/// The result of the residual block, which later nodes may read.
fn first_of(circuit: &Circuit) -> ValueId {
    circuit.outputs[0].values[0]
}

#[test]
fn the_command_writes_pages_of_circuits_and_drafts() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    done(f, &["compile", &shipped("lola.onnx"), "-o", "m.loom", "--html", "compiled.html"]);
    let wrote = done(f, &["inspect", "m.loom", "--html", "inspected.html"]);
    let read = |name: &str| std::fs::read_to_string(f.join(name)).unwrap();
    assert_eq!(wrote["html_bytes"], read("inspected.html").len());
    assert!(read("compiled.html").contains("What the stages chose"));
    assert!(!read("inspected.html").contains("What the stages chose"), "a circuit does not hold it");
    let piped = cipherloom(f, &["inspect", "m.loom", "--html", "-"]);
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), read("inspected.html"));
    let draft = done(f, &["compile", &shipped("lola.onnx"), "--draft", "--html", "draft.html"]);
    assert_eq!(draft["draft"], true);
    assert!(read("draft.html").contains("A draft: activations are exact"));
    assert!(!f.join("lola.loom").exists(), "a draft is not written where it could be run");
    let (code, error) = json(f, &["inspect", "m.manifest", "--html", "x.html"]);
    assert_eq!((code, error["kind"].as_str()), (3, Some("bad-input")), "{error}");
    let (code, _) = json(f, &["inspect", "m.loom", "--html", "m.loom"]);
    assert_eq!(code, 2, "a page does not replace its circuit");
}

/// A Chromium: `CIPHERLOOM_CHROMIUM`, or one on the path.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CIPHERLOOM_CHROMIUM").map(PathBuf::from);
    named.or_else(|| {
        let path = std::env::var_os("PATH")?;
        let names = ["chromium", "chromium-browser", "google-chrome"];
        std::env::split_paths(&path).flat_map(|f| names.map(|n| f.join(n))).find(|p| p.is_file())
    })
}

/// The document after its script has run.
fn shown(browser: &Path, folder: &Path, page: &str, fragment: &str) -> String {
    let file = folder.join("page.html");
    std::fs::write(&file, page).unwrap();
    let profile = folder.join("profile").display().to_string();
    let out = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--dump-dom"])
        .arg(format!("--user-data-dir={profile}"))
        .arg(format!("file://{}{fragment}", file.display()))
        .output()
        .expect("the browser starts");
    String::from_utf8(out.stdout).expect("the document is UTF-8")
}

#[test]
fn a_browser_shows_it() {
    let Some(browser) = chromium() else {
        eprintln!("skipped: no chromium on the path (set CIPHERLOOM_CHROMIUM)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut circuit = residual();
    circuit.name = "</title><script>document.title='owned'</script>".into();
    let document = shown(&browser, folder.path(), &page(&circuit).unwrap(), "#layer-2");
    assert!(document.contains("4 of 4 layers</output>"), "the script has run: {document}");
    assert!(document.contains("<title>&lt;/title&gt;&lt;script&gt;"), "the name is text");
    assert_eq!(document.matches("<details open=").count(), 1, "the layer of the address is opened");
}
