//! What a connection is told whose address is full. Its peer would have to be another machine, so
//! the visit is made by hand.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::places::{Caller, Limits, Places, Share};
use super::visit::{Admitted, Visit};
use super::*;
use crate::admission::Source;
use crate::auth::{Keys, Verifier};

#[tokio::test]
async fn an_upgrade_from_a_full_address_is_answered_429_and_a_page_is_still_shown() {
    let settings = Arc::new(Settings { loops: 1, ..Settings::default() });
    let verifier = Arc::new(Verifier::new(&Keys::default()));
    let loops = Loops::start(Arc::clone(&settings), verifier).expect("a loop starts");
    let door = Arc::new(FrontDoor {
        settings,
        loops: loops.clone(),
        pages: Pages::Production,
        minter: None,
        metrics_token: None,
        metrics: DoorMetrics::default(),
        opened: Instant::now(),
    });
    let health = ask(&door, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let upgrade = "GET /api/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let refused = ask(&door, upgrade).await.to_lowercase();
    assert!(refused.starts_with("http/1.1 429"), "{refused}");
    assert!(refused.contains("retry-after: 5"), "{refused}");
    let counted = door.metrics.refused_address_full.load(Ordering::Relaxed);
    assert_eq!((counted, loops.connections()), (1, 0));
    loops.shut_down(Duration::from_secs(1));
}

/// Visits the door as somebody whose address is full, and returns all that it answers.
async fn ask(door: &Arc<FrontDoor>, request: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut client = TcpStream::connect(address).await.expect("it listens");
    client.write_all(request.as_bytes()).await.expect("sent");
    let (stream, peer) = listener.accept().await.expect("the client is there");
    let mut places = Places::new(Limits { all: 1, subnet: 1, site: 1 });
    let caller = Caller { source: Source::of(peer.ip()), share: Share::Limited };
    let (_close, closing) = watch::channel(false);
    let visit = Visit {
        door: Arc::clone(door),
        port: Port::Public,
        peer,
        admitted: Admitted::ToHttpAlone,
        place: places.take(caller, 0),
    };
    visit.attend(stream, closing).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("ASCII");
    answer
}
