//! From the first start to a forgotten client; over TLS, for two clients.

use super::{Running, case, local_token, token};
use crate::{cipherloom, done, json, shipped};
use std::path::Path;
use std::process::Command;

#[test]
fn two_commands_serve_a_shipped_model_and_predict() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let data = f.join("data");
    let server = Running::start(Path::new(&shipped("lola.onnx")), &data, &[]);
    let token = data.join("local.token").display().to_string();
    let images = [3, 7].map(|d| shipped(&format!("samples/digit-{d}.png")));
    let there = ["--server", &server.url, "--token", &token, "--home", "home"];
    let mut arguments = vec!["client", "predict", &images[0], &images[1]];
    arguments.extend(there);
    let answer = done(f, &arguments);
    for (k, digit) in [3, 7].into_iter().enumerate() {
        let a = &answer["answers"][k];
        assert_eq!(a["class"], digit, "{answer}");
        assert!(
            a["exchange"]["upload_bytes"].as_u64() > Some(10_000) && a["exchange"]["evaluation_ms"].is_f64()
        );
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &str| std::fs::metadata(f.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("home"), mode("home/secret.key"), mode("home/client.json")), (0o700, 0o600, 0o600));
        assert_eq!(
            (mode("data/tokens.json"), mode("data/local.token"), mode("data/keys")),
            (0o600, 0o600, 0o700)
        );
    }
    assert!(!f.join("home/eval.keys").exists(), "the server has them");
    let status = done(f, &["client", "status", "--home", "home"]);
    assert_eq!(
        (status["jobs"].as_array().unwrap().len(), status["keys"][0]["complete"].as_bool()),
        (2, Some(true))
    );

    // Keys that the server lost are made and sent again without a word.
    let keys = format!("/v1/keys/{}", status["keys"][0]["digest"].as_str().unwrap());
    assert_eq!(server.ask(&local_token(&data), "DELETE", &keys, &[], b"").status, 204);
    let answer = done(f, &["client", "predict", &images[1], "--home", "home"]);
    assert_eq!(answer["answers"][0]["class"], 7);

    let gone = done(f, &["client", "forget", "--home", "home"]);
    assert_eq!((gone["keys"].as_u64(), gone["jobs"].as_u64()), (Some(1), Some(3)));
    let left: Vec<_> = std::fs::read_dir(f.join("home")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["home.lock"], "the secret key is gone too");
    let files = |path: &str| std::fs::read_dir(f.join(path)).unwrap().count();
    assert_eq!(
        (files("data/jobs"), files("data/keys/local")),
        (0, 0),
        "nothing is left on the server's disk"
    );
    let (code, error) = json(f, &["client", "predict", &images[0], "--home", "home"]);
    assert_eq!((code, error["kind"].as_str()), (2, Some("usage")), "{error}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn two_clients_over_tls_reach_their_own_data_alone() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    if !certificates(f, "127.0.0.1") {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let data = f.join("data");
    let at = |name: &str| f.join(name).display().to_string();
    let (cert, key) = (at("server.pem"), at("server.key"));
    let server = Running::start(&case().path("models"), &data, &["--tls-cert", &cert, "--tls-key", &key]);
    assert!(server.url.starts_with("https://"));
    std::fs::write(f.join("phrase"), "correct horse\n").unwrap();
    for client in ["alice", "bob"] {
        std::fs::write(f.join(client), token(&data, client, &[]).0).unwrap();
        let ca = at("ca.pem");
        let init = ["client", "init", "--server", &server.url, "--token", client, "--home"];
        let home = format!("home-{client}");
        let all = [&init[..], &[&home, "--ca", &ca, "--passphrase-file", "phrase"]].concat();
        let made = done(f, &all);
        assert!(made["log_qp"].as_f64() <= made["log_qp_bound"].as_f64());
        assert_eq!(made["circuit"], case().model.as_str());
    }
    let predict = |home: &str, more: &[&str]| {
        let image = shipped("samples/digit-5.png");
        let all = [&["client", "predict", &image, "--home", home][..], more].concat();
        json(f, &all)
    };
    let phrase = ["--passphrase-file", "phrase"];
    assert_eq!(predict("home-alice", &phrase).1["answers"][0]["class"], 5);
    assert_eq!(predict("home-alice", &[]).0, 2, "the key is under a passphrase");
    std::fs::write(f.join("wrong"), "battery staple\n").unwrap();
    assert_eq!(predict("home-alice", &["--passphrase-file", "wrong"]).0, 5);
    let jobs = |home: &str| {
        let status = done(f, &["client", "status", "--home", home]);
        status["jobs"].as_array().unwrap().len()
    };
    assert_eq!((jobs("home-alice"), jobs("home-bob")), (1, 0));
    assert_eq!(predict("home-bob", &phrase).1["answers"][0]["class"], 5);

    // A server that nobody vouches for is not spoken to, and neither is one without TLS elsewhere.
    let stranger = ["client", "init", "--server", &server.url, "--token", "bob", "--home", "x"];
    assert_eq!(json(f, &stranger).0, 6);
    let plain = ["client", "init", "--server", "http://192.0.2.1:80", "--token", "bob", "--home", "x"];
    assert_eq!(json(f, &plain).0, 2);
    let open =
        cipherloom(f, &["serve", &case().path("models").display().to_string(), "--listen", "0.0.0.0:0"]);
    assert_eq!(open.status.code(), Some(2), "plain HTTP is for loopback");
}

/// An authority and a certificate of the server at this address in a folder; `false` where openssl is not installed.
pub(super) fn certificates(f: &Path, address: &str) -> bool {
    let openssl = |arguments: &str| {
        Command::new("openssl").args(arguments.split(' ')).current_dir(f).output().is_ok_and(|o| {
            assert!(o.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&o.stderr));
            true
        })
    };
    std::fs::write(f.join("ext"), format!("subjectAltName=IP:{address},DNS:localhost\n")).unwrap();
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {new} -keyout ca.key -out ca.pem -days 2 -subj /CN=test"))
        && openssl(&format!("req {new} -keyout server.key -out server.csr -subj /CN=localhost"))
        && openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem",
        )
}
