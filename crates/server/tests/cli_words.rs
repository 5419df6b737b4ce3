//! The command as an operator meets it: a process, its exit code, and the one sentence it says.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn herenow(arguments: &[&str]) -> Command {
    herenow_testing::herenow(env!("CARGO_BIN_EXE_herenow"), arguments)
}

fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn serve_without_a_key_says_what_to_set() {
    let (code, _, said) = outcome(&mut herenow(&["serve", "--listen", "127.0.0.1:0"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("JWT_USER_SECRET_FILE") && said.contains("herenow dev"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_empty_secret_is_no_secret() {
    let mut command = herenow(&["serve", "--listen", "127.0.0.1:0"]);
    let (code, _, said) = outcome(command.env("JWT_USER_SECRET", ""));
    assert_eq!(code, Some(2));
    assert!(said.contains("there is no key"), "{said}");
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let port = address.port().to_string();
    let (code, _, said) = outcome(&mut herenow(&["dev", "--port", &port]));
    assert_eq!(code, Some(2));
    assert!(said.contains(&format!("port {port}")) && said.contains("--port"), "{said}");
    let mut serve = herenow(&["serve", "--listen", &address.to_string()]);
    let (code, _, said) = outcome(serve.env("JWT_USER_SECRET", "x".repeat(32)));
    assert_eq!(code, Some(2));
    assert!(said.contains(&format!("port {port}")) && said.contains("--listen"), "{said}");
}

#[test]
fn wrong_settings_are_refused_with_what_would_be_right() {
    let mut command = herenow(&["dev", "--port", "0"]);
    let (code, _, said) = outcome(command.env("HERENOW_PRESENCE_TTL", "soon"));
    assert_eq!(code, Some(2));
    assert!(said.contains("HERENOW_PRESENCE_TTL") && said.contains("whole number"), "{said}");
    let (code, _, said) = outcome(&mut herenow(&["dev", "--config", "/nowhere/at/all.json"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("/nowhere/at/all.json"), "{said}");
}

#[test]
fn a_former_name_of_a_setting_stops_the_start_and_a_check_with_the_present_name() {
    let path = std::env::temp_dir().join(format!("herenow-former-{}.json", std::process::id()));
    let file = path.to_str().expect("the temporary folder's name is UTF-8");
    for (former, present) in [
        ("outboxBytes", "sendQueueBytes"),
        ("maxNewcomersPerAddress", "maxUnauthenticatedPerAddress"),
    ] {
        let json = format!("{{\"realtime\": {{\"{former}\": 65536}}}}");
        std::fs::write(&path, json).expect("a temporary file");
        for (command, exit_code) in [(&["check"][..], 1), (&["dev", "--port", "0"], 2)] {
            let given = [command, &["--config", file]].concat();
            let (code, _, said) = outcome(&mut herenow(&given));
            assert_eq!(code, Some(exit_code), "{said}");
            let expected = format!("`{former}` has been renamed: write `{present}` instead");
            assert!(said.trim_end().ends_with(&expected), "{said}");
        }
    }
    std::fs::remove_file(&path).expect("it was just written");
    for (former, present) in [
        ("outbox-bytes", "send-queue-bytes"),
        ("max-newcomers-per-address", "max-unauthenticated-per-address"),
    ] {
        let variable = |flag: &str| format!("HERENOW_{}", flag.to_uppercase().replace('-', "_"));
        for (command, exit_code) in [(&["check"][..], 1), (&["dev", "--port", "0"], 2)] {
            let flag = format!("--{former}");
            let (code, _, said) = outcome(&mut herenow(&[command, &[&flag, "65536"]].concat()));
            let expected =
                format!("herenow: `{flag}` has been renamed: write `--{present}` instead\n");
            assert_eq!((code, said), (Some(exit_code), expected));
            let (from, to) = (variable(former), variable(present));
            let (code, _, said) = outcome(herenow(command).env(&from, "65536"));
            let expected = format!("herenow: `{from}` has been renamed: write `{to}` instead\n");
            assert_eq!((code, said), (Some(exit_code), expected));
        }
        let (_, help, _) = outcome(&mut herenow(&["serve", "--help"]));
        assert!(help.contains(present) && !help.contains(former), "{help}");
    }
}

#[test]
fn help_shows_examples_and_every_setting() {
    let (code, said, _) = outcome(&mut herenow(&["--help"]));
    assert_eq!(code, Some(0));
    assert!(said.contains("Examples:") && said.contains("herenow token --user jane"), "{said}");
    let (_, said, _) = outcome(&mut herenow(&["serve", "--help"]));
    for key in ["presenceTTL", "HERENOW_MAX_CONNECTIONS", "allowedOrigins", "--listen"] {
        assert!(said.contains(key), "{key}\n{said}");
    }
}

#[test]
fn token_prints_a_token_and_nothing_else() {
    let mut command =
        herenow(&["token", "--user", "jane", "--ttl", "1h", "--claims", "{\"team\":7}"]);
    let (code, said, errors) = outcome(command.env("JWT_USER_SECRET", "x".repeat(32)));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(said.trim_end().split('.').count(), 3, "{said}");
    let (code, _, said) = outcome(&mut herenow(&["token", "--user", "jane"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("JWT_USER_SECRET"), "{said}");
}

#[test]
fn a_token_names_the_issuer_and_the_audience_that_servers_ask_for() {
    let printed = |arguments: &[&str]| {
        let mut command = herenow(&[&["token", "--user", "jane"], arguments].concat());
        command.env("JWT_USER_SECRET", "x".repeat(32)).env("JWT_ISSUER", "me");
        let (code, said, _) = outcome(command.env("JWT_AUDIENCE", "app"));
        assert_eq!(code, Some(0));
        let payload = said.split('.').nth(1).expect("three parts").to_owned();
        let bytes = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
        serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON")
    };
    let claims = printed(&[]);
    assert_eq!((&claims["iss"], &claims["aud"]), (&"me".into(), &"app".into()));
    let claims = printed(&["--claims", "{\"iss\":\"you\"}"]);
    assert_eq!((&claims["iss"], &claims["aud"]), (&"you".into(), &"app".into()));
}

#[test]
fn keys_are_refused_with_what_would_be_right() {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--jwks"];
    let (code, _, said) = outcome(&mut herenow(&[&serve[..], &["/nowhere/keys.json"]].concat()));
    assert_eq!(code, Some(2));
    assert!(said.contains("the JWKS file /nowhere/keys.json cannot be read"), "{said}");
    let weak = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_jwks/keys/rsa_of_1024_bits.json");
    let mut command = herenow(&serve[..3]);
    let (code, _, said) = outcome(command.env("JWT_JWKS_FILE", weak));
    assert_eq!(code, Some(2));
    assert!(said.contains("1024 bits; it should have 2048 to 4096"), "{said}");
    let mut command = herenow(&[&serve[..3], &["--secret-file", "/nowhere/secret"]].concat());
    let (code, _, said) = outcome(&mut command);
    assert_eq!(code, Some(2));
    assert!(said.contains("/nowhere/secret, which JWT_USER_SECRET_FILE names"), "{said}");
    let (code, _, said) = outcome(herenow(&["token", "--user", "jane"]).env("JWT_JWKS_FILE", weak));
    assert_eq!(code, Some(2));
    assert!(said.contains("no secret to sign with"), "{said}");
}

#[test]
fn a_flag_wins_over_its_variable_and_that_over_the_file() {
    let path = std::env::temp_dir().join(format!("herenow-order-{}.json", std::process::id()));
    std::fs::write(&path, r#"{"realtime":{"maxMembers":5}}"#).expect("a temporary file");
    let file = path.to_str().expect("the temporary folder's name is UTF-8");
    let members = |arguments: &[&str], variable: Option<&str>| {
        let mut command = herenow(&[&["check", "--config", file], arguments].concat());
        command.envs(variable.map(|value| ("HERENOW_MAX_MEMBERS", value)));
        let (code, said, errors) = outcome(&mut command);
        assert_eq!(code, Some(0), "{errors}");
        let line = said
            .lines()
            .find(|line| line.trim_start().starts_with("maxMembers"))
            .map(str::to_owned);
        line.unwrap_or_else(|| panic!("no maxMembers in {said}"))
    };
    let has = |line: String, number: &str| line.split_whitespace().any(|word| word == number);
    let (in_file, in_environment) = (members(&[], None), members(&[], Some("6")));
    let as_flag = members(&["--max-members", "7"], Some("6"));
    std::fs::remove_file(&path).expect("it was just written");
    assert!(has(in_file, "5") && has(in_environment, "6") && has(as_flag, "7"));
    let (code, _, said) = outcome(&mut herenow(&["dev", "--max-members", "many"]));
    assert_eq!(code, Some(2));
    let right = "'--max-members <N>': it should be a whole number of members from 1 to 1000000";
    assert!(said.contains(right), "{said}");
}

#[test]
fn a_short_secret_is_warned_of_and_never_shown() {
    let mut command = herenow(&["token", "--user", "jane"]);
    let (code, _, errors) = outcome(command.env("JWT_USER_SECRET", "hunter2"));
    assert_eq!(code, Some(0));
    assert!(errors.contains("shorter than 32 bytes"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn health_asks_a_server_and_exits_with_its_answer() {
    let server = herenow_testing::Server::start(herenow_testing::Setup::default());
    let url = format!("http://{}", server.addr);
    let (code, said, errors) = outcome(&mut herenow(&["health", "--url", &url]));
    assert_eq!((code, said.as_str(), errors.as_str()), (Some(0), "ready\n", ""));
    let mut of_the_settings = herenow(&["health"]);
    of_the_settings.env("HERENOW_LISTEN", format!("0.0.0.0:{}", server.addr.port()));
    assert_eq!(outcome(&mut of_the_settings).0, Some(0));
    server.join();
    let (code, said, errors) = outcome(&mut herenow(&["health", "--url", &url]));
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(errors.contains(&url) && errors.lines().count() == 1, "{errors}");
    let (code, _, errors) = outcome(&mut herenow(&["health", "--url", "https://example.com"]));
    assert_eq!(code, Some(2));
    assert!(errors.contains("the server itself"), "{errors}");
}

#[test]
fn health_is_bad_where_something_else_answers_or_says_that_it_is_not_ready() {
    for (answer, expected) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\nThe server is stopping.\n",
            "not ready: The server is stopping.",
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "does not answer like a Herenow server"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "does not answer like a Herenow server"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let answering = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("it is asked");
            let mut request = [0; 1024];
            assert_ne!(peer.read(&mut request).expect("a request"), 0);
            peer.write_all(answer.as_bytes()).expect("it listens");
        });
        let (code, _, errors) = outcome(&mut herenow(&["health", "--url", &url]));
        answering.join().expect("it answers");
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn bash_completes_commands_and_flags() {
    let binary = env!("CARGO_BIN_EXE_herenow");
    let complete = |words: &str| {
        let script = format!(
            "source <('{binary}' completions bash) && COMP_WORDS=({words}) && \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) && \
             _herenow herenow \"${{COMP_WORDS[COMP_CWORD]}}\" && echo \"${{COMPREPLY[@]}}\""
        );
        let (code, said, errors) = outcome(Command::new("bash").args(["-c", &script]));
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        said.trim_end().to_owned()
    };
    assert_eq!(complete("herenow se"), "serve");
    assert_eq!(complete("herenow serve --lis"), "--listen");
    assert_eq!(complete("herenow load"), "", "a hidden command is completed");
    assert_eq!(complete("herenow serve --rehea"), "", "a hidden flag is completed");
}

#[test]
fn every_shell_has_completions_and_every_command_a_manual_page() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, said, errors) = outcome(&mut herenow(&["completions", shell]));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{shell}");
        assert!(said.contains("herenow") && said.contains("serve"), "{said}");
    }
    let (code, said, _) = outcome(&mut herenow(&["man"]));
    assert_eq!(code, Some(0));
    assert!(said.contains(".TH herenow 1") && said.contains("herenow\\-serve(1)"), "{said}");
    for command in ["dev", "serve", "check", "token", "health", "completions", "man"] {
        let (code, said, _) = outcome(&mut herenow(&["man", command]));
        assert_eq!(code, Some(0), "{command}");
        assert!(said.contains(&format!(".TH herenow-{command} 1")), "{said}");
    }
    let (code, _, errors) = outcome(&mut herenow(&["man", "load-config"]));
    assert_eq!(code, Some(2));
    assert!(errors.contains("no such command") && errors.contains("serve"), "{errors}");
}

#[test]
fn dev_says_where_it_is_and_stops_on_sigterm_and_sigint() {
    for signal in ["TERM", "INT"] {
        let mut server = herenow(&["dev", "--port", "0", "--log-format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut said = BufReader::new(server.stdout.take().expect("it is piped")).lines();
        let greeting = said.next().expect("a greeting").expect("UTF-8");
        assert!(greeting.contains("http://127.0.0.1:"), "{greeting}");
        let last = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("Ctrl-C")));
        last.expect("the whole greeting").expect("UTF-8");
        kill(&server, signal);
        let status = server.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        let mut logs = String::new();
        let mut stderr = server.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut logs).expect("UTF-8");
        for line in logs.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
        }
    }
}

fn kill(server: &Child, signal: &str) {
    let id = server.id().to_string();
    let killed = Command::new("kill").args(["-s", signal, &id]).status();
    assert!(killed.expect("kill runs").success());
}
