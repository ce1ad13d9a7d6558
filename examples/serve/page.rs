//! The page, whose files are in this program.

use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

/// The files of the page by their paths, with their types. There is no other way to a file.
static FILES: &[(&str, &str, &[u8])] = &[];

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
            (headers, *bytes).into_response()
        }
        None => (StatusCode::NOT_FOUND, "nothing is here; docs/server.md lists what this server answers\n")
            .into_response(),
    }
}
