//! Policies: what the policy commands share (Part 1, clause 19; Part 3, clause 23).
//!
//! A policy session gathers a digest and, beside it, what must hold when the session authorizes:
//! the session code checks that. Here the digest grows, and assertions of other parties
//! (`TPM2_PolicySigned`, `TPM2_PolicySecret`, `TPM2_PolicyTicket`) are checked and ticketed.

use core::cmp::Ordering;

use crate::crypto::hash;
use crate::hierarchy::Hierarchy;
use crate::session::{PolicyBinding, Session, SessionKind};
use crate::tpm::Tpm;
use crate::wire::{
    Buffer, Cc, Digest, Eo, Handle, HandleInterface, HandleType, Marshal, Nonce, NvAttributes, Rc,
    Reader, ShPolicy, Tag, Ticket, Unmarshal,
};

/// `TPM2B_TIMEOUT`: when an assertion ends, in a format of our own.
pub(crate) type Timeout = Buffer<8>;

/// In a [`Timeout`]: the assertion does not outlive the next TPM Reset. No time comes near.
const EXPIRES_ON_RESET: u64 = 1 << 63;

/// A comparison as a parameter: an unknown `TPM_EO` is `TPM_RC_VALUE`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison(Eo);

impl Unmarshal for Comparison {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let operation = reader.get::<Eo>()?;
        if operation > Eo::BITCLEAR { Err(Rc::VALUE) } else { Ok(Self(operation)) }
    }
}

impl Comparison {
    /// Whether this is `TPM_EO_NEQ`.
    pub(crate) fn is_not_equal(self) -> bool {
        self.0 == Eo::NEQ
    }

    /// `a operation b`, for operands of equal size that are big-endian numbers.
    pub(crate) fn holds(self, a: &[u8], b: &[u8]) -> bool {
        let unsigned = a.cmp(b);
        let negative = |operand: &[u8]| operand.first().is_some_and(|byte| byte & 0x80 != 0);
        let signed = match (negative(a), negative(b)) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => unsigned,
            // As the reference code has it, and software that was made with it expects it.
            (true, true) => unsigned.reverse(),
        };
        let mut bytes = a.iter().zip(b);
        match self.0 {
            Eo::EQ => unsigned.is_eq(),
            Eo::NEQ => unsigned.is_ne(),
            Eo::SIGNED_GT => signed.is_gt(),
            Eo::UNSIGNED_GT => unsigned.is_gt(),
            Eo::SIGNED_LT => signed.is_lt(),
            Eo::UNSIGNED_LT => unsigned.is_lt(),
            Eo::SIGNED_GE => signed.is_ge(),
            Eo::UNSIGNED_GE => unsigned.is_ge(),
            Eo::SIGNED_LE => signed.is_le(),
            Eo::UNSIGNED_LE => unsigned.is_le(),
            Eo::BITSET => bytes.all(|(a, b)| a & b == *b),
            Eo::BITCLEAR => bytes.all(|(a, b)| a & b == 0),
            _ => false,
        }
    }

    /// The operands as they go into a policy: the digest of operand B, offset and operation,
    /// and what a command adds.
    pub(crate) fn arguments(
        self,
        session: &Session,
        operand_b: &[u8],
        offset: u16,
        more: &[u8],
    ) -> hash::Digest {
        let parts = [operand_b, &offset.to_be_bytes(), &self.0.to_bytes(), more];
        hash::hash(session.hash, &parts)
    }

    /// Compares the bytes of `data` at `offset` with `operand_b`; `TPM_RC_POLICY` when the
    /// comparison does not hold, `TPM_RC_VALUE` for parameter 2 (the offset) or `TPM_RC_SIZE` for
    /// parameter 1 (the operand) when they reach beyond the data.
    pub(crate) fn check(self, data: &[u8], offset: u16, operand_b: &[u8]) -> Result<(), Rc> {
        let rest = data.get(usize::from(offset)..).ok_or(Rc::VALUE.parameter(2))?;
        let operand_a = rest.get(..operand_b.len()).ok_or(Rc::SIZE.parameter(1))?;
        if self.holds(operand_a, operand_b) { Ok(()) } else { Err(Rc::POLICY) }
    }
}

