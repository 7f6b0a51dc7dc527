//! Vouchers signed by EIP-712 over secp256k1: Tempo v1 and v2, EVM, Hedera.
//!
//! The four differ in the name of the domain, the width of the amount, how a channel's id is
//! computed and which forms a signature may have: [`Variant`]. What does not change between two
//! vouchers of a channel is hashed once: [`Domain`].
//!
//! # Forms of a signature
//! 65 bytes, r, s and v of 27 or 28; or, where the variant allows it, the 64 bytes of EIP-2098,
//! where the top bit of s says what v does. s must be in the lower half of the order: the library
//! recovers a key from the upper half, too, and the contract refuses it. The key that is recovered
//! must be that of the authorised signer, so that a wrong v does not pass: it could not be settled.

mod sign;

pub use sign::{SigningKey, SigningKeyError};

use super::{VerifyVoucher, Voucher, VoucherError};
use crate::ChannelId;
use core::fmt;
use secp256k1::{
    Message,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use sha3::{Digest as _, Keccak256};

/// Length of a signature with v, bytes.
pub const SIGNATURE_BYTES: usize = 65;
/// Length of a signature in the form of EIP-2098, bytes.
pub const COMPACT_SIGNATURE_BYTES: usize = 64;

/// Half of the group's order, rounded down: the highest s.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];
/// What v adds to the parity.
const V_OF_EVEN: u8 = 27;
const DOMAIN_TYPE: &[u8] =
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";

/// An account of such a chain: the last 20 bytes of the Keccak-256 of its public key. `Display`
/// prints lower-case hexadecimal digits after `0x`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Address(
    /// The bytes.
    pub [u8; 20],
);

impl Address {
    /// The account of a public key.
    fn of(key: &secp256k1::PublicKey) -> Self {
        let [_, point @ ..] = key.serialize_uncompressed();
        let [_, _, _, _, _, _, _, _, _, _, _, _, address @ ..] = keccak(&[&point]);
        Self(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// How one protocol's vouchers differ from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The name of the domain; its version is 1 in all.
    pub domain_name: &'static str,
    /// Width of the amount in bits, and in the type that is signed.
    pub width: Width,
    /// Whether signatures of [`COMPACT_SIGNATURE_BYTES`] are valid, too.
    pub compact: bool,
    /// What a channel's id is the hash of.
    pub id: IdFormula,
}

/// Width of the signed amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// `uint96`
    Uint96,
    /// `uint128`
    Uint128,
}

impl Width {
    /// In bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Uint96 => 96,
            Self::Uint128 => 128,
        }
    }

    fn voucher_type(self) -> &'static [u8] {
        match self {
            Self::Uint96 => b"Voucher(bytes32 channelId,uint96 cumulativeAmount)",
            Self::Uint128 => b"Voucher(bytes32 channelId,uint128 cumulativeAmount)",
        }
    }
}

/// What a channel's id is the hash of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdFormula {
    /// Payer, payee, token, salt, authorised signer, escrow, chain.
    SevenWords,
    /// Payer, payee, operator, token, salt, authorised signer, nonce hash, escrow, chain.
    NineWords,
}

impl Variant {
    /// Tempo sessions through the contract.
    pub const TEMPO_V1: Self = Self {
        domain_name: "Tempo Stream Channel",
        width: Width::Uint128,
        compact: true,
        id: IdFormula::SevenWords,
    };

    /// Tempo sessions through the precompile.
    pub const TEMPO_V2: Self = Self {
        domain_name: "TIP20 Channel Reserve",
        width: Width::Uint96,
        compact: true,
        id: IdFormula::NineWords,
    };

    /// EVM sessions.
    pub const EVM: Self = Self {
        domain_name: "EVM Payment Channel",
        compact: false,
        ..Self::TEMPO_V1
    };

    /// Hedera sessions.
    pub const HEDERA: Self = Self {
        domain_name: "Hedera Stream Channel",
        ..Self::TEMPO_V1
    };

    /// The id of a channel with these terms. A payee computes it and never trusts one it is told.
    #[must_use]
    pub fn channel_id(&self, terms: &Terms) -> ChannelId {
        let [payer, payee, token, signer, escrow] = [
            &terms.payer,
            &terms.payee,
            &terms.token,
            &terms.authorized_signer,
            &terms.escrow,
        ]
        .map(address_word);
        let chain = number_word(terms.chain_id.into());
        ChannelId(match self.id {
            IdFormula::SevenWords => keccak(&[
                &payer,
                &payee,
                &token,
                &terms.salt,
                &signer,
                &escrow,
                &chain,
            ]),
            IdFormula::NineWords => keccak(&[
                &payer,
                &payee,
                &address_word(&terms.operator),
                &token,
                &terms.salt,
                &signer,
                &terms.expiring_nonce_hash,
                &escrow,
                &chain,
            ]),
        })
    }
}

