//! A net between client and server that can stand still, in one direction too, and break.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on between clients and the server, until it is told not to.
pub struct Proxy {
    /// Where it listens.
    pub addr: SocketAddr,
    net: watch::Sender<Net>,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From who connects.
    ToServer,
    /// Back.
    ToClient,
}

#[derive(Clone, Copy, Default)]
struct Net {
    /// Bytes stay where they are; no end is told of it.
    holds_to_server: bool,
    holds_to_client: bool,
    /// How often all connections of the time were reset.
    cuts: u64,
}

impl Net {
    fn passes(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => !self.holds_to_server,
            Direction::ToClient => !self.holds_to_client,
        }
    }
}

impl Proxy {
    /// One for this server, which may not be there yet. It passes until the runtime ends.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("there is a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let (net, _) = watch::channel(Net::default());
        let heard = net.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // With the server away the connection ends as it would without a proxy.
                if let Ok(far) = TcpStream::connect(server).await {
                    tokio::spawn(pass_on(near, far, heard.subscribe()));
                }
            }
        });
        Self { addr, net }
    }

    /// Resets every connection that runs through it now.
    pub fn cut(&self) {
        self.net.send_modify(|net| net.cuts += 1);
    }

    /// Nothing passes from now on, and nobody is told: what a peer that fell asleep looks like.
    pub fn stand_still(&self) {
        self.hold(Direction::ToServer);
        self.hold(Direction::ToClient);
    }

    /// The same of one direction only.
    pub fn hold(&self, direction: Direction) {
        self.net.send_modify(|net| match direction {
            Direction::ToServer => net.holds_to_server = true,
            Direction::ToClient => net.holds_to_client = true,
        });
    }

    /// What waited passes.
    pub fn go_on(&self) {
        self.net.send_modify(|net| *net = Net { cuts: net.cuts, ..Net::default() });
    }
}

async fn pass_on(mut near: TcpStream, mut far: TcpStream, net: watch::Receiver<Net>) {
    let mut cuts = net.clone();
    let before = net.borrow().cuts;
    let (from_client, to_client) = near.split();
    let (from_server, to_server) = far.split();
    let both = async {
        tokio::join!(
            copy(from_client, to_server, Direction::ToServer, net.clone()),
            copy(from_server, to_client, Direction::ToClient, net.clone()),
        )
    };
    tokio::select! {
        _ = both => return,
        _ = cuts.wait_for(|net| net.cuts > before) => {}
    }
    for end in [near, far] {
        end.set_zero_linger().expect("an open socket takes the option");
    }
}

/// Ends at the end of `from`, which is passed on, or if an end is gone.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut net: watch::Receiver<Net>,
) {
    let mut bytes = [0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        // What has come while the net stands still waits too, and so does an end.
        if net.wait_for(|net| net.passes(direction)).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
