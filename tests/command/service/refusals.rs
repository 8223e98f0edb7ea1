//! What the server refuses, and that its description says so.

use super::{Running, case, local_token, token};
use crate::{done, shipped};
use serde_json::Value;

#[test]
fn the_description_is_that_of_the_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&case().path("models"), folder.path(), &[]);
    let token = local_token(folder.path());
    let text = server.get("", "/openapi.json").json();
    assert_eq!(text, done(folder.path(), &["serve", "openapi"]), "the command prints what is served");
    assert!(text["openapi"].as_str().unwrap().starts_with("3.1"), "{}", text["openapi"]);
    let described = |name: &str| &text["components"]["schemas"][name];
    let kinds = described("Problem")["properties"]["kind"]["enum"].as_array().unwrap();
    let fields = described("Problem")["required"].as_array().unwrap();
    let states = described("JobFacts")["properties"]["state"]["enum"].as_array().unwrap();
    assert_eq!((kinds.len(), fields.len(), states.len()), (5, 4, 5), "{text}");
    let mut operations = 0;
    for (path, methods) in text["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap().iter().filter(|(m, _)| m.len() <= 6) {
            operations += 1;
            let real = path.replace("{id}", &"0".repeat(32)).replace("{digest}", &"0".repeat(64));
            let protected = operation.get("security").is_some();
            let method = method.to_uppercase();
            let bare = server.ask("", &method, &real, &[], b"");
            assert_eq!(bare.status == 401, protected, "{method} {path}: {bare:?}");
            let asked = server.ask(&token, &method, &real, &[], b"");
            let said = operation["responses"].as_object().unwrap();
            let (exact, class) = (asked.status.to_string(), format!("{}XX", asked.status / 100));
            assert!(said.contains_key(&exact) || said.contains_key(&class), "{method} {path}: {asked:?}");
            assert!(operation["operationId"].is_string(), "{method} {path}");
            if asked.status >= 400 {
                let problem = asked.json();
                let all = fields.iter().all(|f| problem[f.as_str().unwrap()].is_string());
                assert!(
                    all && problem.as_object().unwrap().len() == fields.len(),
                    "{method} {path}: {problem}"
                );
                assert!(kinds.contains(&problem["kind"]), "{method} {path}: {problem}");
            }
        }
    }
    assert!(operations >= 15, "{operations}");
    assert_eq!(server.get(&token, "/v1/nothing").status, 404);
    assert_eq!(server.ask(&token, "PUT", "/v1/models", &[], b"").status, 405);
    assert_eq!(server.get("", "/v1/health").json()["status"], "ok");
    assert_eq!(server.get("", "/v1/ready").status, 200);
    let models = server.get(&token, "/v1/models").json();
    assert_eq!(models[0]["id"], case().model.as_str());
    let manifest = server.get(&token, &format!("/v1/models/{}/manifest", case().model));
    assert_eq!(manifest.body, std::fs::read(case().path("m")).unwrap());
    let metrics = server.get(&token, "/metrics");
    assert!(
        String::from_utf8_lossy(&metrics.body).contains("cipherloom_requests_total{route=\"/v1/health\"")
    );
}

