use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn refused(path: impl AsRef<Path>, words: &[&str]) {
    let path = path.as_ref();
    let error = Destination::try_out(path).expect_err("nothing can be written there").to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{}: {error}", path.display());
}

#[test]
fn trying_leaves_nothing_and_finds_what_writing_would() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    Destination::try_out(path("x")).expect("a folder to write to");
    assert_eq!(names(folder.path()), [] as [&str; 0]);

    fs::write(path("x"), "before").expect("a file");
    Destination::try_out(path("x")).expect("a file to replace");
    assert_eq!(
        (fs::read_to_string(path("x")).expect("the file").as_str(), names(folder.path())),
        ("before", vec!["x".into()])
    );

    refused(folder.path(), &["expected a file to write, found a folder"]);
    refused(path("no/x"), &["no", "no folder to write to"]);
    refused(path("x/y"), &["x", "no folder to write to"]);
    refused("", &["expected the name of a file"]);
    refused(path(&"n".repeat(300)), &["nnn"]);
}

#[test]
fn a_name_may_be_as_long_as_the_file_system_lets_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("n".repeat(255));
    Destination::try_out(&path).expect("255 bytes").write(b"all").expect("written");
    assert_eq!(fs::read(path).expect("the file"), b"all");
}

#[test]
fn one_file_is_one_file_by_whatever_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| Destination::try_out(folder.path().join(name)).expect("a folder to write to");
    fs::create_dir(folder.path().join("sub")).expect("a folder");
    assert!(at("x").is_same_file(&at("./x")) && at("x").is_same_file(&at("sub/../x")));
    assert!(!at("x").is_same_file(&at("y")) && !at("x").is_same_file(&at("sub/x")));
}

/// The folder of Linux in which not even root makes files.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    refused("/proc/x", &["/proc/x", "the folder /proc cannot be written to"]);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("the file").permissions().mode() & 0o777
    }

    #[test]
    fn links_are_followed_as_open_follows_them() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub")).expect("a folder");
        fs::write(path("sub/there"), "before").expect("a file");
        for (link, target) in [
            ("a", "sub/there"),
            ("b", "a"),
            ("new", "sub/new"),
            ("sub/up", "../above"),
            ("far", "no/x"),
            ("round", "round"),
        ] {
            symlink(target, path(link)).expect("a link");
        }
        for (link, file) in [("b", "sub/there"), ("new", "sub/new"), ("sub/up", "above")] {
            let destination = Destination::try_out(path(link)).expect("a file at its end");
            assert!(destination.is_same_file(&Destination::try_out(path(file)).expect("the file")));
            destination.write(link.as_bytes()).expect("written");
            assert!(path(link).is_symlink() && !path(file).is_symlink());
            assert_eq!(fs::read_to_string(path(file)).expect("the file"), link);
        }
        refused(path("far"), &["no", "no folder to write to"]);
        refused(path("round"), &["round", "circle"]);
    }

    #[test]
    fn permissions_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x");
        for kept in [0o600, 0o640, 0o666, 0o755] {
            fs::write(&path, "before").expect("a file");
            fs::set_permissions(&path, Permissions::from_mode(kept)).expect("permissions");
            Destination::try_out(&path).expect("a file to replace").write(b"after").expect("written");
            assert_eq!((fs::read(&path).expect("the file"), mode(&path)), (b"after".to_vec(), kept));
        }
        // A new one has what the system gives to new files.
        let (ours, systems) = (folder.path().join("ours"), folder.path().join("systems"));
        Destination::try_out(&ours).expect("a folder").write(b"new").expect("written");
        fs::write(&systems, "new").expect("a file");
        assert_eq!(mode(&ours), mode(&systems));
    }

    #[test]
    fn a_pipe_is_written_to_and_stays_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        let pipe = Destination::try_out(&path).expect("a pipe"); // with nobody at its other end
        assert!(!pipe.is_same_file(&pipe.clone()));
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read(path).expect("the pipe")
        });
        pipe.write(b"all of it").expect("written");
        assert_eq!(reader.join().expect("the reader"), b"all of it");
        assert_eq!(names(folder.path()), ["pipe"]);
    }

    #[test]
    fn a_device_is_written_to_and_stays_one() {
        Destination::try_out("/dev/null").expect("a device").write(b"nothing").expect("written");
        assert!(is_stream(&fs::metadata("/dev/null").expect("the device")));
        refused("/dev/null/x", &["/dev/null", "no folder to write to"]);
    }

    #[test]
    fn a_socket_takes_no_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        refused(&path, &["socket", "nothing that can be written to"]);
    }
}
