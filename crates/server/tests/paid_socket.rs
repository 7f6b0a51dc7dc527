//! A paid socket over a real connection: the handshake, WebSocket's own frames, and axum.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use futures_util::{SinkExt as _, StreamExt as _};
use stiver_core::{
    Challenge,
    socket::{Frame, Framing},
};
use stiver_env::{Env, native};
use stiver_method::session::UnitPrice;
use stiver_server::{
    Gate,
    session::SessionOffer,
    socket::{PaidSocket, Socket},
};
use stiver_store::{EmbeddedStore, Limits};
use stiver_testkit::{
    escrow::{Escrow, EscrowPayer},
    fixtures,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

type Client = WebSocketStream<TcpStream>;

async fn serve(env: &Env, folder: &std::path::Path) -> SocketAddr {
    let config = EmbeddedStore::config(folder);
    let store = EmbeddedStore::open(config, env, Limits::default());
    let store = Arc::new(store.await.unwrap());
    let escrow = Arc::new(Escrow::new("merchant", fixtures::usd()));
    let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
    let gate = Gate::builder(realm, keys, store.clone(), env.clone())
        .channels(store)
        .session_method(escrow.clone())
        .build()
        .unwrap();
    let each = UnitPrice {
        amount: fixtures::micro_usd(10),
        per: 1,
        unit: Some("event".to_owned()),
    };
    let ticks = SessionOffer::metered(escrow, vec![each], &fixtures::micro_usd(20)).unwrap();
    let ticks = PaidSocket::new(gate, vec![ticks], async |mut socket: Socket| {
        while let Some(message) = socket.recv().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let app = Router::new().route_service("/ticks", ticks.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async move { axum::serve(listener, app).await.unwrap() };
    env.spawner.spawn(Box::pin(serving));
    address
}

/// A plain request: its status line and its head.
async fn ask(address: SocketAddr, head: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nhost: api.example\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn challenge(address: SocketAddr) -> Challenge {
    let answer = ask(address, "GET /ticks HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 402 "), "{answer}");
    let lines = answer.lines();
    let fields = lines.filter_map(|line| line.strip_prefix("www-authenticate: "));
    let mut challenges = Challenge::parse_all(fields.map(str::as_bytes)).into_iter();
    challenges.next().unwrap().unwrap()
}

async fn connect(
    address: SocketAddr,
    credential: Option<&str>,
) -> Result<(Client, http::HeaderMap), Error> {
    let url = format!("ws://{address}/ticks");
    let mut request = url.into_client_request().unwrap();
    if let Some(credential) = credential {
        let credential = credential.parse().unwrap();
        request.headers_mut().insert("authorization", credential);
    }
    let connection = TcpStream::connect(address).await.unwrap();
    let (client, response) = client_async(request, connection).await?;
    Ok((client, response.into_parts().0.headers))
}

async fn pay(client: &mut Client, credential: String) {
    let frame = Frame::Authorization(credential.into());
    let text = frame.to_text(Framing::Mpp).unwrap();
    client.send(Message::text(text)).await.unwrap();
}

async fn text(client: &mut Client) -> String {
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Text(text) => return text.as_str().to_owned(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[track_caller]
fn is(text: &str, name: &str) {
    assert!(text.contains(&format!(r#""mpp":"{name}""#)), "{text}");
}

/// A socket whose first frame has opened a channel, and been answered; with what goes on with it.
async fn opened(address: SocketAddr) -> (Client, EscrowPayer, Challenge) {
    let challenge = challenge(address).await;
    let payer = EscrowPayer::new(1);
    let (mut client, _) = connect(address, None).await.unwrap();
    let opening = payer.open(&challenge, &fixtures::micro_usd(1_000), 20);
    pay(&mut client, opening).await;
    is(&text(&mut client).await, "payment-receipt");
    (client, payer, challenge)
}

#[tokio::test]
async fn a_socket_is_paid_for_by_frames() {
    let folder = tempfile::tempdir().unwrap();
    let env = native::env();
    let address = serve(&env, folder.path()).await;
    let (mut client, payer, challenge) = opened(address).await;
    for _ in 0..3 {
        client.send(Message::text("22.5")).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(
            text(&mut client).await,
            r#"{"mpp":"message","data":"22.5"}"#
        );
    }
    is(&text(&mut client).await, "payment-need-voucher");
    pay(&mut client, payer.voucher(&challenge, 40)).await;
    is(&text(&mut client).await, "payment-receipt");
    is(&text(&mut client).await, "message");
    client.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(
        client.next().await.unwrap().unwrap(),
        Message::binary(vec![1, 2])
    );
    client
        .send(Message::text(r#"{"mpp":"payment-close-request"}"#))
        .await
        .unwrap();
    let ready = text(&mut client).await;
    is(&ready, "payment-close-ready");
    assert!(ready.contains(r#""spent":"40""#), "{ready}");
    pay(&mut client, payer.close(&challenge, 40)).await;
    is(&text(&mut client).await, "payment-receipt");
    assert!(matches!(
        client.next().await.unwrap().unwrap(),
        Message::Close(Some(_))
    ));
}

#[tokio::test]
async fn a_credential_with_the_handshake_opens_the_socket_or_is_answered_in_http() {
    let folder = tempfile::tempdir().unwrap();
    let env = native::env();
    let address = serve(&env, folder.path()).await;
    let challenge = challenge(address).await;
    let payer = EscrowPayer::new(1);
    let stranger = EscrowPayer::new(2).voucher(&challenge, 20);
    match connect(address, Some(&stranger)).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 410),
        _ => panic!("no channel is open"),
    }
    let opening = payer.open(&challenge, &fixtures::micro_usd(1_000), 20);
    let (mut client, headers) = connect(address, Some(&opening)).await.unwrap();
    assert!(headers.contains_key("payment-receipt"));
    client.send(Message::text("a")).await.unwrap();
    is(&text(&mut client).await, "message");
    // Paid for and no handshake: nothing is delivered, and nothing taken.
    let voucher = payer.voucher(&challenge, 60);
    let head = format!("GET /ticks HTTP/1.1\r\nauthorization: {voucher}");
    let answer = ask(address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    client.close(None).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_big_and_junk_end_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let env = native::env();
    let address = serve(&env, folder.path()).await;
    let (mut client, ..) = opened(address).await;
    let long = "a".repeat(stiver_server::limits::SOCKET_MESSAGE_BYTES_MAX + 1);
    client.send(Message::text(long)).await.unwrap();
    let refusal = text(&mut client).await;
    is(&refusal, "payment-error");
    assert!(refusal.contains(r#""status":413"#), "{refusal}");
    // No frame of WebSocket at all.
    let (client, _) = connect(address, None).await.unwrap();
    let mut raw = client.into_inner();
    raw.write_all(&[0xff; 64]).await.unwrap();
    let mut rest = Vec::new();
    let _ = raw.read_to_end(&mut rest).await;
    // It was that client's business alone.
    connect(address, None).await.unwrap();
}
