//! Words for the user, who may have stopped listening: what cannot be said must not cost the picture.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

/// Prints what was asked for. A reader that has enough (`| head`) is no failure; a full disk is.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says something that is no error but should be known.
pub(crate) fn note(what: impl Display) {
    line(format_args!("note: {what}"));
}

/// Says a line on standard error, where anybody hears it.
pub(crate) fn line(what: impl Display) {
    // In one piece, so that lines of programs that share a terminal stay whole. There is nobody to tell that nobody listens.
    let _ = io::stderr().write_all(format!("{what}\n").as_bytes());
}
