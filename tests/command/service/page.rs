//! The local page, in a real browser where one is installed.

use super::{Answer, Running, case};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[test]
fn the_page_classifies_in_a_browser_and_is_for_this_machine_alone() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let data = f.join("data");
    let server = Running::start(&case().path("models"), &data, &[]);
    let mut page = Command::new(env!("CARGO_BIN_EXE_cipherloom"))
        .args(["--json", "client", "ui", "--home", "home", "--server", &server.url, "--token"])
        .arg(data.join("local.token"))
        .current_dir(f)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(page.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let url = said["page"].as_str().unwrap().to_owned();
    let (base, secret) = url.split_once("/#").unwrap();
    let host = base.strip_prefix("http://").unwrap();
    let ask = |path: &str, head: &str| {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nconnection: close\r\n{head}\r\n").unwrap();
        Answer::read(stream)
    };
    let own = format!("host: {host}\r\n");
    let given = format!("x-token: {secret}\r\n");
    let plain = ask("/", &own);
    assert!(plain.status == 200 && plain.head.contains("default-src 'none'"), "{}", plain.head);
    assert_eq!(ask("/api/facts", &own).status, 403, "without the token");
    assert_eq!(ask("/api/facts", &format!("{own}{given}")).json()["model"], "lola");
    assert_eq!(ask("/api/facts", &format!("host: evil.example\r\n{given}")).status, 403);
    let foreign = format!("{own}{given}origin: http://evil.example\r\n");
    assert_eq!(ask("/api/facts", &foreign).status, 403);
    let text = String::from_utf8(plain.body).unwrap();
    assert!(!text.contains("http://") && !text.contains("https://"), "no external resources");

    match browser() {
        None => eprintln!("skipped: no chromium is installed; the page was not opened"),
        Some(chromium) => {
            let dump = |more: &[String]| {
                Command::new(chromium)
                    .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000"])
                    .arg(format!("--user-data-dir={}", f.join("profile").display()))
                    .args(more)
                    .arg(format!("{url}&example"))
                    .stderr(Stdio::null())
                    .output()
                    .unwrap()
            };
            let dom = String::from_utf8_lossy(&dump(&["--dump-dom".into()]).stdout).into_owned();
            assert!(dom.contains("It is 3."), "{dom}");
            assert!(dom.contains("encrypted picture sent") && dom.contains("\"state\": \"done\""), "{dom}");
            if let Some(image) = std::env::var_os("CIPHERLOOM_SCREENSHOT") {
                let to = format!("--screenshot={}", std::path::PathBuf::from(image).display());
                dump(&[to, "--window-size=1120,1180".into(), "--hide-scrollbars".into()]);
            }
        }
    }
    page.kill().unwrap();
    page.wait().unwrap();
}

fn browser() -> Option<&'static str> {
    let found = |name: &&str| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(found)
}