#[test]
fn tokens_have_scopes_ends_and_owners() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Running::start(&case().path("models"), data, &[]);
    let ((alice, id), (bob, _)) = (token(data, "alice", &[]), token(data, "bob", &[]));
    let (reader, _) = token(data, "alice", &["--scope", "models"]);
    let (old, _) = token(data, "alice", &["--days", "0"]);
    server.register(&alice);
    let name = case().keys_digest();
    let job = server.submit(&alice, 0, "first");
    assert_eq!(job.status, 202, "{job:?}");
    let job = job.json()["id"].as_str().unwrap().to_owned();
    for (token, path, status) in [
        ("cl1-made-up", "/v1/models".to_owned(), 401),
        (&*old, "/v1/models".to_owned(), 401),
        (&*reader, "/v1/models".to_owned(), 200),
        (&*reader, "/v1/keys".to_owned(), 403),
        (&*reader, "/v1/jobs".to_owned(), 403),
        (&*alice, "/metrics".to_owned(), 403),
        (&*alice, format!("/v1/jobs/{job}/result?wait=30"), 200),
        (&*bob, format!("/v1/jobs/{job}"), 404),
        (&*bob, format!("/v1/jobs/{job}/result"), 404),
        (&*bob, format!("/v1/keys/{name}"), 404),
    ] {
        assert_eq!(server.get(token, &path).status, status, "{path}");
    }
    // Another client's keys cannot be used, announced half-way or deleted.
    assert_eq!(server.submit(&bob, 0, "x").status, 404);
    assert_eq!(server.ask(&bob, "DELETE", &format!("/v1/keys/{name}"), &[], b"").status, 404);
    assert_eq!(server.ask(&bob, "DELETE", &format!("/v1/jobs/{job}"), &[], b"").status, 404);
    assert_eq!(server.ask(&bob, "DELETE", "/v1/me", &[], b"").json()["jobs"], 0);
    assert_eq!(server.get(&alice, "/v1/me").json()["jobs"].as_array().unwrap().len(), 1);
    done(data, &["serve", "token", "revoke", &id, "--data", &data.display().to_string()]);
    assert_eq!(server.get(&alice, "/v1/jobs").status, 401, "a revoked token is refused at once");
    let listed = done(data, &["serve", "token", "list", "--data", &data.display().to_string()]);
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 4);
    assert!(!listed.to_string().contains(&bob[..20]));
    let lower = format!("bearer {bob}");
    assert_eq!(server.ask("", "GET", "/v1/jobs", &[("authorization", &lower)], b"").status, 200);
}

#[test]
fn keys_are_resumed_checked_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut server = Running::start(&case().path("models"), data, &[]);
    let token = local_token(data);
    let (case, keys) = (case(), case().keys_digest());
    let announce = |server: &Running, digest: &str, bytes: usize| {
        let text = format!(r#"{{"model":"{}","digest":"{digest}","bytes":{bytes}}}"#, case.model);
        server.ask(&token, "POST", "/v1/keys", &[], text.as_bytes())
    };
    let path = format!("/v1/keys/{keys}");
    let send = |server: &Running, path: &str, from: usize, bytes: &[u8]| {
        server.ask(&token, "PATCH", path, &[("upload-offset", &*from.to_string())], bytes)
    };
    assert_eq!(announce(&server, &keys, 1 << 40).status, 413);
    assert_eq!(announce(&server, "xyz", case.keys.len()).status, 422);
    for bytes in [0, 10] {
        assert_eq!(announce(&server, &"2".repeat(64), bytes).status, 422, "no keys are that small");
    }
    assert_eq!(announce(&server, &keys, case.keys.len()).json()["offset"], 0);
    assert_eq!(announce(&server, &keys, case.keys.len() - 1).status, 409, "the same keys of another size");
    assert_eq!(server.submit(&token, 0, "early").status, 409, "keys that are not whole are not used");
    assert_eq!(send(&server, &path, 5, b"abc").status, 409, "a wrong offset");

    // Half of a piece arrives, then the connection breaks, then the server.
    let half = case.keys.len() / 2;
    {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nupload-offset: 0\r\ncontent-length: {}\r\n\r\n",
            case.keys.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&case.keys[..half]).unwrap();
    }
    let arrived = |server: &Running| server.get(&token, &path).json()["offset"].as_u64().unwrap() as usize;
    let start = std::time::Instant::now();
    while arrived(&server) < half && start.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(arrived(&server), half);
    server.kill();
    let server = Running::start(&case.path("models"), data, &[]);
    assert_eq!(arrived(&server), half, "what had arrived is still there");
    assert_eq!(send(&server, &path, half, &case.keys[half..]).json()["complete"], true);
    assert_eq!(
        announce(&server, &keys, case.keys.len()).json()["complete"],
        true,
        "sent once, known for good"
    );

    // Bytes that are not what was announced, and keys of another circuit.
    let mut broken = case.keys.clone();
    broken[half] ^= 1;
    let digest = "1".repeat(64);
    announce(&server, &digest, broken.len());
    let path = format!("/v1/keys/{digest}");
    assert_eq!(send(&server, &path, 0, &broken).status, 422);
    assert_eq!(server.get(&token, &path).json()["offset"], 0, "nothing of it stays");
    let honest = cipherloom::ir::Digest::of(&broken).to_string();
    announce(&server, &honest, broken.len());
    assert_eq!(send(&server, &format!("/v1/keys/{honest}"), 0, &broken).status, 422, "a damaged section");
    let mut stranger = case.inputs[0].clone();
    stranger.resize(case.keys.len(), 0);
    let digest = cipherloom::ir::Digest::of(&stranger).to_string();
    announce(&server, &digest, stranger.len());
    assert_eq!(send(&server, &format!("/v1/keys/{digest}"), 0, &stranger).status, 422, "no keys at all");

    // More on disk than was announced: what was left from before goes, what came since is no offset.
    let digest = "3".repeat(64);
    let (path, partial) = (format!("/v1/keys/{digest}"), data.join(format!("keys/local/{digest}.part")));
    let longer = vec![0; case.keys.len() + 1];
    std::fs::write(&partial, &longer).unwrap();
    assert_eq!(announce(&server, &digest, case.keys.len()).json()["offset"], 0);
    std::fs::write(&partial, &longer).unwrap();
    assert_eq!(send(&server, &path, longer.len(), b"x").status, 409);
    assert_eq!(server.get(&token, &path).json()["offset"], 0, "it is sent again from the beginning");
}