/// The one-based numbers of the parameters of an assertion.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Blame {
    pub(crate) nonce: u32,
    pub(crate) cp_hash: u32,
    pub(crate) expiration: u32,
}

/// What another party asserts by a signature, a secret or a ticket.
#[derive(Debug)]
pub(crate) struct Assertion<'a> {
    /// The command that has or had the proof.
    pub(crate) code: Cc,
    /// The party's name.
    pub(crate) name: &'a [u8],
    /// Of the party's choosing.
    pub(crate) policy_ref: &'a [u8],
    /// The command that is authorized; empty for any.
    pub(crate) cp_hash: &'a Digest,
    /// When the assertion ends, in milliseconds of Time; zero for never.
    pub(crate) timeout: u64,
    /// The assertion does not outlive the next TPM Reset.
    pub(crate) expires_on_reset: bool,
}

impl Assertion<'_> {
    /// Takes a [`Timeout`] apart: the time, and whether it expires on reset.
    pub(crate) fn parse_timeout(timeout: &Timeout) -> Option<(u64, bool)> {
        let bits = u64::from_be_bytes(timeout.as_bytes().try_into().ok()?);
        Some((bits & !EXPIRES_ON_RESET, bits & EXPIRES_ON_RESET != 0))
    }

    fn timeout_bytes(&self) -> Timeout {
        let flag = if self.expires_on_reset { EXPIRES_ON_RESET } else { 0 };
        Timeout::from((self.timeout | flag).to_bytes())
    }
}

impl Session {
    /// Whether nothing is checked, because nothing can be authorized.
    pub(crate) fn is_trial(&self) -> bool {
        self.kind == SessionKind::Trial
    }

    /// Extends the policy by a command and its arguments.
    pub(crate) fn extend_policy(&mut self, code: Cc, arguments: &[&[u8]]) {
        let code = code.to_bytes();
        let mut parts: Vec<&[u8]> = vec![&self.policy.digest, &code];
        parts.extend_from_slice(arguments);
        self.policy.digest = Digest::from_slice(&hash::hash(self.hash, &parts));
    }

    /// Extends the policy by a command that names an entity and a policyRef
    /// (`PolicyUpdate()` of Part 3, clause 23.2.3).
    pub(crate) fn extend_policy_by_entity(&mut self, code: Cc, name: &[u8], policy_ref: &[u8]) {
        self.extend_policy(code, &[name]);
        let digest = hash::hash(self.hash, &[&self.policy.digest, policy_ref]);
        self.policy.digest = Digest::from_slice(&digest);
    }

    /// Binds the policy to what a digest stands for, which nothing may have done before, and
    /// extends it by the command that did.
    ///
    /// # Errors
    /// `TPM_RC_SIZE` for the first parameter when the digest is not of the session's hash;
    /// `TPM_RC_CPHASH` when the policy is bound already.
    pub(crate) fn bind_once(
        &mut self,
        code: Cc,
        digest: Digest,
        kind: fn(Digest) -> PolicyBinding,
    ) -> Result<(), Rc> {
        if digest.len() != self.hash.digest_size() {
            return Err(Rc::SIZE.parameter(1));
        }
        if self.policy.binding != PolicyBinding::None {
            return Err(Rc::CPHASH);
        }
        self.extend_policy(code, &[&digest]);
        self.policy.binding = kind(digest);
        Ok(())
    }

    /// Sets the policy to zeros, for what replaces all of it.
    pub(crate) fn clear_policy_digest(&mut self) {
        self.policy.digest = Digest::from(vec![0; self.hash.digest_size()]);
    }

