use std::os::unix::net::{UnixDatagram, UnixStream};

use super::*;

/// A folder that is gone with this.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("herenow-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_file_has_its_mode_and_is_removed_at_the_end() {
    let folder = Folder::new("mode");
    for mode in [0o600, 0o666] {
        let (listener, file) = listen(&folder.socket(), mode).expect("nothing lies there");
        let found = fs::metadata(folder.socket()).expect("it is there");
        assert_eq!(found.permissions().mode() & 0o777, mode);
        drop((listener, file));
        assert!(!folder.socket().exists());
    }
}

#[tokio::test]
async fn the_socket_of_a_process_that_lives_is_left_alone() {
    let folder = Folder::new("lives");
    let (listener, _file) = listen(&folder.socket(), 0o600).expect("nothing lies there");
    let refused = listen(&folder.socket(), 0o600).expect_err("one listens there");
    assert!(matches!(refused, ListenError::PathTaken { .. }), "{refused}");
    UnixStream::connect(folder.socket()).expect("it listens as before");
    drop(listener);
}

#[tokio::test]
async fn the_socket_of_a_dead_process_is_replaced_and_the_dead_one_removes_nothing() {
    let folder = Folder::new("dead");
    let (listener, old) = listen(&folder.socket(), 0o600).expect("nothing lies there");
    drop(listener);
    let (_listener, new) = listen(&folder.socket(), 0o600).expect("the other one is dead");
    drop(old);
    UnixStream::connect(folder.socket()).expect("it listens");
    drop(new);
    assert!(!folder.socket().exists());
}

#[tokio::test]
async fn what_is_no_socket_of_a_server_is_not_removed() {
    let folder = Folder::new("other");
    fs::write(folder.socket(), "precious").expect("the folder can be written");
    let refused = listen(&folder.socket(), 0o600).expect_err("a file lies there");
    assert!(matches!(refused, ListenError::NoSocket { .. }), "{refused}");
    assert_eq!(fs::read(folder.socket()).expect("it is there"), b"precious");
    fs::remove_file(folder.socket()).expect("it is there");
    let _datagrams = UnixDatagram::bind(folder.socket()).expect("nothing lies there");
    let refused = listen(&folder.socket(), 0o600).expect_err("another kind of socket");
    assert!(matches!(refused, ListenError::NoSocket { .. }), "{refused}");
}

#[tokio::test]
async fn two_that_start_at_once_do_not_replace_each_other() {
    let folder = Folder::new("lock");
    let held = File::open(&folder.0).expect("it is there");
    held.try_lock().expect("nobody holds it");
    let refused = listen(&folder.socket(), 0o600).expect_err("the other one is about to listen");
    assert!(matches!(refused, ListenError::PathTaken { .. }), "{refused}");
    drop(held);
    listen(&folder.socket(), 0o600).expect("the other one has gone");
}