#[test]
fn jobs_are_checked_named_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Running::start(&case().path("models"), data, &["--queue-per-client", "3"]);
    let token = local_token(data);
    server.register(&token);
    let (model, keys) = (&case().model, case().keys_digest());
    let post = |query: &str, body: &[u8]| server.ask(&token, "POST", &format!("/v1/jobs?{query}"), &[], body);
    let right = format!("model={model}&keys={keys}");
    let mut damaged = case().inputs[0].clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert_eq!(post(&right, b"nonsense").status, 422);
    assert_eq!(post(&right, &damaged).status, 422);
    assert_eq!(post(&right, &case().keys[..1000]).status, 422, "a file of another kind");
    assert_eq!(post(&right, &vec![0; 8 << 20]).status, 413);
    assert_eq!(post(&format!("model={}&keys={keys}", "0".repeat(64)), b"").status, 404);
    assert_eq!(post("model=x", b"").status / 100, 4);
    assert_eq!(server.submit(&token, 0, &"x".repeat(200)).status, 422);

    let first = server.submit(&token, 0, "a").json();
    assert_eq!(server.submit(&token, 0, "a").json()["id"], first["id"], "a repeated request is one job");
    assert_eq!(server.submit(&token, 1, "a").status, 409, "another request under the same name is none");
    let result =
        |id: &Value| server.get(&token, &format!("/v1/jobs/{}/result?wait=30", id.as_str().unwrap()));
    let answer = result(&first["id"]);
    assert!(answer.status == 200 && answer.body == case().answers[0], "{}", answer.head);
    assert!(answer.head.contains("evaluation-ms"));

    let all: Vec<_> = (0..12).map(|k| server.submit(&token, k % 3, &format!("flood-{k}"))).collect();
    let full = all.iter().filter(|a| a.status == 429).collect::<Vec<_>>();
    assert!(full.iter().all(|a| a.head.contains("retry-after: ")), "{full:?}");
    assert!(all.iter().all(|a| [202, 429].contains(&a.status)));
    for (k, job) in all.iter().enumerate().filter(|(_, a)| a.status == 202) {
        assert!(result(&job.json()["id"]).body == case().answers[k % 3], "job {k}");
    }
    // A job that has ended is deleted with its result; one whose result was lost says so.
    let path = format!("/v1/jobs/{}", first["id"].as_str().unwrap());
    let output = data.join(format!("jobs/{}.out", first["id"].as_str().unwrap()));
    let whole = std::fs::read(&output).unwrap();
    std::fs::remove_file(&output).unwrap();
    assert_eq!(result(&first["id"]).status, 410);
    std::fs::write(&output, whole).unwrap();
    assert_eq!(server.ask(&token, "DELETE", &path, &[], b"").json()["state"], "done");
    assert!(server.get(&token, &path).status == 404 && !output.exists());
    assert_ne!(server.submit(&token, 0, "a").json()["id"], first["id"], "its name is free again");
}

