//! The recipes of docs/tokens.md as they stand there: each is run with a fixed secret and time, and the
//! server's verifier judges its tokens. Where a language is missing, its recipe has to be the one that
//! ran last, to the byte.

mod languages;

use std::process::Command;

use herenow_server::auth::{Keys, Secret, Verifier};
use herenow_testing::Folder;
use languages::{LANGUAGES, Language, Presence};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const GUIDE: &str = include_str!("../../../../docs/tokens.md");
const SECRET: &str = "an example secret of 32 bytes!!!";
const ROLE: &str = "member";
const NOW_S: u64 = 1_800_000_000;
const LIFETIME_S: u64 = 15 * 60;

/// Ids that a recipe has to escape, or to encode as UTF-8.
const USERS: [&str; 3] = ["jane", "Zoë 👋 \"Z\" \\ /", "a\nb\u{1}\u{7f}"];

#[test]
fn each_recipe_signs_a_token_that_the_server_accepts() {
    for language in &LANGUAGES {
        if is_at_hand(language) {
            let folder = prepared(language);
            for user in USERS {
                assert_accepted(language, &token_of(language, &folder, user), user);
            }
        } else {
            eprintln!("{} is not installed: its recipe is compared and not run", language.name);
        }
        assert_is_as_it_ran(language);
    }
}

#[test]
fn the_guide_has_the_token_that_each_recipe_returns_for_its_example() {
    let golden = block(GUIDE, "text");
    assert_accepted(&LANGUAGES[0], golden.trim(), USERS[0]);
    for value in [SECRET, USERS[0], ROLE, &NOW_S.to_string()] {
        assert!(GUIDE.contains(&format!("| `{value}` |")), "{value}");
    }
    for language in &LANGUAGES[..2] {
        assert_eq!(token_of(language, &prepared(language), USERS[0]), golden.trim());
    }
}

#[test]
fn the_guide_has_a_recipe_for_each_language_and_no_other() {
    let headings: Vec<&str> = GUIDE.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, LANGUAGES.map(|language| language.name));
}

fn is_at_hand(language: &Language) -> bool {
    let runs = command(language.probe).output().is_ok_and(|output| output.status.success());
    let optional = matches!(language.presence, Presence::Optional { .. });
    assert!(runs || optional, "{} is needed", language.name);
    runs
}

/// The recipe of the guide and its drivers in a folder, built.
fn prepared(language: &Language) -> Folder {
    let folder = Folder::new();
    folder.write(language.file, recipe(language));
    for (name, text) in language.drivers {
        folder.write(name, text);
    }
    if !language.build.is_empty() {
        succeeded(language, command(language.build).current_dir(folder.path()));
    }
    folder
}

fn token_of(language: &Language, folder: &Folder, user: &str) -> String {
    let mut run = command(language.run);
    run.args([SECRET, user, ROLE, &NOW_S.to_string()]).current_dir(folder.path());
    let mut token = succeeded(language, &mut run);
    assert_eq!(token.pop(), Some('\n'), "{}", language.name);
    token
}

fn succeeded(language: &Language, command: &mut Command) -> String {
    let output = command.output().expect("the language is at hand");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", language.name);
    String::from_utf8(output.stdout).expect("tokens are ASCII")
}

/// A command that reads its arguments as UTF-8, whatever the settings of the machine are.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("LC_ALL", "C.UTF-8");
    command
}

fn assert_accepted(language: &Language, token: &str, user: &str) {
    let keys = Keys { secret: Secret::new(SECRET.as_bytes()), ..Keys::default() };
    let auth = Verifier::new(&keys).verify(token, NOW_S * 1000);
    let auth = auth.unwrap_or_else(|error| panic!("{}, {user}: {error}", language.name));
    assert_eq!(auth.user.as_str(), user, "{}", language.name);
    let claims: Value = serde_json::from_str(&auth.claims).expect("claims are JSON");
    let expected = json!({"exp": NOW_S + LIFETIME_S, "role": ROLE, "sub": user});
    assert_eq!(claims, expected, "{}", language.name);
}

/// The digest is stated in the code, so that a machine without the language sees a change as well.
fn assert_is_as_it_ran(language: &Language) {
    let Presence::Optional { last_ran } = language.presence else { return };
    let digest: String =
        Sha256::digest(recipe(language)).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        digest, last_ran,
        "the recipe of {} has changed: run this test where the language is installed, and if the server accepts \
         its tokens, write the new digest into languages.rs",
        language.name
    );
}

/// The first block of code below the heading of the language.
fn recipe(language: &Language) -> &'static str {
    let heading = format!("\n### {}\n", language.name);
    let (_, section) = GUIDE.split_once(&heading).expect("the guide has the language");
    block(section, "")
}

/// The first block of code whose language begins with this.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n```{language}")).expect("there is a block");
    let (_, code) = rest.split_once('\n').expect("the fence ends its line");
    let (code, _) = code.split_once("\n```\n").expect("the block ends");
    code
}
