//! Object commands: Part 3, clause 12.

pub(crate) mod activate_credential;
pub(crate) mod create;
pub(crate) mod create_loaded;
pub(crate) mod load;
pub(crate) mod load_external;
pub(crate) mod make_credential;
pub(crate) mod object_change_auth;
pub(crate) mod read_public;
pub(crate) mod unseal;
