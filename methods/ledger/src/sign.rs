//! Signing orders.

use stiver_ledger::order::{Order, SignedOrder, VerifiedOrder};
use stiver_method::signer::{Purpose, SignError, SignRequest, Signer};

/// Signs an order, and verifies what the signer gave: one that signs something else, or with
/// another key than it says, is found here and not at the ledger.
///
/// # Errors
///
/// [`SignError`] when nothing was signed, or nothing usable.
///
/// # Examples
///
/// ```
/// use stiver_core::Timestamp;
/// use stiver_ledger::{id::{AccountId, LedgerId, Nonce}, order::{Action, Order}};
/// use stiver_method::key::Ed25519Key;
///
/// let key = Ed25519Key::from_seed(&[7; 32]);
/// let order = Order {
///     ledger: LedgerId::from_bytes([1; 16]),
///     account: AccountId::of_first_key(&key.did()),
///     nonce: Nonce::from_bytes([2; 16]),
///     expires: Timestamp::from_millis(1_767_225_600_000),
///     action: Action::Open { first_key: key.did(), owner: None },
/// };
/// let signed = pollster::block_on(stiver_method_ledger::sign::order(&order, &key))?;
/// assert_eq!(signed.order(), &order);
/// # Ok::<(), stiver_method::signer::SignError>(())
/// ```
pub async fn order(order: &Order, signer: &dyn Signer) -> Result<VerifiedOrder, SignError> {
    let bytes = order.encode();
    let request = SignRequest {
        purpose: Purpose::Order,
        message: &bytes,
    };
    let signature = signer.sign(request).await?;
    let key = stiver_core::did::DidKey::from_public_key(signer.public_key());
    SignedOrder::new(&bytes, key, signature)
        .map_err(|error| SignError::Refused(format!("the order is malformed: {error}")))?
        .verify()
        .map_err(|error| SignError::Refused(format!("what was signed does not verify: {error}")))
}
