//! Configuration files as people write them: found, read, checked, and refused with the place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use herenow_core::Right;
use herenow_server::config::{self, ConfigError, Loaded, Unknown};
use herenow_wire::ChannelName;
use serde_json::json;

/// A folder of its own for one test; gone with this.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("herenow-config-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        for (name, text) in files {
            let path = folder.0.join("conf").join(name);
            let parent = path.parent().expect("it lies in a folder");
            std::fs::create_dir_all(parent).expect("the temporary folder can be written");
            std::fs::write(path, text).expect("the folder can be written");
        }
        folder
    }

    fn conf(&self) -> PathBuf {
        self.0.join("conf")
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        let path = config::find(&self.conf()).expect("there is a configuration");
        load_file(&path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load_file(path: &Path) -> Result<Loaded, ConfigError> {
    load_file_with(path, Unknown::Refused)
}

fn load_file_with(path: &Path, unknown: Unknown) -> Result<Loaded, ConfigError> {
    let environment = BTreeMap::from([("STAGE".to_owned(), "90".to_owned())]);
    config::load(Some(path), &environment, unknown)
}

fn load(source: &str) -> Result<Loaded, ConfigError> {
    Folder::with(&[("edgebase.config.ts", source)]).load()
}

fn complaint(files: &[(&str, &str)]) -> String {
    match Folder::with(files).load() {
        Ok(loaded) => panic!("{files:?} should be refused, gave {loaded:?}"),
        Err(error) => error.to_string(),
    }
}

/// Whether the user with these claims may see `channel`.
fn may_see(loaded: &Loaded, channel: &str, claims: Option<serde_json::Value>) -> bool {
    let channel = ChannelName::parse(channel).expect("a channel");
    let claims = claims.as_ref().and_then(|claims| claims.as_object());
    loaded.settings.rules.explain(&channel, Right::Subscribe, claims).grants()
}

#[test]
fn the_snippets_of_the_reference_page_work_unchanged() {
    let loaded = load(
        "// edgebase.config.ts
export default defineConfig({
realtime: {
presenceTTL: 60000, // 60 seconds (default)
},
});
",
    )
    .expect("the page's first snippet");
    let no_rules = "no rules: every authenticated user may subscribe and track everywhere";
    assert_eq!((loaded.settings.presence_ttl_ms, loaded.warnings), (60_000, vec![no_rules.into()]));
    let loaded = load(
        "export default defineConfig({
realtime: {
namespaces: {
'presence:*': {
access: {
subscribe(auth) { return auth !== null },
},
},
},
}
});
",
    )
    .expect("the page's second snippet");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert!(may_see(&loaded, "presence:game-room", Some(json!({"sub": "jane"}))));
    assert!(!may_see(&loaded, "presence:game-room", None));
}

