//! A server in this process, on a thread of its own and with a runtime of its own as in the binary,
//! so that what a test does takes no turns from it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use herenow_client::raw::RawConnection;
use herenow_server::Listeners;
use herenow_server::access::Rules;
use herenow_server::auth::Keys;
use herenow_server::config::{Config, Pages, Reloadable, Settings};
use tokio::sync::{mpsc, oneshot};

use crate::token;

/// What a server is started with.
pub struct Setup {
    /// By default those that an operator gets who sets none, but for two loops: what crosses between
    /// loops is to be tested on every machine.
    pub settings: Settings,
    /// By default the secret of [`token`](crate::token).
    pub keys: Keys,
    /// By default those of production.
    pub pages: Pages,
    /// By default [`any_port`].
    pub addr: SocketAddr,
    /// Where a listener for metrics alone is wanted.
    pub metrics_addr: Option<SocketAddr>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: Settings { loops: 2, ..Settings::default() },
            keys: token::keys(),
            pages: Pages::Production,
            addr: any_port(),
            metrics_addr: None,
        }
    }
}

/// A port of this machine that is free.
pub fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A server that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    /// Where users come in.
    pub addr: SocketAddr,
    /// The listener for metrics alone.
    pub metrics_addr: Option<SocketAddr>,
    reloads: mpsc::Sender<Reloadable>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens when this returns.
    pub fn start(setup: Setup) -> Self {
        let Setup { settings, keys, pages, addr, metrics_addr } = setup;
        let config = Config { settings, keys, pages, service_manager: Default::default() };
        let (public, addr) = listen(addr);
        let (metrics, metrics_addr) = metrics_addr.map(listen).unzip();
        let (stop, stopped) = oneshot::channel();
        let (reloads, reloaded) = mpsc::channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(async {
                let listener =
                    |it| tokio::net::TcpListener::from_std(it).expect("it is a listener");
                let listeners = Listeners {
                    public: vec![listener(public).into()],
                    metrics: metrics.map(listener),
                };
                let stop = async { drop(stopped.await) };
                let ran = herenow_server::run_reloading(config, listeners, reloaded, stop).await;
                ran.expect("the server runs");
            });
        });
        Self { addr, metrics_addr, reloads, stop: Some(stop), thread: Some(thread) }
    }

    /// A connection that has said nothing yet.
    pub async fn connect(&self) -> RawConnection {
        RawConnection::connect(self.addr, "").await
    }

    /// Puts these rules in force.
    pub async fn reload(&self, rules: Rules) {
        self.reloads.send(rules.into()).await.expect("the server runs");
    }

    /// Begins to shut down, as on SIGTERM.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Shuts down and waits until the server has returned.
    pub fn join(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(addr: SocketAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(addr).expect("the address is free");
    listener.set_nonblocking(true).expect("a listener can be");
    let addr = listener.local_addr().expect("a listener has an address");
    (listener, addr)
}
