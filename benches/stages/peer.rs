//! A program that runs stages when it is asked to.
//!
//! It is started with the driver's options and `--serve`, and says `ready` and the names of the stages that it can run.
//! Then each line on its standard input is the name of a stage, which it prepares if need be, runs once, and answers
//! with the seconds the run took, until the device is done; or `memory`, which it answers with its peak so far in bytes
//! (on the CPU `VmHWM`, which counts the touched pages of mapped files; of a GPU's, what its allocator has taken). It
//! ends when its input does.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    str::FromStr,
};

use crate::Task;

/// Its name in the table, and how it is started.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    command: Vec<String>,
}

impl Peer {
    /// This program.
    pub(crate) fn hypersd() -> Self {
        let program = env::current_exe().expect("this program").display().to_string();
        Self { name: "hypersd".into(), command: vec![program] }
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let (name, command) = given.split_once('=').ok_or("expected NAME=COMMAND")?;
        let command: Vec<_> = command.split_whitespace().map(String::from).collect();
        if command.is_empty() {
            return Err("expected a command after NAME=".into());
        }
        Ok(Self { name: name.into(), command })
    }
}

/// One that runs.
pub(crate) struct Process {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    stages: Vec<String>,
}

impl Process {
    pub(crate) fn start(peer: &Peer, task: &Task) -> Result<Self, String> {
        let [program, arguments @ ..] = peer.command.as_slice() else { unreachable!("checked when parsed") };
        let mut child = Command::new(program)
            .args(arguments)
            .arg("--serve")
            .args(task.arguments())
            .env("RAYON_NUM_THREADS", task.threads.to_string())
            .env("OMP_NUM_THREADS", task.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{program}: {e}"))?;
        let questions = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut process = Self { child, questions, answers, stages: Vec::new() };
        let ready = process.answer()?;
        let stages = ready.strip_prefix("ready").ok_or_else(|| format!("not ready: {ready:?}"))?;
        process.stages = stages.split_whitespace().map(String::from).collect();
        Ok(process)
    }

    pub(crate) fn has(&self, stage: &str) -> bool {
        self.stages.iter().any(|name| name == stage)
    }

    /// Seconds of a stage, or bytes of `memory`.
    pub(crate) fn ask(&mut self, question: &str) -> Result<f64, String> {
        writeln!(self.questions, "{question}").map_err(|e| e.to_string())?;
        let answer = self.answer()?;
        answer.parse().map_err(|_| format!("expected a number, found {answer:?}"))
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|e| e.to_string())?;
        Ok(line.trim().into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("process {} could not be ended: {error}", self.child.id());
        }
    }
}
