//! A net between client and server that can stand still and break.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on between whoever connects and the server, until it is told not to.
pub struct Proxy {
    pub addr: SocketAddr,
    net: watch::Sender<Net>,
}

#[derive(Clone, Copy, Default)]
struct Net {
    /// Bytes stay where they are; no end is told of it.
    is_still: bool,
    /// How often all connections of the time were reset.
    cuts: u64,
}

impl Proxy {
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
        self.net.send_modify(|net| net.is_still = true);
    }

    /// What waited passes.
    pub fn go_on(&self) {
        self.net.send_modify(|net| net.is_still = false);
    }
}

async fn pass_on(mut near: TcpStream, mut far: TcpStream, mut net: watch::Receiver<Net>) {
    let cuts = net.borrow().cuts;
    loop {
        let now = *net.borrow_and_update();
        if now.cuts > cuts {
            for end in [near, far] {
                end.set_zero_linger().expect("an open socket takes the option");
            }
            return;
        }
        // An end of the proxy itself is the end of what runs through it.
        let told = if now.is_still {
            net.changed().await
        } else {
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => return,
                told = net.changed() => told,
            }
        };
        if told.is_err() {
            return;
        }
    }
}