#[test]
fn a_file_of_a_larger_project_is_taken_as_it_is() {
    let folder = Folder::with(&[
        (
            "edgebase.config.ts",
            "import { defineConfig, type Config } from '@edgebase/shared';
             import { defineConfig as same } from '@edge-base/shared';
             import type { Auth } from './types';
             import { Role, isStaff } from './rules/roles.js';
             import * as names from './names.mjs';

             interface Realtime { presenceTTL: number; [key: string]: unknown }
             const seconds = (count: number): number => count * 1000;
             const ttl = seconds(Number(process.env.STAGE ?? '60'));
             const unset: string | undefined = process.env.NO_SUCH_VARIABLE;

             const realtime = {
               presenceTTL: ttl as number,
               namespaces: {
                 [`presence:${names.staff}-*`]: {
                   access: {
                     async subscribe(auth: Auth | null, channel: string): Promise<boolean> {
                       return isStaff(auth!, Role.Admin) && channel.length > 0 && unset === undefined;
                     },
                     publish: (): boolean => true,
                   },
                   maxMembers: 5_000,
                 },
                 'chat:*': { access: { subscribe: () => true } },
               },
             } satisfies Realtime;

             export default same(defineConfig({
               databases: { main: { tables: {} } },
               auth: { providers: ['google'] },
               realtime,
             } as Config));",
        ),
        ("types.ts", "this file is never read: only types come from it"),
        (
            "rules/roles.ts",
            "import { ADMIN } from '../constants';
             export enum Role { User = 'user', Admin = ADMIN as any }
             export const isStaff = (auth: { role?: string }, role: Role): boolean => auth?.role === role;",
        ),
        ("constants.ts", "export const ADMIN = 'admin' as const;"),
        ("names.mjs", "export const staff = 'staff';"),
    ]);
    let said = folder.load().expect_err("`publish` is asked by nobody").to_string();
    assert!(
        said.contains("`namespaces['presence:staff-*'].access.publish` has no effect"),
        "{said}"
    );
    let path = config::find(&folder.conf()).expect("there is a configuration");
    let loaded = load_file_with(&path, Unknown::Ignored).expect("it serves other programs too");
    assert_eq!(loaded.settings.presence_ttl_ms, 90_000);
    assert_eq!(loaded.settings.rules.rows()[0].1.max_members, Some(5_000));
    assert!(may_see(&loaded, "presence:staff-1", Some(json!({"sub": "a", "role": "admin"}))));
    assert!(!may_see(&loaded, "presence:staff-1", Some(json!({"sub": "a", "role": "user"}))));
    assert_eq!(loaded.warnings.len(), 3, "{:?}", loaded.warnings);
    for (warning, names) in loaded.warnings.iter().zip([
        "databases, auth",
        "publish` has no effect",
        "['chat:*']` has no effect",
    ]) {
        assert!(warning.contains(names), "{warning}");
    }
    let mut files: Vec<_> =
        loaded.files.iter().map(|path| path.strip_prefix(folder.conf()).expect("below")).collect();
    files.sort();
    let expected =
        ["constants.ts", "edgebase.config.ts", "names.mjs", "rules/roles.ts"].map(Path::new);
    assert_eq!(files, expected);
}

#[test]
fn javascript_and_json_are_found_in_this_order() {
    let code = |ttl: u32| format!("export default {{ realtime: {{ presenceTTL: {ttl} }} }}");
    let (js, mjs) = (code(61_000), code(62_000));
    let json = r#"{"realtime": {"presenceTTL": 63000}}"#;
    let mut files = vec![
        ("edgebase.config.js", js.as_str()),
        ("edgebase.config.mjs", mjs.as_str()),
        ("edgebase.config.json", json),
    ];
    for ttl in [61_000, 62_000, 63_000] {
        let loaded = Folder::with(&files).load().expect("a good configuration");
        assert_eq!(loaded.settings.presence_ttl_ms, ttl);
        files.remove(0);
    }
    assert_eq!(config::find(&std::env::temp_dir().join("there-is-no-such-folder")), None);
}

#[test]
fn what_may_not_be_imported_is_refused_with_its_place() {
    for (import, says) in [
        (
            "import fs from 'node:fs'; fs;",
            "1:16: `node:fs` cannot be imported: a configuration may",
        ),
        ("import { z } from 'zod'; z;", "1:19: `zod` cannot be imported"),
        ("import { a } from 'https://example.com/a.js'; a;", "cannot be imported"),
        ("import { a } from '/etc/passwd'; a;", "cannot be imported"),
        (
            "\nexport { a } from '../outside.ts';",
            "2:19: `../outside.ts` cannot be imported: it leaves",
        ),
        ("import { a } from './sub/../../outside'; a;", "it leaves the folder"),
        ("import { a } from './../conf/ok.ts'; a;", "it leaves the folder"),
        ("import { a } from './link.ts'; a;", "it leaves the folder"),
        ("import { a } from './missing'; a;", "there is no such file"),
        ("import a from './data.json'; a;", "it should end in .ts, .js or .mjs"),
        ("import { a } from '.'; a;", "cannot be imported"),
        (
            "const a = await import('./ok.ts'); a;",
            "1:17: `import()` cannot be imported: modules are",
        ),
        ("import { b } from './ok.ts'; b;", "Could not find export 'b'"),
    ] {
        let source = format!("{import}\nexport default {{}};");
        let folder = Folder::with(&[
            ("edgebase.config.ts", &source),
            ("ok.ts", "export const a = 1;"),
            ("data.json", "{}"),
            ("sub/x.ts", ""),
        ]);
        let outside = folder.0.join("outside.ts");
        std::fs::write(&outside, "export const a = 1;").expect("the folder can be written");
        std::os::unix::fs::symlink(&outside, folder.conf().join("link.ts")).expect("a link");
        let said = folder.load().expect_err("it may not be imported").to_string();
        assert!(said.starts_with("edgebase.config.ts") && said.contains(says), "{said}");
    }
}