/// What makes a channel, as its escrow knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// Who may settle for the payee; zero for nobody. Only in [`IdFormula::NineWords`].
    pub operator: Address,
    /// In what.
    pub token: Address,
    /// What tells channels of the same parties apart.
    pub salt: [u8; 32],
    /// Who signs the vouchers; zero for the payer.
    pub authorized_signer: Address,
    /// The hash of the transaction that opened it. Only in [`IdFormula::NineWords`].
    pub expiring_nonce_hash: [u8; 32],
    /// The contract that holds the deposit.
    pub escrow: Address,
    /// The chain.
    pub chain_id: u64,
}

impl Terms {
    /// Whose signature a voucher needs.
    #[must_use]
    pub fn signer(&self) -> Address {
        if self.authorized_signer == Address::default() {
            return self.payer;
        }
        self.authorized_signer
    }
}

/// What a voucher is signed for: a protocol, a chain and a contract, hashed once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Domain {
    variant: Variant,
    separator: [u8; 32],
    voucher_type: [u8; 32],
}

impl Domain {
    /// The domain of a contract on a chain.
    #[must_use]
    pub fn new(variant: Variant, chain_id: u64, contract: Address) -> Self {
        let separator = keccak(&[
            &keccak(&[DOMAIN_TYPE]),
            &keccak(&[variant.domain_name.as_bytes()]),
            &keccak(&[b"1"]),
            &number_word(chain_id.into()),
            &address_word(&contract),
        ]);
        Self {
            variant,
            separator,
            voucher_type: keccak(&[variant.width.voucher_type()]),
        }
    }

    /// The domain separator.
    #[must_use]
    pub fn separator(&self) -> &[u8; 32] {
        &self.separator
    }

    /// The hash of the voucher alone.
    #[must_use]
    pub fn struct_hash(&self, channel: &ChannelId, cumulative: u128) -> [u8; 32] {
        keccak(&[&self.voucher_type, &channel.0, &number_word(cumulative)])
    }

    /// What is signed.
    #[must_use]
    pub fn digest(&self, channel: &ChannelId, cumulative: u128) -> [u8; 32] {
        let voucher = self.struct_hash(channel, cumulative);
        keccak(&[&[0x19, 0x01], &self.separator, &voucher])
    }

    /// Refuses an amount that the signed integer cannot hold.
    fn fits(&self, cumulative: u128) -> Result<(), VoucherError> {
        let bits = self.variant.width.bits();
        let beyond = cumulative.checked_shr(bits.into()).unwrap_or(0);
        if beyond > 0 {
            return Err(VoucherError::OverWidth { bits });
        }
        Ok(())
    }
}

/// Verifies the vouchers of one channel.
#[derive(Clone)]
pub struct Eip712 {
    domain: Domain,
    channel: ChannelId,
    signer: Address,
}

impl Eip712 {
    /// The verifier of a channel, whose vouchers `signer` signs.
    #[must_use]
    pub fn new(domain: Domain, channel: ChannelId, signer: Address) -> Self {
        Self {
            domain,
            channel,
            signer,
        }
    }

    /// The verifier of the channel with these terms.
    #[must_use]
    pub fn of(variant: Variant, terms: &Terms) -> Self {
        let domain = Domain::new(variant, terms.chain_id, terms.escrow);
        Self::new(domain, variant.channel_id(terms), terms.signer())
    }
}

impl VerifyVoucher for Eip712 {
    fn verify(&self, _: Option<&Voucher>, voucher: &Voucher) -> Result<(), VoucherError> {
        if voucher.channel != self.channel {
            return Err(VoucherError::WrongChannel);
        }
        self.domain.fits(voucher.cumulative)?;
        let signature = parse(&voucher.proof, self.domain.variant.compact)?;
        let digest = self.domain.digest(&self.channel, voucher.cumulative);
        let key = signature
            .recover_ecdsa(Message::from_digest(digest))
            .map_err(|_| VoucherError::InvalidSignature)?;
        if Address::of(&key) != self.signer {
            return Err(VoucherError::WrongSigner);
        }
        Ok(())
    }
}

/// Reads a signature, and refuses the forms that the contract does, before any curve is touched.
fn parse(proof: &[u8], compact: bool) -> Result<RecoverableSignature, VoucherError> {
    let mut bytes = [0; 64];
    let odd = if let Ok(whole) = <&[u8; SIGNATURE_BYTES]>::try_from(proof) {
        let [rs @ .., v] = whole;
        bytes = *rs;
        match v.checked_sub(V_OF_EVEN) {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(VoucherError::MalformedProof),
        }
    } else {
        if !compact || proof.len() != COMPACT_SIGNATURE_BYTES {
            return Err(VoucherError::MalformedProof);
        }
        bytes.copy_from_slice(proof);
        let odd = bytes[32] & 0x80 != 0;
        bytes[32] &= 0x7f;
        odd
    };
    let (_, s) = bytes.split_at(32);
    if s > &HALF_ORDER[..] {
        return Err(VoucherError::HighS);
    }
    let id = match odd {
        false => RecoveryId::Zero,
        true => RecoveryId::One,
    };
    RecoverableSignature::from_compact(&bytes, id).map_err(|_| VoucherError::InvalidSignature)
}

fn keccak(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Keccak256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn address_word(address: &Address) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&address.0);
    word
}

fn number_word(number: u128) -> [u8; 32] {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&number.to_be_bytes());
    word
}

#[cfg(test)]
mod tests;
