//! A proxy that ends TLS before a server, with a certificate of an authority that exists for one test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::authority::{Authority, Issued};

/// Ends TLS for `localhost` before a server, until the test's process ends.
pub struct TlsProxy {
    /// Where it listens.
    pub addr: SocketAddr,
    /// A file with the certificate of its authority.
    pub authority: PathBuf,
}

impl TlsProxy {
    /// Starts one.
    pub fn before(server: SocketAddr) -> Self {
        let authority = Authority::new();
        let Issued { certificate, key } = authority.issue();
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("they are supported")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("it is a key"),
            )
            .expect("the key is that of the certificate");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("a listener can be");
        let addr = listener.local_addr().expect("it has one");
        let path = std::env::temp_dir().join(format!("herenow-authority-{}.pem", addr.port()));
        std::fs::write(&path, authority.pem()).expect("it can be written");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            runtime.expect("a runtime").block_on(serve(listener, acceptor, server));
        });
        Self { addr, authority: path }
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.authority));
    }
}

async fn serve(listener: std::net::TcpListener, acceptor: TlsAcceptor, server: SocketAddr) {
    let listener = TcpListener::from_std(listener).expect("it is a listener");
    loop {
        let (client, _) = listener.accept().await.expect("it accepts");
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not trust the certificate ends here.
            let Ok(mut client) = acceptor.accept(client).await else { return };
            let mut server = TcpStream::connect(server).await.expect("the server listens");
            drop(copy_bidirectional(&mut client, &mut server).await);
        });
    }
}
