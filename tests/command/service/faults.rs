//! kill -9 with jobs in flight, and bytes that no client sends: nothing lost, nothing answered wrongly, nothing falls over.

use super::{Answer, Running, case, local_token, token};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

fn number(name: &str, short: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(short)
}

/// Random enough for tests, and the same at every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

#[test]
fn accepted_jobs_survive_kill_9() {
    const JOBS: usize = 32;
    let runs = number("CIPHERLOOM_FAULT_RUNS", 2);
    let mut random = Random(7);
    let (mut right, mut lost, mut wrong, mut kills, mut flight) = (0, 0, 0, 0, JOBS);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut server = Running::start(&case().path("models"), data, &[]);
    let clients = ["alice", "bob"].map(|c| token(data, c, &[]).0);
    clients.iter().for_each(|t| server.register(t));
    for run in 0..runs {
        let mut accepted: Vec<(usize, String, usize)> = Vec::new();
        for k in 0..JOBS {
            let (owner, input) = (k % 2, k % 3);
            let answer = server.submit(&clients[owner], input, &format!("run-{run}-{k}"));
            assert_eq!(answer.status, 202, "{answer:?}");
            accepted.push((owner, answer.json()["id"].as_str().unwrap().to_owned(), input));
        }
        let waits = |job: &serde_json::Value| ["queued", "running"].contains(&job["state"].as_str().unwrap());
        let waiting = |c: &String| {
            let jobs = server.get(c, "/v1/jobs").json();
            jobs.as_array().unwrap().iter().filter(|j| waits(j)).count()
        };
        flight = flight.min(clients.iter().map(waiting).sum());
        std::thread::sleep(Duration::from_millis(random.next(30)));
        server.kill();
        kills += 1;
        server = Running::start(&case().path("models"), data, &[]);
        // Some are killed again while they are made up for.
        if random.next(2) == 0 {
            std::thread::sleep(Duration::from_millis(random.next(200)));
            server.kill();
            kills += 1;
            server = Running::start(&case().path("models"), data, &[]);
        }
        for (k, (owner, id, input)) in accepted.iter().enumerate() {
            // A client that did not hear the acknowledgement repeats its request: the same job.
            let again = server.submit(&clients[*owner], *input, &format!("run-{run}-{k}")).json();
            wrong += u64::from(again["id"] != id.as_str());
            let answer = server.get(&clients[*owner], &format!("/v1/jobs/{id}/result?wait=60"));
            match answer.status {
                200 if answer.body == case().answers[*input] => right += 1,
                200 => wrong += 1,
                _ => lost += 1,
            }
            assert_eq!(server.get(&clients[1 - *owner], &format!("/v1/jobs/{id}")).status, 404);
        }
        let jobs = |c: &String| server.get(c, "/v1/jobs").json().as_array().unwrap().len();
        assert_eq!(clients.iter().map(jobs).sum::<usize>(), (run as usize + 1) * JOBS, "each job once");
    }
    eprintln!(
        "fault_kill9_runs {runs}, kills {kills}, in flight at least {flight}, right {right}, fault_lost_jobs {lost}, wrong {wrong}"
    );
    assert_eq!((lost, wrong), (0, 0));
}

