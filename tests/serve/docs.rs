//! The lines of docs/server.md that ask with curl, as they stand there.

use std::process::Command;

use crate::client::Server;

#[test]
#[expect(clippy::print_stderr, reason = "what was not run is said")]
fn the_lines_of_the_documentation_do_what_they_say() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("NOT RUN: curl is not installed");
        return;
    }
    let page = include_str!("../../docs/server.md");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    let blocks: Vec<_> = blocks.filter(|block| block.contains("curl")).collect();
    assert!(blocks.len() >= 4, "{} blocks", blocks.len());
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    for block in blocks {
        let script = block.replace("localhost:8188", &server.address.to_string());
        let output =
            Command::new("bash").args(["-euo", "pipefail", "-c", &script]).current_dir(&folder).output();
        let output = output.expect("bash runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{block}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("\"error\""), "{block}\n{said}");
    }
    for written in ["mushroom.png", "edited.png", "job.png"] {
        hypersd::Image::open(folder.path().join(written)).expect("a picture");
    }
}
