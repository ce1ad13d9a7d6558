//! The `generate` example as a test runs it: `cargo test` builds the examples, so the program is there.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use hypersd_testing::weights;
use tempfile::TempDir;

/// The exit status of a command line that cannot be right.
pub(crate) const USAGE: i32 = 2;

pub(crate) fn model() -> String {
    weights("").join("tiny-sd15").display().to_string()
}

pub(crate) fn lora() -> String {
    weights("").join("tiny-sd15-lora.safetensors").display().to_string()
}

/// Runs the program in a folder of its own.
pub(crate) struct Run {
    folder: TempDir,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    pub(crate) fn generate(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// The program with its arguments, to be run in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let test = std::env::current_exe().expect("this test"); // target/<profile>/deps/generate-…
        let target = test.ancestors().nth(2).expect("target/<profile>");
        let program = target.join("examples").join(format!("generate{}", std::env::consts::EXE_SUFFIX));
        assert!(program.is_file(), "{}: expected the example, built", program.display());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn written(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Asserts that a run fails with a status, one message that holds all of `words`, and no file written.
pub(crate) fn refused(arguments: &[&str], status: i32, words: &[&str]) {
    let run = Run::new();
    let output = run.generate(arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: no {word:?} in {message:?}");
    }
    assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    assert_eq!(run.written(), [] as [&str; 0], "{arguments:?}: nothing is left behind");
    assert!(output.stdout.is_empty(), "{arguments:?}: standard output stays empty");
}

/// As [`refused`], with the tiny model before the arguments.
pub(crate) fn refused_with_model(arguments: &[&str], status: i32, words: &[&str]) {
    let model = model();
    let arguments: Vec<&str> = ["--model", &model].into_iter().chain(arguments.iter().copied()).collect();
    refused(&arguments, status, words);
}