#[test]
fn corrupted_requests_leave_the_server_well() {
    let requests = number("CIPHERLOOM_FUZZ_REQUESTS", 400);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Running::start(&case().path("models"), data, &["--rate", "1000000"]);
    let token = local_token(data);
    server.register(&token);
    let mut random = Random(11);
    let digest = case().keys_digest();
    let (model, zeros) = (&case().model, "0".repeat(64));
    let words = [
        "/v1/jobs",
        "/v1/keys",
        "/v1/me",
        "/v1/models",
        "/metrics",
        "/v1/jobs/../../etc/passwd",
        "/%00",
        "/v1/keys/",
        &digest,
        model,
        &zeros,
        "?wait=1e308",
        "?wait=NaN",
        "?model=",
        "&keys=",
        "/result",
        "/manifest",
        "\u{fffd}",
    ];
    let methods = ["GET", "POST", "PATCH", "PUT", "HEAD", "OPTIONS", "BREW", "G\u{0}T", ""];
    let (mut answered, mut dropped, mut internal) = (0u64, 0u64, 0usize);
    for k in 0..requests {
        let pick = |r: &mut Random, from: &[&str]| from[r.next(from.len() as u64) as usize].to_owned();
        let mut path = pick(&mut random, &words);
        (0..random.next(3)).for_each(|_| path += &pick(&mut random, &words));
        let body = match random.next(4) {
            0 => vec![],
            1 => case().inputs[0][..random.next(2000) as usize].to_vec(),
            2 => (0..random.next(300)).map(|_| random.next(256) as u8).collect(),
            _ => {
                format!("{{\"model\":\"{model}\",\"digest\":\"{zeros}\",\"bytes\":{}}}", random.next(1 << 31))
                    .into_bytes()
            }
        };
        let length = if random.next(5) == 0 { random.next(1 << 20) } else { body.len() as u64 };
        let mut bytes = format!(
            "{} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\nupload-offset: {}\r\ncontent-length: {length}\r\n\r\n",
            pick(&mut random, &methods),
            random.next(3),
        )
        .into_bytes();
        bytes.extend(body);
        for _ in 0..random.next(4) / 2 {
            let place = random.next(bytes.len() as u64) as usize;
            bytes[place] = random.next(256) as u8;
        }
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let answer = Answer::read(stream);
        match answer.status {
            0 => dropped += 1,
            500 => internal += 1,
            _ => answered += 1,
        }
        if k % 100 == 0 {
            assert_eq!(server.get("", "/v1/health").status, 200, "after {k} requests");
        }
    }
    let panics = std::fs::read_to_string(&server.stderr).unwrap().matches("panicked").count();
    eprintln!(
        "fuzz_requests {requests}, answered {answered}, dropped {dropped}, internal errors {internal}, \
         fuzz_requests_panics {panics}"
    );
    assert_eq!((internal, panics), (0, 0));
    server.register(&token);
    let job = server.submit(&token, 2, "after all").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&token, &format!("/v1/jobs/{job}/result?wait=60")).body, case().answers[2]);
}

#[test]
fn stalled_clients_hold_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&case().path("models"), folder.path(), &[]);
    let token = local_token(folder.path());
    server.register(&token);
    let path = format!("/v1/jobs?model={}&keys={}", case().model, case().keys_digest());
    let stalled: Vec<TcpStream> = (0..30)
        .map(|k| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n");
            let rest = if k % 2 == 0 { "content-length: 100000\r\n\r\nLOOM" } else { "" };
            stream.write_all((head + rest).as_bytes()).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    let job = server.submit(&token, 1, "quick").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&token, &format!("/v1/jobs/{job}/result?wait=30")).body, case().answers[1]);
    assert!(start.elapsed() < Duration::from_secs(25), "served before any stalled client is given up");
    drop(stalled);
}

#[test]
fn connections_that_say_nothing_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&case().path("models"), folder.path(), &[]);
    let closed = |said: &[u8]| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
        stream.write_all(said).unwrap();
        stream.read_to_end(&mut Vec::new()).is_ok()
    };
    // The last is how HTTP/2 begins, which would let a connection wait without end.
    let beginnings = [&b""[..], b"G", b"GET / HTTP/1.1\r\nhost: ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    std::thread::scope(|s| {
        let all = beginnings.map(|said| (said, s.spawn(move || closed(said))));
        for (said, ended) in all {
            assert!(ended.join().unwrap(), "{}", String::from_utf8_lossy(said));
        }
    });
}

/// A file system of its own with so many MiB, unmounted when dropped; `None` where this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(mib: u32) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Whether `/v1/ready` comes to answer so; the server looks at its disk every two seconds at most.
fn comes_to(server: &Running, status: u16) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if server.get("", "/v1/ready").status == status {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let keys_mib = case().keys.len().div_ceil(1 << 20) as u32;
    let Some(disk) = SmallDisk::new(keys_mib + 24) else {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    };
    let data = disk.0.path().join("data");
    let server = Running::start(&case().path("models"), &data, &[]);
    let token = local_token(&data);
    server.register(&token);
    let first = server.submit(&token, 0, "before").json()["id"].as_str().unwrap().to_owned();
    let filler = disk.0.path().join("filler");
    let full = std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap());
    assert!(full.is_err(), "the disk is full");
    assert!(comes_to(&server, 503), "no work is sent to a full disk");
    // What is refused says so, and nothing that was accepted is lost.
    let refused: Vec<Answer> = (0..3).map(|k| server.submit(&token, 1, &format!("full-{k}"))).collect();
    for answer in &refused {
        assert_eq!((answer.status, answer.json()["kind"].as_str()), (507, Some("resources")), "{answer:?}");
    }
    assert_eq!(server.get(&token, "/v1/health").status, 200);
    std::fs::remove_file(filler).unwrap();
    assert!(comes_to(&server, 200));
    for (name, input) in [("before", 0), ("full-0", 1), ("after", 2)] {
        let job = server.submit(&token, input, name);
        assert_eq!(job.status, 202, "{name}: {job:?}");
        let id = job.json()["id"].as_str().unwrap().to_owned();
        assert!(name != "before" || id == first, "the job of before is still that job");
        let answer = server.get(&token, &format!("/v1/jobs/{id}/result?wait=60"));
        assert!(answer.status == 200 && answer.body == case().answers[input], "{name}: {answer:?}");
    }
}

