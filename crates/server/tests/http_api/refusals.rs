//! Requests that are wrong whatever they ask for.

use serde_json::json;

use crate::server::Server;

const BODY: &str = r#"{"userIds": ["jane"]}"#;

#[test]
fn a_path_that_does_not_exist_is_not_found() {
    let server = Server::start();
    for path in ["", "/", "/nothing", "/channels/", "/channels/a/", "/channels/a/b", "/users"] {
        for method in ["GET", "POST", "PUT"] {
            server.send(method, path, None).is_refused(404, "NOT_FOUND");
        }
    }
}

#[test]
fn a_method_that_a_path_does_not_take_is_told_which_it_takes() {
    let server = Server::start();
    for (method, path, allow) in [
        ("POST", "/channels", "GET,HEAD"),
        ("OPTIONS", "/channels", "GET,HEAD"),
        ("PATCH", "/channels/a", "GET,HEAD"),
        ("DELETE", "/channels/a/presence", "GET,HEAD"),
        ("GET", "/channels/a/presence/bot", "PUT,DELETE"),
        ("PUT", "/users/query", "POST"),
        ("BREW", "/users/jane", "GET,HEAD"),
    ] {
        let answer = server.send(method, path, None);
        answer.is_refused(405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn a_query_parameter_that_is_unknown_or_given_twice_is_refused() {
    let server = Server::start();
    for path in [
        "/channels?prefx=a",
        "/channels?limit=1&limit=1",
        "/channels?prefix=a&prefix=b",
        "/channels?Limit=1",
        "/channels/a?limit=1",
        "/channels/a/presence?prefix=a",
        "/users/jane?channel=a",
    ] {
        server.get(path).is_refused(400, "INVALID_PARAMETER");
    }
    server.send("POST", "/users/query?limit=1", Some(BODY)).is_refused(400, "INVALID_PARAMETER");
    let named = server.get("/channels?prefx=a").detail();
    assert!(named.contains("`prefx`") && named.contains("`prefix`"), "{named}");
}

#[test]
fn a_limit_is_a_whole_number_from_1_to_1000() {
    let server = Server::start();
    for list in ["/channels", "/channels/a/presence", "/users/jane"] {
        for good in ["1", "1000"] {
            server.get(&format!("{list}?limit={good}")).json();
        }
        for wrong in ["0", "1001", "-1", "1.5", "", "all", "1e2", "99999999999999999999"] {
            let answer = server.get(&format!("{list}?limit={wrong}"));
            answer.is_refused(400, "INVALID_PARAMETER");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_this_list_has_not_given_is_refused() {
    let server = Server::start();
    let (mut peer, _) = server.join("jane", "presence:a", json!({})).await;
    crate::server::track(&mut peer, "presence:b", json!({})).await;
    let next = server.get("/channels?limit=1").json();
    let next = next["next"].as_str().expect("there is another");
    server.get(&format!("/channels?cursor={next}")).json();
    for path in [
        "/channels?cursor=",
        "/channels?cursor=a",
        "/channels?cursor=%C3%A9",
        &format!("/channels?cursor={next}A"),
        &format!("/channels?cursor={}", &next[1..]),
        &format!("/channels?prefix=a&cursor={next}"),
        &format!("/channels/a/presence?cursor={next}"),
        &format!("/users/jane?cursor={next}"),
    ] {
        server.get(path).is_refused(400, "INVALID_CURSOR");
    }
}

#[test]
fn a_target_that_is_not_percent_encoded_utf8_is_refused() {
    let server = Server::start();
    for path in [
        "/channels/%ff",
        "/channels/%",
        "/channels/a%2",
        "/channels/%zz/presence",
        "/users/%c3",
        "/channels?prefix=%ff",
        "/channels?prefix=%g1",
        "/nothing/%ff",
    ] {
        server.get(path).is_refused(400, "INVALID_PARAMETER");
    }
}

#[test]
fn a_body_that_is_no_json_or_has_unknown_fields_is_refused() {
    let server = Server::start();
    let post = |body: &str| server.send("POST", "/users/query", Some(body));
    assert_eq!(post(BODY).json(), json!({"users": []}));
    for wrong in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        r#"[["jane"], "a"]"#,
        r#"{"userIds": "jane"}"#,
        r#"{"userIds": [1]}"#,
        r#"{"userIds": ["jane"], "chanel": "a"}"#,
        r#"{"userIds": ["jane"], "userIds": ["joe"]}"#,
        r#"{"userIds": ["\ud800"]}"#,
        r#"{"userIds": ["jane"]} x"#,
    ] {
        post(wrong).is_refused(400, "INVALID_PARAMETER");
    }
    let named = post(r#"{"userIds": [], "chanel": "a"}"#).detail();
    assert!(named.contains("`chanel`") && named.contains("`channel`"), "{named}");
}

#[test]
fn answers_are_for_the_holder_of_a_key_alone() {
    let server = Server::start();
    for answer in [server.get("/channels"), server.get("/nothing")] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}
