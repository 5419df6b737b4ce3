//! The runtime on which clients and proxies live, so that they go on while a test waits for a process.

use std::future::{Future, pending};
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

pub fn background() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be had");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(pending::<()>()));
        handle
    })
}

pub fn wait_for<T>(work: impl Future<Output = T>) -> T {
    background().block_on(work)
}