#[test]
fn a_ledger_that_was_full_works_again_by_itself() {
    let keys = case().keys.len();
    let Some(disk) = SmallDisk::new(24) else {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    };
    let data = disk.0.path().join("data");
    let server =
        Running::start(&case().path("models"), &data, &["--quota", "100000000", "--rate", "1000000"]);
    let token = local_token(&data);
    let announce = |k: usize| {
        let text = format!(r#"{{"model":"{}","digest":"{k:064x}","bytes":{keys}}}"#, case().model);
        server.ask(&token, "POST", "/v1/keys", &[], text.as_bytes())
    };
    assert_eq!((announce(0).status, server.get("", "/v1/ready").status), (200, 200));
    let filler = disk.0.path().join("filler");
    let full = std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap());
    assert!(full.is_err(), "the disk is full");
    // The database takes records until it has to grow.
    let refused = (1..20_000).map(|k| (k, announce(k))).find(|(_, a)| a.status != 200);
    let (first, refused) = refused.expect("a full disk takes no more records");
    assert_eq!((refused.status, refused.json()["kind"].as_str()), (507, Some("resources")), "{refused:?}");
    assert_eq!(server.get("", "/v1/ready").status, 503);
    assert_eq!(announce(first).status, 507, "still");
    std::fs::remove_file(filler).unwrap();
    assert!(comes_to(&server, 200));
    assert_eq!(announce(first).status, 200);
    let listed = server.get(&token, "/v1/keys").json();
    assert_eq!(listed.as_array().unwrap().len(), first + 1, "nothing that was acknowledged is lost");
}

#[test]
fn replayed_and_reordered_requests_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&case().path("models"), folder.path(), &[]);
    let token = local_token(folder.path());
    let (keys, digest) = (&case().keys, case().keys_digest());
    let path = format!("/v1/keys/{digest}");
    let send = |from: usize, to: usize| {
        server.ask(&token, "PATCH", &path, &[("upload-offset", &*from.to_string())], &keys[from..to])
    };
    // A job before its keys, pieces before they are announced, the last piece first.
    assert_eq!(server.submit(&token, 0, "job").status, 404);
    assert_eq!(send(0, 100).status, 404);
    let text = format!(r#"{{"model":"{}","digest":"{digest}","bytes":{}}}"#, case().model, keys.len());
    let announce = || server.ask(&token, "POST", "/v1/keys", &[], text.as_bytes()).json();
    announce();
    let half = keys.len() / 2;
    assert_eq!(send(half, keys.len()).status, 409);
    assert_eq!(send(0, half).status, 200);
    assert_eq!(send(0, half).status, 409, "the same piece again");
    assert_eq!(announce()["offset"], half, "announced again, nothing is lost");
    assert_eq!(send(half, keys.len()).json()["complete"], true);
    assert_ne!(send(half, keys.len()).status, 500);
    assert_eq!(announce()["complete"], true);
    // The same job twice is one; after its end it is that answer still.
    let id = server.submit(&token, 2, "job").json()["id"].clone();
    let result = format!("/v1/jobs/{}/result?wait=60", id.as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(server.submit(&token, 2, "job").json()["id"], id);
        assert!(server.get(&token, &result).body == case().answers[2]);
    }
    // Everything is deleted; the deletion again finds nothing, and what is replayed afterwards is refused.
    assert_eq!(server.ask(&token, "DELETE", "/v1/me", &[], b"").json()["jobs"], 1);
    assert_eq!(server.ask(&token, "DELETE", "/v1/me", &[], b"").json()["jobs"], 0);
    assert_eq!(server.get(&token, &result).status, 404);
    assert_eq!(server.submit(&token, 2, "job").status, 404, "its keys are gone");
}
