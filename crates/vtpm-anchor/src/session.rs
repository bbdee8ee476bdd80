//! Sessions with the chip: what passes its bus is encrypted, and policies are met.

use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::SymmetricDefinition;

use crate::chip::Chip;
use crate::error::{Error, Result};

/// A session that the caller ends.
#[derive(Clone, Copy)]
pub(crate) struct Session(AuthSession);

impl Session {
    /// For a command.
    pub(crate) fn auth(self) -> Option<AuthSession> {
        Some(self.0)
    }

    /// For a policy command.
    pub(crate) fn policy(self) -> Result<PolicySession> {
        PolicySession::try_from(self.0).map_err(|_| Error::Invalid("not a policy session".into()))
    }
}

/// What the sessions of this crate are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Authorize by the HMAC of an authorization value.
    Hmac,
    /// Authorize by a policy.
    Policy,
}

impl Chip {
    /// Starts a session. With a `salt` key, the first parameters of its commands and responses
    /// are encrypted, so that nobody on the bus sees a secret.
    pub(crate) fn session(&mut self, purpose: Purpose, salt: Option<KeyHandle>) -> Result<Session> {
        let kind = match purpose {
            Purpose::Hmac => SessionType::Hmac,
            Purpose::Policy => SessionType::Policy,
        };
        let started = self.call("TPM2_StartAuthSession", |context| {
            let cipher = SymmetricDefinition::AES_128_CFB;
            context.start_auth_session(salt, None, None, kind, cipher, HashingAlgorithm::Sha256)
        })?;
        let session = started.ok_or(Error::Ended)?;
        let encrypted = salt.is_some();
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(encrypted)
            .with_encrypt(encrypted)
            .build();
        // This sends nothing to the chip.
        self.local(|context| context.tr_sess_set_attributes(session, attributes, mask))?;
        Ok(Session(session))
    }

    /// Ends a session.
    pub(crate) fn end(&mut self, session: Session) {
        self.flush(SessionHandle::from(session.0));
    }

    /// Works in a session and ends it.
    pub(crate) fn in_session<T>(
        &mut self,
        purpose: Purpose,
        salt: Option<KeyHandle>,
        work: impl FnOnce(&mut Self, Session) -> Result<T>,
    ) -> Result<T> {
        let session = self.session(purpose, salt)?;
        let result = work(self, session);
        self.end(session);
        result
    }
}
