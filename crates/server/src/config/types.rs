//! The types of a configuration for an editor and for `tsc`, as one file that declares modules and the global
//! function. The SDK's source holds them; this file knows how they are declared for a project without the SDK.

use crate::embedded;

/// The line of the SDK's source that holds code. Declarations have none.
const CODE: &str = "export const defineConfig: DefineConfig = (config) => config;";
const DECLARATION: &str = "export const defineConfig: DefineConfig;";

/// What `herenow types` prints.
pub fn declarations() -> String {
    let source = embedded::find("sdk/config.ts").expect("it is one of the SDK's sources");
    let source = str::from_utf8(source).expect("the project's sources are UTF-8");
    let mut text = String::from(
        "// The types of edgebase.config.ts. Made by `herenow types`: keep this file beside the configuration.\n\n\
         declare module \"@edgebase/shared\" {\n",
    );
    for line in source.replace(CODE, DECLARATION).lines() {
        if !line.is_empty() {
            text.push_str("  ");
            text.push_str(line);
        }
        text.push('\n');
    }
    text.push_str("}\n");
    for other in ["@edge-base/shared", "herenow/config"] {
        text.push_str(&format!(
            "\ndeclare module \"{other}\" {{\n  export * from \"@edgebase/shared\";\n}}\n"
        ));
    }
    text.push_str(
        "\n/** The same function, for a configuration that imports nothing. */\n\
         declare const defineConfig: import(\"@edgebase/shared\").DefineConfig;\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Kind, SETTINGS, Setting};
    use crate::webhooks::EventKind;

    fn source() -> &'static str {
        str::from_utf8(embedded::find("sdk/config.ts").expect("it is there")).expect("UTF-8")
    }

    #[test]
    fn the_types_have_every_setting_of_the_table_with_its_meaning() {
        let mut settings = String::from("export interface Settings {\n");
        for setting in SETTINGS {
            let Setting { key, meaning, .. } = setting;
            let (default, allowed) = (setting.default(), setting.allowed());
            let kind = match setting.kind {
                Kind::Number { .. } => "number",
                Kind::Address { .. } => "string",
                Kind::Networks { .. } | Kind::Origins { .. } => "readonly string[]",
            };
            settings.push_str(&format!(
                "  /**\n   * {meaning}\n   * Default: {default}. Allowed: {allowed}.\n   */\n  {key}?: {kind};\n"
            ));
        }
        settings.push_str("}\n");
        assert!(source().contains(&settings), "sdk/src/config.ts should contain:\n{settings}");
    }

    #[test]
    fn the_types_have_every_event_of_a_webhook() {
        let events = EventKind::ALL.map(|kind| format!("\n  | \"{}\"", kind.as_str())).concat();
        let events = format!("export type WebhookEvent ={events};\n");
        assert!(source().contains(&events), "sdk/src/config.ts should contain:\n{events}");
    }

    #[test]
    fn declarations_hold_no_code() {
        assert!(source().contains(CODE));
        let text = declarations();
        assert!(text.contains(DECLARATION) && !text.contains("=> config"), "{text}");
    }
}
