//! The page, whose files are in this program.

use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

macro_rules! file {
    ($path:literal, $kind:expr) => {
        ($path, $kind, include_bytes!(concat!("../../crates/hypersd-web/page", $path)))
    };
}

/// The files of the page by their paths, with their types, as `crates/hypersd-web` has them. There is no other way to a file.
static FILES: &[(&str, &str, &[u8])] = &[
    file!("/app.js", JAVASCRIPT),
    file!("/engine/server.js", JAVASCRIPT),
    file!("/icon.svg", "image/svg+xml"),
    file!("/icons.svg", "image/svg+xml"),
    file!("/ideas.js", JAVASCRIPT),
    file!("/index.html", "text/html; charset=utf-8"),
    file!("/live.js", JAVASCRIPT),
    file!("/photo.js", JAVASCRIPT),
    file!("/sketch.js", JAVASCRIPT),
    file!("/style.css", "text/css; charset=utf-8"),
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page.
pub(crate) async fn page(uri: Uri) -> Response {
    let path = match uri.path() {
        "/" => "/index.html",
        path => path,
    };
    match FILES.iter().find(|(file, ..)| *file == path) {
        Some((_, kind, bytes)) => {
            let headers = [
                (header::CONTENT_TYPE, *kind),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                // A newer server has a newer page.
                (header::CACHE_CONTROL, "no-cache"),
            ];
            (headers, drawn_by_server(bytes)).into_response()
        }
        None => (StatusCode::NOT_FOUND, "nothing is here; docs/server.md lists what this server answers\n")
            .into_response(),
    }
}

/// The page as it is here, where the pictures are drawn by the server and not in the page.
fn drawn_by_server(bytes: &'static [u8]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text
            .replace(r#"<meta name="engine" content="worker">"#, r#"<meta name="engine" content="server">"#)
            .replace(
                r#"rel="modulepreload" href="engine/local.js""#,
                r#"rel="modulepreload" href="engine/server.js""#,
            )
            .into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}
