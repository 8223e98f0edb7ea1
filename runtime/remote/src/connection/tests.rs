//! Addresses, and servers that answer as ours would not.

use super::*;
use crate::server::Token;
use cipherloom_ir::wire::JobState;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

const TOKEN: &str = "cl1-hidden";

#[test]
fn tokens_do_not_leave_in_the_clear() {
    for fine in ["http://127.0.0.1:1", "http://localhost", "http://[::1]:80/x", "HTTP://localhost:1"] {
        assert_eq!(check_address(fine).ok(), Some(Scheme::Loopback), "{fine}");
    }
    assert_eq!(check_address("https://example.org/behind/a/proxy").ok(), Some(Scheme::Tls));
    let bad = [
        "http://example.org",
        "http://127.0.0.1.example.org",
        "http://10.0.0.1",
        "http://localhost:80@evil.example",
        "http://[::1]@evil.example",
        "http://[::1]:80@evil.example/x",
        "https://user@example.org",
        "http://localhost?x",
        "http://localhost:99999",
        "https://[::1]:65536/x",
        "https://example.org:",
        "http://",
        "ftp://x",
        "/x",
        "host",
        "",
    ];
    for bad in bad {
        assert_eq!(check_address(bad).map_err(|e| e.kind), Err(Kind::Usage), "{bad}");
    }
}

/// A connection that gives up after so many milliseconds of silence, to a server on loopback that answers each request by
/// `answer`, which is told the request's line; the stream stays open until the next answer.
fn stub(silence_ms: u64, mut answer: impl FnMut(&str) -> String + Send + 'static) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = None;
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut lines = Vec::new();
            while lines.last().is_none_or(|line: &String| line.len() > 2) {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                lines.push(line.to_lowercase());
            }
            let length = lines.iter().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse().ok());
            reader.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
            reader.get_mut().write_all(answer(&lines[0]).as_bytes()).unwrap();
            open = Some(reader);
        }
        drop(open);
    });
    let server = Server { url, token: Token::new(TOKEN).unwrap(), ca: None };
    Connection::with_silence(&server, Duration::from_millis(silence_ms)).unwrap()
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[test]
fn a_connection_does_not_print_its_token() {
    let connection = stub(1, |_| String::new());
    let text = format!("{connection:?}{connection:#?}");
    assert!(text.contains("127.0.0.1") && !text.contains("hidden"), "{text}");
}

#[test]
fn keys_that_do_not_arrive_are_not_sent_for_ever() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789").unwrap();
    let keys = Digest::of(b"0123456789");
    let told = move |digest: Digest, offset: u64, complete: bool| {
        let facts = KeyFacts { digest, model: keys, bytes: 10, offset, complete, expires_ms: 0 };
        serde_json::to_string(&facts).unwrap()
    };
    let facts = move |offset: u64, complete: bool| answer("200 OK", &told(keys, offset, complete));
    // Announced, then after each piece: how much has arrived.
    for (announced, arrived) in [(0, 0), (4, 3), (0, 11), (11, 11), (10, 10)] {
        let connection = stub(60_000, move |line| {
            facts(if line.starts_with("post") { announced } else { arrived }, false)
        });
        let error = connection.register(&keys, file.path(), &mut |_, _| ()).unwrap_err();
        assert_eq!(error.kind, Kind::Mismatch, "{announced} {arrived}: {error}");
    }
    let other = told(Digest([7; 32]), 10, true);
    let connection = stub(60_000, move |_| answer("200 OK", &other));
    assert_eq!(
        connection.register(&keys, file.path(), &mut |_, _| ()).map_err(|e| e.kind),
        Err(Kind::Mismatch)
    );
    // A server that has all bytes but was stopped before it looked at them is sent none.
    let connection = stub(60_000, move |line| facts(10, !line.starts_with("post")));
    assert_eq!(connection.register(&keys, file.path(), &mut |_, _| ()), Ok(keys));
}

#[test]
fn a_server_that_stalls_is_given_up() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned();
    let connection = stub(100, move |_| half.clone());
    let error = connection.result("job").unwrap_err();
    assert_eq!(error.kind, Kind::Resources, "{error}");
    assert!(error.what.starts_with("the answer broke off"), "{error}");
}

/// The facts of a job.
fn job(id: &str, state: JobState) -> String {
    let digest = Digest([1; 32]);
    let facts = JobFacts {
        id: id.into(),
        state,
        model: digest,
        keys: digest,
        input: digest,
        input_bytes: 1,
        accepted_ms: 0,
        finished_ms: None,
        evaluation_ms: None,
        result_bytes: None,
        result: None,
        reason: None,
    };
    serde_json::to_string(&facts).unwrap()
}

