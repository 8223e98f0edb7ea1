//! Server and client on two hosts: network namespaces with one wire between them, and TLS.

use super::journey::certificates;
use super::{Running, case, token};
use crate::shipped;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const SERVER: &str = "10.231.77.1";
const CLIENT: &str = "10.231.77.2";

/// Two network namespaces joined by a pair of virtual interfaces; removed when dropped.
struct Hosts {
    server: String,
    client: String,
}

impl Hosts {
    /// `None` where this user may not make them.
    fn new() -> Option<Hosts> {
        let id = std::process::id();
        let hosts = Hosts { server: format!("loom-s{id}"), client: format!("loom-c{id}") };
        let Hosts { server: s, client: c } = &hosts;
        let all = [
            format!("netns add {s}"),
            format!("netns add {c}"),
            format!("link add wire netns {s} type veth peer name wire netns {c}"),
            format!("-n {s} addr add {SERVER}/30 dev wire"),
            format!("-n {c} addr add {CLIENT}/30 dev wire"),
            format!("-n {s} link set wire up"),
            format!("-n {c} link set wire up"),
        ];
        all.iter().all(|arguments| ip(arguments)).then_some(hosts)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        [&self.server, &self.client].iter().for_each(|name| {
            ip(&format!("netns del {name}"));
        });
    }
}

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|out| out.status.success())
}

/// The command, to be run on a host.
fn on(host: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host, env!("CARGO_BIN_EXE_cipherloom")]);
    command
}

fn client(host: &str, folder: &Path, arguments: &[&str]) -> (Output, Value) {
    let all = ["client", "predict", &shipped("samples/digit-7.png"), "--home", "home", "--json"];
    let out = on(host).current_dir(folder).args(all).args(arguments).output().unwrap();
    let said = serde_json::from_slice(&out.stdout).or_else(|_| serde_json::from_slice(&out.stderr));
    (out, said.unwrap_or_default())
}

#[test]
fn a_client_on_another_host_predicts_over_tls() {
    let Some(hosts) = Hosts::new() else {
        eprintln!("skipped: network namespaces cannot be made here");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    if !certificates(f, SERVER) {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let at = |name: &str| f.join(name).display().to_string();
    let (data, cert, key) = (f.join("data"), at("server.pem"), at("server.key"));
    std::fs::create_dir(&data).unwrap();
    std::fs::write(f.join("token"), token(&data, "alice", &[]).0).unwrap();
    let listen = format!("{SERVER}:8750");
    let tls = ["--listen", &listen, "--tls-cert", &cert, "--tls-key", &key];
    let server = Running::start_by(on(&hosts.server), &case().path("models"), &data, &tls);
    let there = ["--server", &server.url, "--token", "token", "--ca", "ca.pem"];
    let (out, answer) = client(&hosts.client, f, &there);
    assert_eq!(answer["answers"][0]["class"], 7, "{out:?}");

    // With the wire cut the client says so in time; with the wire back, the home it has goes on.
    assert!(ip(&format!("-n {} link set wire down", hosts.client)));
    let (out, error) = client(&hosts.client, f, &[]);
    assert_eq!((out.status.code(), error["kind"].as_str()), (Some(6), Some("resources")), "{out:?}");
    assert!(ip(&format!("-n {} link set wire up", hosts.client)));
    let (out, answer) = client(&hosts.client, f, &[]);
    assert_eq!(answer["answers"][0]["class"], 7, "{out:?}");
    assert_eq!(server.terminate(), Some(0));
}