    /// The time when an assertion ends; zero for never.
    ///
    /// With a nonce, `expiration` counts from the start of the session; without, it is a Time in
    /// seconds, rounded up so that the assertion does not end early.
    pub(crate) fn timeout(&self, expiration: i32, nonce: &Nonce, now: u64) -> u64 {
        let milliseconds = u64::from(expiration.unsigned_abs()).saturating_mul(1000);
        let base = match (expiration, nonce.is_empty()) {
            (0, _) => return 0,
            (_, true) => now % 1000,
            (_, false) => self.policy.start_time,
        };
        base.saturating_add(milliseconds) & !EXPIRES_ON_RESET
    }

    fn adopt(&mut self, assertion: &Assertion<'_>) {
        self.extend_policy_by_entity(assertion.code, assertion.name, assertion.policy_ref);
        if !assertion.cp_hash.is_empty() {
            self.policy.binding = PolicyBinding::CpHash(assertion.cp_hash.clone());
        }
        let earliest = self.policy.timeout;
        if assertion.timeout != 0 && (earliest == 0 || earliest > assertion.timeout) {
            self.policy.timeout = assertion.timeout;
        }
    }
}

impl Tpm {
    /// A policy session that dispatch found to be there.
    pub(crate) fn policy_session(&self, handle: ShPolicy) -> Result<&Session, Rc> {
        self.sessions.get(handle.handle()).ok_or(Rc::FAILURE)
    }

    /// A policy session that dispatch found to be there.
    pub(crate) fn policy_session_mut(&mut self, handle: ShPolicy) -> Result<&mut Session, Rc> {
        self.sessions.get_mut(handle.handle()).ok_or(Rc::FAILURE)
    }

    /// Checks nonce, time and cpHash of an assertion in a session that is not a trial
    /// (Part 3, clause 23.2.2): `TPM_RC_NONCE`, `TPM_RC_EXPIRED`, `TPM_RC_SIZE`, `TPM_RC_CPHASH`.
    pub(crate) fn check_assertion(
        &self,
        session: &Session,
        timeout: u64,
        cp_hash: &Digest,
        nonce: Option<&Nonce>,
        blame: Blame,
    ) -> Result<(), Rc> {
        if let Some(nonce) = nonce
            && !nonce.is_empty()
            && *nonce != session.nonce_tpm
        {
            return Err(Rc::NONCE.parameter(blame.nonce));
        }
        let expired = timeout < self.clock.time || session.policy.epoch != self.clock.epoch;
        if timeout != 0 && expired {
            return Err(Rc::EXPIRED.parameter(blame.expiration));
        }
        if cp_hash.is_empty() {
            return Ok(());
        }
        if cp_hash.len() != session.hash.digest_size() {
            return Err(Rc::SIZE.parameter(blame.cp_hash));
        }
        match &session.policy.binding {
            PolicyBinding::None => Ok(()),
            PolicyBinding::CpHash(earlier) if earlier == cp_hash => Ok(()),
            _ => Err(Rc::CPHASH),
        }
    }

    /// Takes a checked assertion into a policy.
    pub(crate) fn adopt_assertion(
        &mut self,
        handle: ShPolicy,
        assertion: &Assertion<'_>,
    ) -> Result<(), Rc> {
        self.policy_session_mut(handle)?.adopt(assertion);
        Ok(())
    }

    /// Timeout and ticket by which `TPM2_PolicyTicket` recognizes an assertion.
    pub(crate) fn assertion_ticket(
        &self,
        tag: Tag,
        hierarchy: Hierarchy,
        assertion: &Assertion<'_>,
    ) -> (Timeout, Ticket) {
        let contents = self.assertion_ticket_contents(assertion);
        (assertion.timeout_bytes(), self.ticket(tag, hierarchy, &[&contents]))
    }

    /// `TPM_RC_TICKET` unless a ticket is that of the assertion.
    pub(crate) fn check_assertion_ticket(
        &self,
        ticket: &Ticket,
        assertion: &Assertion<'_>,
    ) -> Result<(), Rc> {
        let contents = self.assertion_ticket_contents(assertion);
        if self.is_ticket_valid(ticket, &[&contents]) { Ok(()) } else { Err(Rc::TICKET) }
    }

