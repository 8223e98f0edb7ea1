//! The promises of the ledger: across restarts, between clients, with a database that fails.

use super::*;

fn request(client: &str, name: Option<&str>, input: u8) -> Request {
    let digest = Digest([7; 32]);
    Request {
        client: client.into(),
        model: digest,
        keys: digest,
        idempotency: name.map(str::to_owned),
        input: Digest([input; 32]),
        input_bytes: 10,
        seconds: 1.0,
    }
}

const LIMITS: JobLimits = JobLimits { all: 4, per_client: 3, quota_bytes: 1 << 30 };

fn accept(ledger: &Ledger, client: &str, name: Option<&str>, input: u8) -> Accepted {
    ledger.accept(JobId::random().unwrap(), request(client, name, input), LIMITS).unwrap()
}

#[test]
fn accepted_jobs_outlive_the_process_and_end_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let done = Outcome::Result { digest: Digest([1; 32]), bytes: 5, evaluation_ms: 1.0 };
    let (first, second);
    {
        let ledger = Ledger::open(&path, |_| 1.0).unwrap();
        let Accepted::New(a) = accept(&ledger, "a", Some("x"), 1) else { panic!("accepted") };
        let Accepted::New(b) = accept(&ledger, "a", None, 2) else { panic!("accepted") };
        (first, second) = (a, b);
        assert!(matches!(accept(&ledger, "a", Some("x"), 1), Accepted::Repeated(id) if id == a));
        assert!(matches!(accept(&ledger, "a", Some("x"), 9), Accepted::Not(Refused::Reused)));
        assert!(matches!(accept(&ledger, "b", Some("x"), 9), Accepted::New(_)), "names are per client");
        assert!(matches!(accept(&ledger, "a", None, 3), Accepted::New(_)));
        assert!(matches!(accept(&ledger, "a", None, 4), Accepted::Not(Refused::Full)));
        assert!(!ledger.finish(a, done.clone()).unwrap(), "a job that nobody took cannot end");
        assert!(matches!(ledger.next(), Work::Evaluate(id, _) if id == a));
        assert!(ledger.job("b", a).is_none(), "another client's job is none");
    }
    let ledger = Ledger::open(&path, |_| 1.0).unwrap();
    assert_eq!(ledger.queued(), 4, "the one that was running waits again");
    assert!(matches!(accept(&ledger, "a", Some("x"), 1), Accepted::Repeated(id) if id == first));
    assert!(matches!(ledger.next(), Work::Evaluate(id, _) if id == first));
    assert!(ledger.finish(first, done.clone()).unwrap());
    assert!(!ledger.finish(first, done.clone()).unwrap(), "once");
    assert!(ledger.cancel(second).unwrap() && !ledger.cancel(second).unwrap());
    assert_eq!(ledger.expire_jobs(u64::MAX).unwrap().len(), 2);
    drop(ledger);
    let ledger = Ledger::open(&path, |_| 1.0).unwrap();
    assert_eq!((ledger.queued(), ledger.jobs("a").len(), ledger.jobs("b").len()), (2, 1, 1));
}

#[test]
fn keys_come_and_go_with_their_client() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let record = KeyRecord { model: Digest([1; 32]), bytes: 9, complete: true, created_ms: 1, used_ms: 1 };
    let name = |client: &str| (client.to_owned(), Digest([2; 32]));
    {
        let ledger = Ledger::open(&path, |_| 1.0).unwrap();
        announce(&ledger, &name("a"), &record);
        announce(&ledger, &name("b"), &record);
        ledger.touch_keys(&name("b"));
        assert_eq!(ledger.drop_keys(|_, r| r.used_ms < 2, |_| {}).unwrap(), [name("a")]);
    }
    let ledger = Ledger::open(&path, |_| 1.0).unwrap();
    assert!(ledger.keys(&name("a")).is_none() && ledger.keys(&name("b")).unwrap().used_ms > 1);
    assert_eq!((ledger.stored_bytes("a"), ledger.stored_bytes("b")), (0, RECORD_BYTES_MIN));
}

fn announce(ledger: &Ledger, name: &KeyName, record: &KeyRecord) -> Announced {
    ledger.announce_keys(name, record.clone(), 10 * RECORD_BYTES_MIN, || {}).unwrap()
}

fn announced(created_ms: u64) -> KeyRecord {
    KeyRecord { model: Digest([1; 32]), bytes: 9, complete: false, created_ms, used_ms: created_ms }
}

