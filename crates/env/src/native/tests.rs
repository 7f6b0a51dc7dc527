use std::{io, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::native::env;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn atomic_write_replaces_the_whole_file_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let disk = env().disk;
    disk.write_atomic(&path, b"a longer first content", true)
        .unwrap();
    disk.write_atomic(&path, b"second", true).unwrap();
    assert_eq!(disk.read(&path, 6).unwrap(), b"second");
    assert_eq!(disk.list(folder.path()).unwrap(), [Path::new("key")]);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn failed_atomic_write_keeps_the_old_state() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("file"), b"x").unwrap();
    // A folder that is not empty cannot be renamed over.
    assert!(env().disk.write_atomic(&taken, b"bytes", false).is_err());
    assert_eq!(env().disk.list(folder.path()).unwrap().len(), 0);
}

#[test]
fn reading_refuses_a_file_beyond_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, b"12345").unwrap();
    let error = env().disk.read(&path, 4).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn second_lock_of_a_folder_is_refused_until_the_first_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let disk = env().disk;
    let first = disk.lock(folder.path()).unwrap();
    let refused = disk.lock(folder.path()).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    drop(first);
    assert!(disk.lock(folder.path()).is_ok());
}

#[test]
fn created_folder_is_private_and_its_parents_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    env().disk.create_folder(&inner).unwrap();
    env().disk.create_folder(&inner).unwrap();
    assert_eq!(mode(&inner), 0o700);
}

#[test]
fn allocated_space_is_zero_and_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = env().disk.open(&path, true).unwrap();
    file.write_at(b"abc", 0).unwrap();
    file.allocate(4096).unwrap();
    file.allocate(16).unwrap();
    assert_eq!(file.length().unwrap(), 4096);
    let mut buffer = [1; 8];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
    assert_eq!(&buffer, b"abc\0\0\0\0\0");
    assert_eq!(file.read_at(&mut buffer, 4092).unwrap(), 4);
    file.truncate(3).unwrap();
    file.sync().unwrap();
    assert_eq!(file.length().unwrap(), 3);
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn tcp_carries_bytes_and_names_the_peer() {
    let net = env().net;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = net.listen(any).await.unwrap();
    let port = listener.local_address().unwrap().port();
    let (client, accepted) = tokio::join!(net.connect("127.0.0.1", port), listener.accept());
    let (mut server, peer) = accepted.unwrap();
    client.unwrap().write_all(b"hello").await.unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    assert!(peer.unwrap().ip().is_loopback());
}

#[tokio::test]
async fn local_socket_is_private_replaces_a_dead_one_and_refuses_a_live_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let net = env().net;
    drop(net.listen_local(&path).await.unwrap());
    let mut live = net.listen_local(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    let refused = net.listen_local(&path).await.err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    let (client, accepted) = tokio::join!(net.connect_local(&path), live.accept());
    assert!(client.is_ok());
    assert!(accepted.unwrap().1.is_none());
}

#[tokio::test]
async fn local_socket_never_replaces_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, b"x").unwrap();
    assert!(env().net.listen_local(&path).await.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
}

#[tokio::test]
async fn blocking_task_runs_on_a_thread_of_its_name_and_may_sleep() {
    let env = env();
    let clock = env.clock.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    env.spawner.spawn_blocking_task(
        "wal-test",
        Box::pin(async move {
            let name = std::thread::current().name().map(str::to_owned);
            clock.sleep(std::time::Duration::from_millis(1)).await;
            sender.send((name, clock.monotonic())).unwrap();
        }),
    );
    let (name, monotonic) = tokio::task::spawn_blocking(move || receiver.recv().unwrap())
        .await
        .unwrap();
    assert_eq!(name.as_deref(), Some("wal-test"));
    assert!(monotonic >= std::time::Duration::from_millis(1));
}
