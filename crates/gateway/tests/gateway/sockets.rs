//! WebSockets paid for by the message: the client's is framed, the upstream's is plain.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use stiver_core::{
    json::Value,
    socket::{Frame, Framing},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        handshake::server::{Request, Response},
    },
};

use crate::common::{World, get, paid, session::Session, upstream::Upstream, with};

/// Base units for a message.
const EACH: u128 = 5;
const DEPOSIT: u128 = 1_000;

/// An API that says everything back, twice. Agrees to any sub-protocol, and tells no payment.
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                #[expect(clippy::result_large_err, reason = "the library's own type")]
                let agree = |request: &Request, mut response: Response| {
                    assert!(!request.headers().contains_key("authorization"));
                    if let Some(asked) = request.headers().get("sec-websocket-protocol") {
                        let headers = response.headers_mut();
                        headers.insert("sec-websocket-protocol", asked.clone());
                    }
                    Ok(response)
                };
                let Ok(mut socket) = accept_hdr_async(stream, agree).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() {
                        return;
                    }
                    for _ in 0..2 {
                        socket.send(message.clone()).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

async fn world(upstream: Option<SocketAddr>) -> World {
    let address = upstream.map_or("127.0.0.1:9".to_owned(), |it| it.to_string());
    let tables = format!(
        "[[route]]\npath = \"/talk\"\nprice = \"0.000005 USD per event\"\nupgrade = true\n\
         upstream = \"talker\"\n[route.session]\nwindow = \"0.00001 USD\"\n\
         [upstreams.talker]\nurl = \"http://{address}\"\n"
    );
    World::configured(Upstream::down(), "", &tables).await
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(world: &World, fields: &[(&'static str, &str)]) -> Result<Self, Error> {
        let url = format!("ws://{}/talk", world.address());
        let mut request = url.into_client_request().unwrap();
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let connection = TcpStream::connect(world.address()).await.unwrap();
        let (client, _) = client_async(request, connection).await?;
        Ok(Self(client))
    }

    async fn says(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    async fn pays(&mut self, credential: String) {
        let frame = Frame::Authorization(credential.into());
        self.says(frame.to_text(Framing::Mpp).unwrap()).await;
    }

    /// The next frame: its name, and its data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => {
                    let value = Value::parse(text.as_bytes()).unwrap();
                    let name = value.get("mpp").and_then(Value::as_str).unwrap();
                    let data = value.get("data").or(value.get("status"));
                    return (name.to_owned(), data.unwrap().clone());
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => unreachable!("{other:?}"),
            }
        }
    }
}

fn figure(data: &Value, name: &str) -> u128 {
    data.get(name)
        .and_then(Value::as_str)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_upstream_is_sold_by_the_message_up_to_an_exact_close() {
    let world = world(Some(echo().await)).await;
    let mut session = Session::prepare(&world, get("/talk"), DEPOSIT, None).await;
    let mut client = Client::connect(&world, &[]).await.unwrap();
    client.pays(session.pay(2 * EACH).await).await;
    assert_eq!(client.next().await.0, "payment-receipt");
    client.says("a").await;
    for _ in 0..2 {
        assert_eq!(
            client.next().await,
            ("message".to_owned(), Value::from("a"))
        );
    }
    client.says("b").await;
    let (name, need) = client.next().await;
    assert_eq!(name, "payment-need-voucher");
    assert_eq!(figure(&need, "requiredCumulative"), 4 * EACH);
    client.pays(session.pay(4 * EACH).await).await;
    assert_eq!(client.next().await.0, "payment-receipt");
    for _ in 0..2 {
        assert_eq!(
            client.next().await,
            ("message".to_owned(), Value::from("b"))
        );
    }
    client.says(r#"{"mpp":"payment-close-request"}"#).await;
    let (name, last) = client.next().await;
    assert_eq!(name, "payment-close-ready");
    assert_eq!(figure(&last, "spent"), 4 * EACH);
    client.pays(session.close(4 * EACH).await).await;
    assert_eq!(client.next().await.0, "payment-receipt");
    assert_eq!(world.spent().await, 4 * i128::try_from(EACH).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_with_the_handshake_and_a_sub_protocol_go_through() {
    let world = world(Some(echo().await)).await;
    let mut session = Session::prepare(&world, get("/talk"), DEPOSIT, None).await;
    let credential = session.pay(4 * EACH).await;
    let fields = [
        ("authorization", credential.as_str()),
        ("sec-websocket-protocol", "chat"),
    ];
    let mut client = Client::connect(&world, &fields).await.unwrap();
    client.says("a").await;
    assert_eq!(client.next().await.0, "message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_away_costs_nothing() {
    let world = world(None).await;
    let mut session = Session::prepare(&world, get("/talk"), DEPOSIT, None).await;
    let mut client = Client::connect(&world, &[]).await.unwrap();
    client.pays(session.pay(4 * EACH).await).await;
    assert_eq!(client.next().await.0, "payment-receipt");
    let (name, status) = client.next().await;
    assert_eq!(
        (name.as_str(), status.as_integer()),
        ("payment-error", Some(502))
    );
    drop(client);
    let close = session.close(4 * EACH).await;
    let closed = world.ask(paid(get("/talk"), &close)).await;
    assert!(closed.status.is_success(), "{closed:?}");
    assert_eq!(world.spent().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_websocket_never_leaves_http_uncounted() {
    let world = world(Some(echo().await)).await;
    let mut session = Session::prepare(&world, get("/talk"), DEPOSIT, None).await;
    let asks = with(
        with(get("/talk"), "connection", "upgrade"),
        "upgrade",
        "custom",
    );
    let reply = session.ask(&world, asks, 4 * EACH).await;
    assert_ne!(reply.status, StatusCode::SWITCHING_PROTOCOLS, "{reply:?}");
    let close = session.close(4 * EACH).await;
    let closed = world.ask(paid(get("/talk"), &close)).await;
    assert!(closed.status.is_success(), "{closed:?}");
    assert_eq!(world.spent().await, 0);
}