#[test]
fn a_model_beyond_the_budget_or_a_second_server_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let models = case().path("models").display().to_string();
    let serve = |more: &[&str]| {
        let all = [&["serve", &models, "--data", &data, "--listen", "127.0.0.1:0", "-q"][..], more].concat();
        crate::json(folder.path(), &all)
    };
    let (code, error) = serve(&["--memory", "1"]);
    assert_eq!((code, error["kind"].as_str()), (6, Some("resources")), "{error}");
    let _server = Running::start(&case().path("models"), folder.path(), &[]);
    let (code, error) = serve(&[]);
    let said = |error: &Value, word: &str| error["what"].as_str().unwrap().contains(word);
    assert!(code == 6 && said(&error, "another server"), "{error}");
    let other = tempfile::tempdir().unwrap();
    let elsewhere = ["serve", &models, "-q", "--data", other.path().to_str().unwrap()];
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, error) = crate::json(other.path(), &[&elsewhere[..], &["--listen", &address]].concat());
    assert!(code == 6 && error["where"] == address.as_str(), "{error}");
    std::fs::write(other.path().join("service.redb"), "no database").unwrap();
    let (code, error) = crate::json(other.path(), &[&elsewhere[..], &["--listen", "127.0.0.1:0"]].concat());
    assert!(code == 3 && said(&error, "damaged"), "{error}");
    assert!(error["where"].as_str().unwrap().ends_with("service.redb"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let (code, _) =
        crate::json(folder.path(), &["serve", &empty.path().display().to_string(), "--data", &data, "-q"]);
    assert_eq!(code, 3, "no circuit");
    let (code, _) =
        crate::json(folder.path(), &["serve", &shipped("samples/digit-3.png"), "--data", &data, "-q"]);
    assert_eq!(code, 3, "no circuit either");
}

#[test]
fn arguments_that_cannot_be_meant_make_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let models = case().path("models").display().to_string();
    for wrong in [
        &[&*models, "--rate", "nan"][..],
        &[&*models, "--rate", "0"],
        &[&*models, "--queue", "0"],
        &[&*models, "--queue-per-client", "0"],
        &[&*models, "--keep-keys", "18446744073709551615"],
        &["--quiet", "token", "list"],
        &["--data", "data", "token", "list"],
        &["token", "list", "--data", "data"],
        &["token", "revoke", "none", "--data", "data"],
    ] {
        let (code, error) = crate::json(f, &[&["serve"], wrong].concat());
        assert_eq!((code, error["kind"].as_str()), (2, Some("usage")), "{wrong:?}: {error}");
    }
    assert_eq!(crate::json(f, &["serve", "none.loom", "--data", "data"]).0, 3);
    assert_eq!(std::fs::read_dir(f).unwrap().count(), 0);
    // No token stays valid that nobody got.
    let add = |place: &str| crate::json(f, &["serve", "token", "add", "a", "--data", "data", "-o", place]);
    let secret = case().path("s");
    let before = std::fs::read(&secret).unwrap();
    assert_eq!((add("none/x").0, add(secret.to_str().unwrap()).0), (6, 2));
    assert!(std::fs::read(&secret).unwrap() == before && !f.join("data").exists());
    assert_eq!(add("x").0, 0);
    assert_eq!(done(f, &["serve", "token", "list", "--data", "data"])["tokens"].as_array().unwrap().len(), 1);
}

#[test]
fn models_of_one_file_name_are_served_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, model: &str| {
        let path = folder.path().join(name).join("m.onnx");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::copy(shipped(model), &path).unwrap();
        path
    };
    let (a, b) = (place("a", "lola.onnx"), place("b", "mlp.onnx"));
    let data = folder.path().join("data");
    let server = Running::start(&a, &data, &[b.to_str().unwrap()]);
    assert_eq!(server.get(&local_token(&data), "/v1/models").json().as_array().unwrap().len(), 2);
}