#[test]
fn announcements_at_once_share_the_quota_and_spoil_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("db"), |_| 1.0).unwrap();
    std::thread::scope(|s| {
        for k in 0..20 {
            let ledger = &ledger;
            s.spawn(move || announce(ledger, &("a".into(), Digest([k; 32])), &announced(1)));
        }
    });
    assert_eq!(ledger.keys_of("a").len(), 10, "each counts, however small it says that it is");
    let name = ("b".to_owned(), Digest([1; 32]));
    announce(&ledger, &name, &announced(1));
    assert!(ledger.complete_keys(&name, &announced(1)).unwrap().is_some_and(|r| r.complete));
    assert!(matches!(announce(&ledger, &name, &announced(2)), Announced::Known(r) if r.complete));
    // Deleted, and even announced again, while they were checked.
    ledger.drop_keys(|n, _| *n == name, |_| {}).unwrap();
    assert!(ledger.complete_keys(&name, &announced(1)).unwrap().is_none());
    announce(&ledger, &name, &announced(2));
    assert!(ledger.complete_keys(&name, &announced(1)).unwrap().is_none());
}

#[test]
fn an_input_counts_before_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("db"), |_| 1.0).unwrap();
    let limits = JobLimits { quota_bytes: 100 << 20, ..LIMITS };
    let big = |name: &str| Request { input_bytes: 60 << 20, ..request("a", Some(name), 1) };
    let foreseen = |name: &str| ledger.foresees("a", Some(name), 60 << 20, limits);
    assert_eq!(foreseen("x"), None);
    let accept = |name: &str| ledger.accept(JobId::random().unwrap(), big(name), limits).unwrap();
    assert!(matches!(accept("x"), Accepted::New(_)));
    assert_eq!(foreseen("y"), Some(Refused::OverQuota));
    assert!(matches!(accept("y"), Accepted::Not(Refused::OverQuota)));
    assert!(foreseen("x").is_none() && matches!(accept("x"), Accepted::Repeated(_)));
}

/// Puts a folder where the database stands, so that it cannot be opened; the second call undoes it.
fn swap(path: &std::path::Path) {
    let aside = path.with_extension("aside");
    match path.is_dir() {
        true => {
            std::fs::remove_dir(path).unwrap();
            std::fs::rename(aside, path).unwrap();
        }
        false => {
            std::fs::rename(path, aside).unwrap();
            std::fs::create_dir(path).unwrap();
        }
    }
}

#[test]
fn a_database_that_failed_is_opened_again_and_the_end_of_a_job_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let ledger = Ledger::open(&path, |_| 1.0).unwrap();
    let Accepted::New(id) = accept(&ledger, "a", None, 1) else { panic!("accepted") };
    assert!(matches!(ledger.next(), Work::Evaluate(..)));
    ledger.writing().close();
    swap(&path);
    assert!(ledger.check().is_err());
    let refused = ledger.accept(JobId::random().unwrap(), request("a", None, 2), LIMITS);
    assert!(matches!(refused, Err(LedgerError::Disk(_))));
    let done = Outcome::Failure { reason: "none".into() };
    assert_eq!(ledger.finish_at_last(id, &done, |_| swap(&path)), Some(true));
    assert!(ledger.check().is_ok() && ledger.job("a", id).unwrap().state == JobState::Failed);
    drop(ledger);
    assert_eq!(Ledger::open(&path, |_| 1.0).unwrap().jobs("a").len(), 1, "what was refused left no record");
}

#[test]
fn a_damaged_database_and_one_in_use_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let ledger = Ledger::open(&path, |_| 1.0).unwrap();
    accept(&ledger, "a", None, 1);
    assert!(matches!(Ledger::open(&path, |_| 1.0), Err(LedgerError::InUse)));
    drop(ledger);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = std::fs::read(&path).unwrap();
    for (from, to) in [(0, 8), (0, whole.len()), (4096, whole.len()), (64, 320)] {
        let mut damaged = whole.clone();
        damaged[from..to].iter_mut().for_each(|b| *b ^= 0x5a);
        std::fs::write(&path, damaged).unwrap();
        let opened = Ledger::open(&path, |_| 1.0).map(drop);
        assert!(matches!(opened, Err(LedgerError::Damaged(_))), "{from}..{to}: {opened:?}");
    }
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let opened = Ledger::open(&path, |_| 1.0).map(drop);
    assert!(matches!(opened, Err(LedgerError::Damaged(_))), "{opened:?}");
}