#[test]
fn what_is_wrong_is_pointed_at_in_the_file_as_it_was_written() {
    for (source, says) in [
        (
            "interface Gone {\n  a: 1;\n}\nexport default defineConfig({\n  realtime: {\n    presenceTTL: '60s',\n  },\n});",
            "edgebase.config.ts:6:5: `presenceTTL` is \"60s\"; it should be a whole number of ms from",
        ),
        (
            "export default { realtime: {\n presenceTtl: 1 } }",
            "edgebase.config.ts:2:2: there is no setting `presenceTtl` under `realtime`; did you mean `presenceTTL`?",
        ),
        (
            "const one = {\n  access: { subscibe: () => true },\n};\nexport default { realtime: { namespaces: { 'presence:*': one } } }",
            "edgebase.config.ts:2:13: there is no setting `subscibe` under `namespaces['presence:*'].access`; did you mean `subscribe`?",
        ),
        (
            "export default { realtime: { namespaces: { 'presence:*': { access: { track: true } } } } }",
            "`namespaces['presence:*'].access.track` is true; it should be a function",
        ),
        (
            "export default { realtime: { maxMembers: () => 1 } }",
            "`maxMembers` is a function; it should",
        ),
        (
            "export default { realtime: { maxMembers: 1 / 0 } }",
            "`maxMembers` is Infinity; it should",
        ),
        ("export default { realtime: { maxMembers: 5n } }", "`maxMembers` is 5n; it should"),
        ("export default { realtime: [] }", "`realtime` is a list; it should be an object"),
        ("export default () => ({})", "the default export is a function; call it"),
        ("export default undefined", "the default export is undefined; it should be an object"),
        ("module.exports = {}", "edgebase.config.ts cannot be evaluated: it threw"),
        ("export const config = {}", "there is no default export"),
        ("export default {\n  realtime: {{}\n}", "edgebase.config.ts:2:14: "),
        ("\n\nexport default missing({})", "it threw at edgebase.config.ts:3:16: ReferenceError"),
        (
            "type T = { a: 1 };\n\nthrow new Error('not today');\nexport default {}",
            "at edgebase.config.ts:3:11: Error: not today",
        ),
        (
            "\nfor (;;) {}\nexport default {}",
            "in the function or statement at edgebase.config.ts:2:",
        ),
        (
            "const all = []; for (;;) all.push(new Uint8Array(1 << 20));\nexport default {}",
            "16 MiB",
        ),
        (
            "const a: any = {}; a.a = a;\nexport default { realtime: { namespaces: a } }",
            "`namespaces.a` has no effect: no channel can match it",
        ),
    ] {
        let said = complaint(&[("edgebase.config.ts", source)]);
        assert!(said.contains(says), "{says}\nis not in\n{said}");
    }
}

#[test]
fn an_error_in_an_imported_file_names_that_file() {
    let said = complaint(&[
        ("edgebase.config.ts", "import { a } from './rules/a'; export default { realtime: a };"),
        ("rules/a.ts", "export const a: number = ;"),
    ]);
    assert!(said.starts_with("rules/a.ts:1:26: "), "{said}");
    let said = complaint(&[
        ("edgebase.config.ts", "import { a } from './rules/a'; export default { realtime: a() };"),
        ("rules/a.ts", "type Gone = 1;\nexport function a(): object {\n  throw new Error('x');\n}"),
    ]);
    assert!(said.contains("it threw at rules/a.ts:3:13: Error: x"), "{said}");
}
