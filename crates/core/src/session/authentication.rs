//! Authenticating and refreshing: a token is handed out to be verified, and what the session does with
//! the result. Knows nothing of signatures.

use std::borrow::Cow;
use std::time::Duration;

use herenow_wire::encode::Reply;
use herenow_wire::{CloseCode, ErrorCode, Ref};

use super::access::{Cause, Pending};
use super::input::{AuthRefusal, Context, SessionEffect, Verification};
use super::stage::Stage;
use super::{Session, fail};
use crate::auth::Auth;
use crate::time::Instant;

/// A good token, and when it ends on the monotonic clock.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) auth: Auth,
    pub(super) until: Instant,
}

/// How long the verification of a token may take. Only a server that has lost the result takes so
/// long, and then the connection must not wait for ever.
const MAX_VERIFICATION: Duration = Duration::from_secs(30);

impl Session {
    /// Goes on with the token that was verified.
    pub(super) fn verified(
        &mut self,
        verification: Verification,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        let is_verification = |pending: &Pending| matches!(pending, Pending::Verification { .. });
        let Some(Pending::Verification { reference, .. }) = self.take_pending(is_verification)
        else {
            return;
        };
        let Verification { result, claim, unix_ms } = verification;
        match (result, claim) {
            (Ok(auth), claim) => {
                let verified = Verified::new(auth, unix_ms, context);
                match claim {
                    Some(claim) => self.claim(verified, (*claim, reference), context, out),
                    None => self.authenticate(verified, reference, context, out),
                }
            }
            (Err(refusal), _) => self.refuse_token(refusal, reference, out),
        }
        // The deadline stood still meanwhile.
        if context.now >= self.deadline() {
            return self.expire(out);
        }
        self.resume(context, out);
    }

    /// Authenticates with a good token, or refreshes.
    pub(super) fn authenticate(
        &mut self,
        verified: Verified,
        reference: Option<Ref>,
        context: &Context<'_>,
        out: &mut Vec<SessionEffect>,
    ) {
        let user = verified.auth.user.id().clone();
        if let Some(time) = context.policy.kicks().of_server(&user, context.now) {
            return self.disconnected(time, out);
        }
        match self.auth() {
            None => {
                self.set_auth(verified);
                out.push(SessionEffect::Admitted);
                let connection = self.connection;
                let success = Reply::AuthSuccess { user, connection, resume: None };
                out.push(SessionEffect::Reply(success, reference));
                // What was open to anybody may be closed to this user.
                self.begin_review(Cause::Authenticated, out);
            }
            Some(present) if user == *present.user => {
                let has_new_info = present.user.info() != verified.auth.user.info();
                self.set_auth(verified);
                self.begin_review(Cause::Refresh { reference, has_new_info }, out);
            }
            Some(_) => {
                let message =
                    "The token is another user's. A connection keeps its user; open another.";
                fail(ErrorCode::AuthUserMismatch, message, None, reference, out);
            }
        }
    }

    pub(super) fn refuse_token(
        &mut self,
        refusal: AuthRefusal,
        reference: Option<Ref>,
        out: &mut Vec<SessionEffect>,
    ) {
        if self.auth().is_some() {
            return fail(ErrorCode::AuthRefreshFailed, refusal.message(), None, reference, out);
        }
        let close = match refusal {
            AuthRefusal::Bad(_) => CloseCode::AuthFailed,
            AuthRefusal::NoKey => CloseCode::NoKeyConfigured,
            AuthRefusal::Unavailable => return self.give_up_verifying(reference, out),
        };
        let reply = Reply::AuthError { message: refusal.message() };
        out.push(SessionEffect::Reply(reply, reference));
        self.close(close, out);
    }

    /// The token may be good, so the client is told to come back, not to look for another token.
    fn give_up_verifying(&mut self, reference: Option<Ref>, out: &mut Vec<SessionEffect>) {
        let message = AuthRefusal::Unavailable.message();
        fail(ErrorCode::ServerError, message, None, reference, out);
        self.close(CloseCode::GoingAway, out);
    }

    /// An `auth` that is not verified, because of how many there are.
    pub(super) fn refuse_auth(
        &self,
        message: &'static str,
        reference: Option<Ref>,
        out: &mut Vec<SessionEffect>,
    ) {
        let code = match self.auth() {
            Some(_) => ErrorCode::AuthRefreshFailed,
            None => ErrorCode::RateLimited,
        };
        fail(code, message, None, reference, out);
    }

    fn set_auth(&mut self, Verified { auth, until }: Verified) {
        self.stage = Stage::Authenticated { auth: Box::new(auth), until };
    }

    /// When the session has to do something about its token. While one is verified, the time of the
    /// one before it, and the time to show one, stand still: the client has done its part.
    pub(super) fn deadline(&self) -> Instant {
        match self.waiting.as_ref().and_then(|waiting| waiting.verifying_since()) {
            Some(since) => since + MAX_VERIFICATION,
            None => self.stage.until(),
        }
    }

    /// The deadline has come.
    pub(super) fn expire(&mut self, out: &mut Vec<SessionEffect>) {
        let is_verification = |pending: &Pending| matches!(pending, Pending::Verification { .. });
        if let Some(Pending::Verification { reference, .. }) = self.take_pending(is_verification) {
            return self.give_up_verifying(reference, out);
        }
        let (code, message, close) = match self.auth() {
            Some(_) => (
                ErrorCode::AuthExpired,
                "The token has expired. Send `auth` with a new token before the old one expires.",
                CloseCode::AuthFailed,
            ),
            None => (
                ErrorCode::AuthTimeout,
                "No valid token was received in time. The first message must be `auth`.",
                CloseCode::AuthTimeout,
            ),
        };
        fail(code, message, None, None, out);
        self.close(close, out);
    }
}

impl Verified {
    fn new(auth: Auth, unix_ms: u64, context: &Context<'_>) -> Self {
        // The leeway first: the token may have passed its `exp` already.
        let leeway_ms = u64::try_from(context.limits.expiry_leeway.as_millis()).unwrap_or(u64::MAX);
        let ends_at_unix_ms = auth.expires_at_unix_ms.saturating_add(leeway_ms);
        let left = Duration::from_millis(ends_at_unix_ms.saturating_sub(unix_ms));
        Self { until: context.now + left, auth }
    }
}

impl AuthRefusal {
    /// For an `auth` message without a token.
    pub fn missing() -> Self {
        Self::Bad(Cow::Borrowed("`auth` must carry a `token`, and it must be a string."))
    }

    fn message(self) -> Cow<'static, str> {
        match self {
            Self::Bad(message) => message,
            Self::NoKey => "The server has no key to verify tokens with.".into(),
            Self::Unavailable => {
                "The server could not verify the token now. Send it again later.".into()
            }
        }
    }
}
