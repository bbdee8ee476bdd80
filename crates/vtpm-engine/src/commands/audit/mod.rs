//! Command audit: Part 3, chapter 21.

pub(crate) mod set_command_code_audit_status;
