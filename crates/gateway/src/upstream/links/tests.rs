use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::upstream::connect::Target;

const LONG: Duration = Duration::from_secs(60);

/// An API that answers each connection by `serve`, and counts connections.
struct Api {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Api {
    async fn start<F, S>(serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(TcpStream) -> F + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let spawner = stiver_env::native::env().spawner;
        let each = Arc::clone(&spawner);
        spawner.spawn(Box::pin(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                each.spawn(Box::pin(serve(stream)));
            }
        }));
        Self { port, connections }
    }

    fn pool(&self, idle_max: usize, idle_timeout: Duration) -> Links {
        let env = stiver_env::native::env();
        let target = Target {
            host: "127.0.0.1",
            port: self.port,
            timeout: LONG,
            tls: None,
        };
        let connector = Connector::new(target, &env).unwrap();
        Links::new(connector, (idle_max, idle_timeout), &env)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn request() -> Request<RequestBody> {
    let body = Empty::new().map_err(|never| match never {});
    let request = Request::builder().uri("/").header("host", "api");
    request.body(RequestBody::new(body)).unwrap()
}

/// Reads one request without a body. False when there is none any more.
async fn heard(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => read.extend(byte),
            _ => return false,
        }
    }
    true
}

async fn answer_all(mut stream: TcpStream) {
    while heard(&mut stream).await {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
    }
}

async fn text(response: Response<UpstreamBody>) -> Vec<u8> {
    let body = response.into_body().collect().await.unwrap();
    body.to_bytes().to_vec()
}

#[tokio::test]
async fn requests_one_after_another_share_a_connection() {
    let api = Api::start(answer_all).await;
    let pool = api.pool(8, LONG);
    for _ in 0..5 {
        assert_eq!(text(pool.send(request()).await.unwrap()).await, b"hello");
    }
    assert_eq!((api.connections(), pool.idle()), (1, 1));
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each_and_only_so_many_are_kept() {
    let api = Api::start(answer_all).await;
    let pool = api.pool(2, LONG);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let pool = pool.clone();
        all.spawn(async move { text(pool.send(request()).await.unwrap()).await });
    }
    for answer in all.join_all().await {
        assert_eq!(answer, b"hello");
    }
    assert_eq!((api.connections(), pool.idle()), (5, 2));
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_is_read_to_its_end_and_its_connection_kept() {
    let api = Api::start(|mut stream| async move {
        while heard(&mut stream).await {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            for _ in 0..300 {
                let mut chunk = b"1000\r\n".to_vec();
                chunk.extend([b'x'; 0x1000]);
                chunk.extend(b"\r\n");
                stream.write_all(&chunk).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let pool = api.pool(8, LONG);
    for _ in 0..2 {
        let read = text(pool.send(request()).await.unwrap()).await;
        assert_eq!(read.len(), 300 * 0x1000);
    }
    assert_eq!((api.connections(), pool.idle()), (1, 1));
}

#[tokio::test]
async fn a_connection_whose_body_is_not_read_is_not_used_again() {
    let api = Api::start(|mut stream| async move {
        while heard(&mut stream).await {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
            stream.write_all(head).await.unwrap();
        }
    })
    .await;
    let pool = api.pool(8, LONG);
    for connections in 1..=2 {
        let mut body = pool.send(request()).await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "hello");
        drop(body);
        assert_eq!((api.connections(), pool.idle()), (connections, 0));
    }
}

#[tokio::test]
async fn an_answer_that_ends_its_connection_is_whole() {
    let api = Api::start(|mut stream| async move {
        heard(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let pool = api.pool(8, LONG);
    for connections in 1..=2 {
        assert_eq!(text(pool.send(request()).await.unwrap()).await, b"hello");
        assert_eq!((api.connections(), pool.idle()), (connections, 0));
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let api = Api::start(move |mut stream| {
        let ended = ended.clone();
        async move {
            heard(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
            stream.write_all(answer).await.unwrap();
            drop(stream);
            ended.send(()).unwrap();
        }
    })
    .await;
    let pool = api.pool(8, LONG);
    for connections in 1..=5 {
        assert_eq!(text(pool.send(request()).await.unwrap()).await, b"hello");
        assert_eq!(api.connections(), connections);
        end.recv().await.unwrap();
        // The end is here when the other side has seen ours: ask the driver for it.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_api_that_hangs_up_on_a_request_may_have_been_reached() {
    let api = Api::start(|mut stream| async move {
        heard(&mut stream).await;
    })
    .await;
    let error = api.pool(8, LONG).send(request()).await.err().unwrap();
    assert!(error.reached, "{error:?}");
}

#[tokio::test]
async fn an_api_that_is_not_there_is_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let api = Api {
        port,
        connections: Arc::default(),
    };
    let error = api.pool(8, LONG).send(request()).await.err().unwrap();
    assert!(!error.reached, "{error:?}");
}

#[tokio::test]
async fn idle_connections_end_when_nobody_takes_them() {
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let api = Api::start(move |stream| {
        let ended = ended.clone();
        async move {
            answer_all(stream).await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let pool = api.pool(8, Duration::from_millis(20));
    for _ in 0..2 {
        assert_eq!(text(pool.send(request()).await.unwrap()).await, b"hello");
        end.recv().await.unwrap();
        assert_eq!(pool.idle(), 0);
    }
    assert_eq!(api.connections(), 2);
}
