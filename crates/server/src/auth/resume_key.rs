//! The resume token, with which a connection that broke may come back. It is signed and says all
//! there is to know, so no table of tokens exists.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use herenow_core::{Claim, Peer, Place};
use herenow_wire::{ConnectionId, UserId};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Signs resume tokens. Clones share one key. Of a server that is alone it is made anew at each start, since no
/// member outlives that; the nodes of a cluster replace it by theirs.
#[derive(Clone)]
pub(crate) struct ResumeKey {
    key: Arc<RwLock<KeyBytes>>,
    /// Which process this is: drawn at its start.
    process: u64,
}

/// The key itself.
pub(crate) type KeyBytes = [u8; 32];

/// The bytes of a token before its signature: connection, generation, process, loop and slot.
const SIGNED_BYTES: usize = 16 + 4 + 8 + 2 + 4;
/// How much of the signature is kept.
const MAC_BYTES: usize = 16;
/// A longer text is no resume token: three bytes are four characters, and no padding is added.
pub(crate) const MAX_RESUME_TOKEN_BYTES: usize = ((SIGNED_BYTES + MAC_BYTES) * 4).div_ceil(3);

impl ResumeKey {
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(std::io::Error::other)?;
        let process = getrandom::u64().map_err(std::io::Error::other)?;
        Ok(Self::of(key, process))
    }

    fn of(key: KeyBytes, process: u64) -> Self {
        Self { key: Arc::new(RwLock::new(key)), process }
    }

    /// The key, for other nodes of the cluster alone.
    pub(crate) fn bytes(&self) -> KeyBytes {
        // A key is replaced by one assignment: a panic leaves nothing half done.
        *self.key.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs with the key of the cluster from here on.
    pub(crate) fn replace(&self, key: KeyBytes) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// The token with which `user` may take a connection over.
    pub(crate) fn sign(&self, claim: Claim, user: &UserId) -> Box<str> {
        let mut bytes = [0; SIGNED_BYTES + MAC_BYTES];
        bytes[..16].copy_from_slice(claim.connection.as_bytes());
        bytes[16..20].copy_from_slice(&claim.generation.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.process.to_be_bytes());
        if let Some(Place { peer, slot }) = claim.place {
            bytes[28..30].copy_from_slice(&peer.0.to_be_bytes());
            bytes[30..34].copy_from_slice(&slot.to_be_bytes());
        }
        let mac = self.mac(&bytes[..SIGNED_BYTES], user).finalize().into_bytes();
        bytes[SIGNED_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes).into()
    }

    /// What `token` claims, where it was signed with this key and for `user`.
    pub(crate) fn verify(&self, token: &str, user: &UserId) -> Option<Claim> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, mac) = bytes.split_at_checked(SIGNED_BYTES)?;
        let expected = self.mac(signed, user);
        if mac.len() != MAC_BYTES || expected.verify_truncated_left(mac).is_err() {
            return None;
        }
        let connection = ConnectionId::from_bytes(*signed.first_chunk()?);
        let generation = u32::from_be_bytes(*signed[16..].first_chunk()?);
        let process = u64::from_be_bytes(*signed[20..].first_chunk()?);
        let peer = Peer(u16::from_be_bytes(*signed[28..].first_chunk()?));
        let slot = u32::from_be_bytes(*signed[30..].first_chunk()?);
        let place = (process == self.process).then_some(Place { peer, slot });
        Some(Claim { connection, generation, place })
    }

    fn mac(&self, signed: &[u8], user: &UserId) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.bytes()).expect("a key of any length will do");
        mac.update(signed);
        mac.update(user.as_str().as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a valid user")
    }

    fn claim() -> Claim {
        let connection = ConnectionId::from_bytes([1; 16]);
        let place = Some(Place { peer: Peer(259), slot: 70_000 });
        Claim { connection, generation: 3, place }
    }

    fn key_of(process: u64) -> ResumeKey {
        ResumeKey::of([7; 32], process)
    }

    #[test]
    fn another_process_with_the_key_takes_the_token_but_not_the_place_that_it_names() {
        let (one, other) = (key_of(1), ResumeKey::of([8; 32], 2));
        let token = one.sign(claim(), &user("jane"));
        assert_eq!(other.verify(&token, &user("jane")), None);
        other.clone().replace(one.bytes());
        let elsewhere = Claim { place: None, ..claim() };
        assert_eq!(other.verify(&token, &user("jane")), Some(elsewhere));
    }

    #[test]
    fn a_token_says_what_was_signed_and_only_for_its_user() {
        let key = key_of(1);
        let token = key.sign(claim(), &user("jane"));
        assert!(token.len() <= MAX_RESUME_TOKEN_BYTES);
        assert_eq!(key.verify(&token, &user("jane")), Some(claim()));
        assert_eq!(key.verify(&token, &user("bob")), None);
        let other = ResumeKey::of([8; 32], 1);
        assert_eq!(other.verify(&token, &user("jane")), None);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let key = key_of(1);
        let token = key.sign(claim(), &user("jane"));
        for cut in 0..token.len() {
            assert_eq!(key.verify(&token[..cut], &user("jane")), None, "{cut} characters");
        }
        for text in ["", "*", "AAAA", "presence"] {
            assert_eq!(key.verify(text, &user("jane")), None, "{text}");
        }
    }
}
