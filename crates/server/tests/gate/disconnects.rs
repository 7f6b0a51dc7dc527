//! Clients that go away while they are being served.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use stiver_core::Challenge;
use stiver_server::tower::{PaymentLayer, RequestBody};
use stiver_testkit::rail::{Gate as Barrier, Step};
use tower::{Layer as _, ServiceExt as _};

use crate::common::World;

type Inner = RequestBody<Full<Bytes>>;

fn order(credential: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::post("/order").header("idempotency-key", "k-1");
    if let Some(credential) = credential {
        request = request.header("authorization", credential);
    }
    request.body(Full::from("one kilo")).unwrap()
}

/// A shop whose handler waits at a barrier.
struct Shop {
    world: World,
    layer: PaymentLayer,
    barrier: Barrier,
    runs: Arc<AtomicUsize>,
}

impl Shop {
    fn new(seed: u64) -> Self {
        let world = World::new(seed);
        Self {
            layer: PaymentLayer::fixed(world.gate.clone(), world.route()),
            world,
            barrier: Barrier::closed(),
            runs: Arc::default(),
        }
    }

    /// The answer of the shop: status, body, and the field that marks a repetition.
    fn ask(
        &self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = (u16, Bytes, bool)> + Send + 'static {
        let (barrier, runs) = (self.barrier.clone(), Arc::clone(&self.runs));
        let service = self
            .layer
            .layer(tower::service_fn(move |_: Request<Inner>| {
                let (barrier, runs) = (barrier.clone(), Arc::clone(&runs));
                async move {
                    runs.fetch_add(1, Ordering::SeqCst);
                    barrier.pass().await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("sold"))))
                }
            }));
        async move {
            let response = service.oneshot(request).await.unwrap();
            let repeated = response.headers().contains_key("idempotency-replayed");
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, body, repeated)
        }
    }

    fn pay(&self) -> String {
        let service = self
            .layer
            .layer(tower::service_fn(|_: Request<Inner>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }));
        let answer = self.world.run(service.oneshot(order(None))).unwrap();
        let lines = answer.headers().get_all("www-authenticate");
        let lines = lines.iter().map(|line| line.as_bytes());
        let challenge = Challenge::parse_all(lines).remove(0).unwrap();
        self.world.pay(&challenge)
    }

    /// Sends a request, lets it come as far as it can, and hangs up.
    fn hang_up(&self, request: Request<Full<Bytes>>) {
        let mut connection = Box::pin(self.ask(request));
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        for _ in 0..8 {
            assert!(connection.as_mut().poll(&mut context).is_pending());
            self.world.sim.run_until_idle();
        }
    }
}

#[test]
fn client_that_hangs_up_during_the_handler_has_paid_for_it() {
    let shop = Shop::new(1);
    let credential = shop.pay();
    shop.hang_up(order(Some(&credential)));
    assert_eq!(shop.runs.load(Ordering::SeqCst), 1);
    assert_eq!(
        shop.world.gate.at_work(),
        1,
        "nobody waits, yet it is at work"
    );
    let gate = shop.world.gate.clone();
    let done = shop.world.run(async move { gate.recover().await }).unwrap();
    assert_eq!(done.refunded, 0);
    shop.barrier.open();
    shop.world.sim.run_until_idle();
    assert_eq!(shop.world.state(), "delivered");
    assert_eq!(shop.world.gate.at_work(), 0);
    let again = shop.world.run(shop.ask(order(Some(&credential))));
    assert_eq!(again, (200, Bytes::from("sold"), true));
    assert_eq!(shop.runs.load(Ordering::SeqCst), 1);
    assert_eq!(
        (shop.world.payments(), shop.world.rail.movements().len()),
        (1, 1)
    );
}

#[test]
fn client_that_hangs_up_during_the_settlement_is_served_for_it() {
    let shop = Shop::new(2);
    let credential = shop.pay();
    let rail = Barrier::closed();
    shop.world.rail.script([Step::slow(&rail)]);
    shop.hang_up(order(Some(&credential)));
    assert_eq!((rail.arrived(), shop.world.state()), (1, "settling"));
    shop.barrier.open();
    rail.open();
    shop.world.sim.run_until_idle();
    assert_eq!(shop.world.state(), "delivered");
    let again = shop.world.run(shop.ask(order(Some(&credential))));
    assert_eq!(again, (200, Bytes::from("sold"), true));
    assert_eq!(
        (shop.world.payments(), shop.world.rail.movements().len()),
        (1, 1)
    );
}
