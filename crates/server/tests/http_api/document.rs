//! `GET /openapi.json`.

use serde_json::Value;

use herenow_server::auth::ServiceKeys;

use crate::server::{Server, ask};

#[test]
fn the_document_is_openapi_3_1_and_needs_no_key() {
    for server in [Server::start(), Server::with_keys(ServiceKeys::default(), |_| {})] {
        let answer = ask(server.0.addr, ("GET", "/openapi.json"), "", None);
        let document = answer.json();
        assert_eq!(document["openapi"], "3.1.0");
    }
}

#[test]
fn the_document_names_every_path_each_with_its_refusals() {
    let server = Server::start();
    let document = server.get("/openapi.json").json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            operations.push(format!("{method} {}", path.trim_start_matches("/api/presence")));
            let responses = operation["responses"].as_object().expect("responses");
            for status in ["400", "401", "503"] {
                let problem = &responses[status]["content"]["application/problem+json"];
                assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{path}");
            }
            assert!(operation["operationId"].is_string() && operation["summary"].is_string());
        }
    }
    operations.sort_unstable();
    let wanted = [
        "delete /channels/{channel}/presence/{key}",
        "get /channels",
        "get /channels/{channel}",
        "get /channels/{channel}/events",
        "get /channels/{channel}/presence",
        "get /explain",
        "get /users/{userId}",
        "post /channels/query",
        "post /channels/{channel}/kick",
        "post /users/query",
        "post /users/{userId}/disconnect",
        "put /channels/{channel}/presence/{key}",
    ];
    assert_eq!(operations, wanted);
    let limit = &document["paths"]["/api/presence/channels"]["get"]["parameters"];
    let limit = limit.as_array().unwrap().iter().find(|p| p["name"] == "limit").unwrap();
    assert_eq!((&limit["schema"]["maximum"], &limit["in"]), (&Value::from(1000), &"query".into()));
}
