//! A fault of a thread on which rules run costs the question that it was at.

use serde_json::{Value, json};

use crate::process::{Launch, Process};

const RULES: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: (auth) => auth.id === 'jane' } } } } });";
/// More often than there are threads.
const FAULTS: usize = 10;

#[tokio::test]
async fn a_rule_thread_that_a_fault_ends_is_replaced() {
    let config = std::env::temp_dir().join(format!("herenow-rules-{}.ts", std::process::id()));
    std::fs::write(&config, RULES).expect("the temporary folder can be written");
    let settings = vec![("HERENOW_CONFIG", config.to_string_lossy().into_owned())];
    let arguments = vec!["--rehearse".into(), "rule-thread-fault=presence:faulty".into()];
    let server = Process::launch(Launch { settings, arguments, ..Launch::default() }).await;
    let mut jane = server.sign_in("jane").await;
    let mut bob = server.sign_in("bob").await;
    for _ in 0..FAULTS {
        // Neither a yes nor a no, and the connection stays.
        jane.send(json!({"type": "subscribe", "channel": "presence:faulty"})).await;
        assert_eq!(jane.next_message().await["code"], "SERVER_ERROR");
    }
    server.wait_for("was contained");
    for n in 0..FAULTS {
        let channel = format!("presence:good-{n}");
        for (peer, is_granted) in [(&mut jane, true), (&mut bob, false)] {
            peer.send(json!({"type": "subscribe", "channel": channel})).await;
            let reply = peer.next_message().await;
            let (key, value) = match is_granted {
                true => ("type", "subscribed"),
                false => ("code", "CHANNEL_ACCESS_DENIED"),
            };
            assert_eq!(reply[key], Value::from(value));
        }
        assert_eq!(jane.next_message().await["type"], "presence_sync");
    }
    std::fs::remove_file(config).expect("it was written");
}
