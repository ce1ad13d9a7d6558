//! Who may ask.

use serde_json::json;
use tungstenite::client::IntoClientRequest;

use crate::{PROMPT, client::Server};

const PROTOCOL: &str = "hypersd.live.1";

#[test]
fn who_has_no_token_draws_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").expect("written");
    let server = Server::start(&["--token-file", file.to_str().expect("text")]);
    let draw = |token: Option<&str>| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(token.map(|token| ("authorization", token)));
        let body = json!({ "prompt": PROMPT }).to_string();
        server.post_bytes("/v1/images/generations", &headers, body.as_bytes())
    };
    for wrong in [None, Some("Bearer s3cre"), Some("Bearer s3crets"), Some("s3cret"), Some("Basic czNjcmV0")]
    {
        draw(wrong).is_refused(401, &["token"]);
    }
    assert_eq!(draw(Some("Bearer s3cret")).status, 200);
    // A1111's clients have a name and a password: anybody:s3cret.
    assert_eq!(draw(Some("Basic YW55Ym9keTpzM2NyZXQ=")).status, 200);
    for closed in ["/v1/models", "/v1/jobs/x", "/sdapi/v1/options", "/metrics"] {
        assert_eq!(server.get(closed).status, 401, "{closed}");
    }
    assert_eq!(server.get("/health").status, 200);
    assert!(server.page(PROTOCOL).is_err());
    assert!(server.page(&format!("{PROTOCOL}, bearer.wrong")).is_err());
    let mut page = server.page(&format!("{PROTOCOL}, bearer.s3cret")).expect("a page");
    assert_eq!(page.hear().header["type"], "ready");
}

#[test]
fn pages_of_other_origins_may_ask_only_where_that_is_allowed() {
    let server = Server::start(&["--allow-origin", "https://example.org"]);
    let get = |origin: &str| server.get_with("/v1/models", &[("origin", origin)]).status;
    assert_eq!(get(&server.url("")), 200);
    assert_eq!(get("https://example.org"), 200);
    for other in ["https://example.com", "null", "http://127.0.0.1:1", "https://example.org.evil.example"] {
        assert_eq!(get(other), 403, "{other}");
        let mut request = format!("ws://{}/live", server.address).into_client_request().expect("a request");
        request.headers_mut().insert("origin", other.parse().expect("a header"));
        assert!(server.page_with(request).is_err(), "{other}");
    }
}

#[test]
fn another_name_for_this_machine_is_refused() {
    let server = Server::start(&[]);
    // As by a name that somebody else points here: DNS rebinding.
    assert_eq!(server.get_with("/v1/models", &[("host", "evil.example:80")]).status, 403);
    assert_eq!(server.get_with("/v1/models", &[("host", "localhost:1")]).status, 200);
    assert_eq!(server.get_with("/v1/models", &[("host", "[::1]:1")]).status, 200);
}