    /// What a ticket is made over. The variable parts carry their sizes, so that no byte can be
    /// moved from one to the next.
    fn assertion_ticket_contents(&self, assertion: &Assertion<'_>) -> Vec<u8> {
        let mut contents = Vec::new();
        for part in [assertion.cp_hash.as_bytes(), assertion.policy_ref, assertion.name] {
            crate::wire::marshal_sized(&mut contents, |out| out.extend_from_slice(part));
        }
        assertion.timeout.marshal(&mut contents);
        self.clock.epoch.marshal(&mut contents);
        if assertion.expires_on_reset {
            self.permanent.total_reset_count.marshal(&mut contents);
        }
        contents
    }

    /// The hierarchy of an entity: whose proof makes its tickets.
    pub(crate) fn hierarchy_of(&self, handle: Handle) -> Hierarchy {
        match handle.kind() {
            Some(HandleType::Permanent) => Hierarchy::of(handle).unwrap_or(Hierarchy::Owner),
            Some(HandleType::Nv) => {
                let platform = self
                    .nv
                    .index(handle)
                    .is_some_and(|index| index.has(NvAttributes::PLATFORM_CREATE));
                if platform { Hierarchy::Platform } else { Hierarchy::Owner }
            }
            Some(HandleType::Transient | HandleType::Persistent) => {
                self.object(handle).map_or(Hierarchy::Null, |object| object.hierarchy)
            }
            _ => Hierarchy::Owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_comparisons_take_the_first_bit_as_the_sign_and_the_rest_as_the_amount() {
        let greater = Comparison(Eo::SIGNED_GT);
        assert!(greater.holds(&[0x01, 0x00], &[0xff, 0xff]));
        assert!(greater.holds(&[0xff, 0xfe], &[0xff, 0xff]));
        assert!(!greater.holds(&[0x80, 0x00], &[0x7f, 0xff]));
        assert!(Comparison(Eo::UNSIGNED_GT).holds(&[0x80, 0x00], &[0x7f, 0xff]));
    }

    #[test]
    fn every_comparison_is_right_for_less_equal_and_greater() {
        let expected = [
            (Eo::EQ, [false, true, false]),
            (Eo::NEQ, [true, false, true]),
            (Eo::SIGNED_GT, [false, false, true]),
            (Eo::UNSIGNED_GT, [false, false, true]),
            (Eo::SIGNED_LT, [true, false, false]),
            (Eo::UNSIGNED_LT, [true, false, false]),
            (Eo::SIGNED_GE, [false, true, true]),
            (Eo::UNSIGNED_GE, [false, true, true]),
            (Eo::SIGNED_LE, [true, true, false]),
            (Eo::UNSIGNED_LE, [true, true, false]),
        ];
        for (operation, results) in expected {
            for (b, result) in [6, 5, 4].into_iter().zip(results) {
                assert_eq!(Comparison(operation).holds(&[5], &[b]), result, "{operation:?} {b}");
            }
        }
    }

    #[test]
    fn bit_comparisons_look_at_the_bits_of_the_second_operand() {
        assert!(Comparison(Eo::BITSET).holds(&[0b111], &[0b101]));
        assert!(!Comparison(Eo::BITSET).holds(&[0b110], &[0b101]));
        assert!(Comparison(Eo::BITCLEAR).holds(&[0b010], &[0b101]));
        assert!(!Comparison(Eo::BITCLEAR).holds(&[0b011], &[0b101]));
    }

    #[test]
    fn a_comparison_beyond_the_data_names_the_parameter_at_fault() {
        let equal = Comparison(Eo::EQ);
        assert_eq!(equal.check(&[1, 2], 1, &[2]), Ok(()));
        assert_eq!(equal.check(&[1, 2], 2, &[]), Ok(()));
        assert_eq!(equal.check(&[1, 2], 3, &[]), Err(Rc::VALUE.parameter(2)));
        assert_eq!(equal.check(&[1, 2], 1, &[2, 3]), Err(Rc::SIZE.parameter(1)));
        assert_eq!(equal.check(&[1, 2], 0, &[2]), Err(Rc::POLICY));
    }
}