#[test]
fn a_job_whose_name_would_lead_elsewhere_is_refused() {
    let digest = Digest([1; 32]);
    for (id, fine) in [("0a9f", true), ("a?wait=0#", false), ("../me", false), ("", false), ("a\r\nb", false)]
    {
        let told = job(id, JobState::Queued);
        let connection = stub(60_000, move |_| answer("202 Accepted", &told));
        let submission = Submission { model: digest, keys: digest, input: b"x", idempotency: "name" };
        let submitted = connection.submit(&submission).map(drop).map_err(|e| e.kind);
        assert_eq!(submitted, if fine { Ok(()) } else { Err(Kind::Mismatch) }, "{id:?}");
    }
}

/// Waits half a second for a result at a server that answers by `answer`, which is told the request's line: what comes of it, and
/// the requests.
fn wait_at(
    mut answer: impl FnMut(&str) -> String + Send + 'static,
) -> (Result<Vec<u8>, RemoteError>, Vec<String>) {
    let (tell, told) = std::sync::mpsc::channel();
    let connection = stub(60_000, move |line| {
        tell.send(line.to_owned()).unwrap();
        answer(line)
    });
    let start = Instant::now();
    let result = connection.wait_at_most(Duration::from_millis(500)).result("job");
    assert!(start.elapsed() < Duration::from_secs(5), "the wait is bounded");
    (result.map(|(bytes, _)| bytes), told.try_iter().collect())
}

#[test]
fn a_result_that_never_comes_is_given_up() {
    for (told, fate) in [
        (job("job", JobState::Cancelled), "; the job was cancelled"),
        (job("job", JobState::Running), "; the server goes on with the job"),
        ("{}".into(), "; whether the job was cancelled is not known"),
    ] {
        let (result, lines) = wait_at(move |line| match line {
            _ if line.starts_with("delete") => answer("200 OK", &told),
            _ if line.contains("/result") => answer("202 Accepted", "{}"),
            _ => answer("200 OK", &job("job", JobState::Running)),
        });
        let error = result.unwrap_err();
        assert_eq!(error.kind, Kind::Resources);
        assert!(error.what.ends_with(&format!("job within 0.5 s{fate}")), "{error}");
        assert!(error.remedy.contains("--wait SECONDS"), "{}", error.remedy);
        assert!(lines[0].starts_with("get /v1/jobs/job/result?wait=0.4") && lines.len() < 10, "{lines:?}");
        assert!(lines.last().unwrap().starts_with("delete /v1/jobs/job "), "{lines:?}");
    }
}

#[test]
fn a_server_that_is_busy_to_the_end_of_the_wait_is_asked_to_cancel() {
    let busy = "HTTP/1.1 429 Busy\r\nretry-after: 30\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (result, lines) = wait_at(move |line| match line.starts_with("delete") {
        true => answer("200 OK", &job("job", JobState::Cancelled)),
        false => busy.to_owned(),
    });
    let error = result.unwrap_err();
    assert!(error.what.contains("within 0.5 s (answers 429"), "{error}");
    assert!(error.what.ends_with("the job was cancelled"), "{error}");
    assert!(lines.last().unwrap().starts_with("delete /v1/jobs/job "), "{lines:?}");
}

#[test]
fn a_job_that_ended_with_the_wait_keeps_its_result() {
    let (mut asked, refused) = (false, r#"{"kind":"mismatch","where":"job","what":"why","remedy":""}"#);
    for (state, last, expected) in [
        (JobState::Done, answer("200 OK", "result"), Ok(b"result".to_vec())),
        (JobState::Failed, answer("410 Gone", refused), Err("why".to_owned())),
    ] {
        let (result, lines) = wait_at(move |line| match line.contains("/result") {
            true if asked => last.clone(),
            true => answer("202 Accepted", "{}"),
            false => {
                asked = true;
                answer("200 OK", &job("job", state))
            }
        });
        assert_eq!(result.map_err(|e| e.what), expected);
        assert!(lines.iter().all(|line| line.starts_with("get")), "nothing is deleted: {lines:?}");
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_the_wait() {
    let (tell, told) = std::sync::mpsc::channel();
    let connection = stub(300, move |line| {
        tell.send(line.to_owned()).unwrap();
        match line {
            _ if line.contains("/result") => String::new(),
            _ => answer("200 OK", &job("job", JobState::Cancelled)),
        }
    });
    let error = connection.wait_at_most(Duration::from_millis(200)).result("job").unwrap_err();
    assert!(error.what.contains("within 0.2 s (cannot be reached: timeout"), "{error}");
    assert!(error.what.ends_with("; the job was cancelled"), "{error}");
    assert!(told.try_iter().count() >= 2);
}

#[test]
fn a_result_is_waited_for() {
    let mut answers = vec![answer("200 OK", "result"), answer("202 Accepted", "{}")];
    let connection = stub(60_000, move |_| answers.pop().unwrap_or_default());
    assert_eq!(connection.result("job"), Ok((b"result".to_vec(), None)));
}
