//! The page, as a browser asks for it.

use crate::client::Server;

#[test]
fn the_page_and_all_that_it_names_are_there() {
    let server = Server::start(&[]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    let page = page.text();
    assert!(page.contains(r#"<meta name="engine" content="server">"#), "the server draws, not the page");
    let named = ["href=\"", "src=\""].into_iter().flat_map(|attribute| page.split(attribute).skip(1));
    let named: Vec<_> = named.filter_map(|rest| rest.split(['"', '#']).next()).collect();
    let files = named.iter().filter(|name| !name.is_empty() && !name.contains(':'));
    let mut found = 0;
    for name in files {
        assert_eq!(server.get(&format!("/{}", name.trim_start_matches("./"))).status, 200, "{name}");
        found += 1;
    }
    assert!(found >= 3, "{named:?}");
}

#[test]
fn there_is_no_way_to_other_files() {
    let server = Server::start(&[]);
    for path in
        ["/Cargo.toml", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/engine/", "/engine/../../Cargo.toml"]
    {
        assert_ne!(server.get(path).status, 200, "{path}");
    }
}
