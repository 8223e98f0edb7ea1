//! A home's files without a server.

use super::*;

fn server(ca: Option<&[u8]>) -> Server {
    let token = Token::new("t").unwrap();
    Server { url: "https://example.org".into(), token, ca: ca.map(<[u8]>::to_vec) }
}

#[test]
fn a_home_is_its_owners_alone_and_trusts_the_authority_of_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(&folder.path().join("home"));
    std::fs::create_dir(home.folder()).unwrap();
    home.create().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = || std::fs::metadata(home.folder()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o700, "one that stood there");
    }
    home.write(&server(Some(b"pem")), &Digest([1; 32]), None).unwrap();
    assert_eq!(home.server().unwrap().ca.as_deref(), Some(&b"pem"[..]));
    home.write(&server(None), &Digest([1; 32]), None).unwrap();
    assert_eq!(home.server().unwrap().ca, None);
}

/// A folder of somebody's is not closed to others, whatever `--home` says.
#[cfg(unix)]
#[test]
fn a_folder_of_other_files_is_no_home() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".new-notes"), "mine").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = Home::at(folder.path());
    assert_eq!(home.create().unwrap_err().kind, Kind::Usage);
    let mode = || std::fs::metadata(home.folder()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o755);
    std::fs::write(home.secret_path(), "key").unwrap();
    home.create().unwrap();
    home.remove_temporary().unwrap();
    assert_eq!((mode(), folder.path().join(".new-notes").exists()), (0o700, true));
}

#[test]
fn a_damaged_home_is_told_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    assert_eq!(home.registered(&Digest([1; 32])), Ok(None));
    std::fs::write(home.facts_path(), "{").unwrap();
    for error in [home.registered(&Digest([1; 32])).unwrap_err(), home.forget_keys().unwrap_err()] {
        assert!(error.kind == Kind::BadInput && error.what.starts_with("is damaged"), "{error}");
    }
    assert_eq!(std::fs::read(home.facts_path()).unwrap(), b"{");
}

#[test]
fn keys_go_with_their_secret_and_leftovers_with_the_home() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let (model, keys) = (Digest([1; 32]), Digest([2; 32]));
    home.write(&server(None), &model, Some(keys)).unwrap();
    std::fs::write(home.keys_path(), "old").unwrap();
    home.forget_keys().unwrap();
    assert_eq!((home.registered(&model), home.keys_path().exists()), (Ok(None), false));
    home.note_keys(keys).unwrap();
    assert_eq!(home.registered(&model), Ok(Some(keys)));

    std::fs::write(folder.path().join(".new-abcdef"), "half").unwrap();
    std::fs::write(folder.path().join("mine"), "").unwrap();
    home.remove_temporary().unwrap();
    assert!(!folder.path().join(".new-abcdef").exists());
    std::fs::write(folder.path().join(".new-ghijkl"), "half").unwrap();
    home.remove().unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"]);
}

#[test]
fn who_changes_a_home_keeps_others_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let (sender, waiting) = std::sync::mpsc::channel();
    let held = home.lock(|| panic!("nobody else is here")).unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| home.lock(|| sender.send(()).unwrap()).map(drop));
        waiting.recv().unwrap();
        drop(held);
        assert_eq!(other.join().unwrap(), Ok(()));
    });
}
