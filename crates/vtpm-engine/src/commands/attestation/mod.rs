//! Attestation: Part 3, chapter 18. `TPM2_NV_Certify` is with the NV commands.

pub(crate) mod certify;
pub(crate) mod certify_creation;
pub(crate) mod certify_x509;
mod der;
pub(crate) mod get_command_audit_digest;
pub(crate) mod get_session_audit_digest;
pub(crate) mod get_time;
pub(crate) mod quote;
mod x509;
