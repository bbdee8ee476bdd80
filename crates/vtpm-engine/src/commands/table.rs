//! The index of all commands, in ascending order of their codes.

use super::{Flags, Request, Respond, Row};
use crate::entity::Role;
use crate::wire::Cc;

use super::{
    act, asymmetric, attestation, audit, capability, clock, context, duplication, ephemeral,
    hierarchy, lockout, management, nv, object, pcr, policy, random, sequence, session, signature,
    startup, symmetric, testing,
};

/// A row: code, module, roles of the handles, flags.
macro_rules! rows {
    ($($code:ident $($module:ident)::+ [$($role:ident)*] { $($flag:ident)* })*) => {
        &[$(Row {
            code: Cc::$code,
            handles: <$($module)::+::Command as Request>::HANDLES,
            roles: &[$(Role::$role),*],
            #[allow(clippy::needless_update, reason = "some rows set every flag they know")]
            flags: Flags { $($flag: true,)* ..NO_FLAGS },
            decrypt: <$($module)::+::Command as Request>::DECRYPT,
            encrypt: <$($module)::+::Response as Respond>::ENCRYPT,
            response_handle: <$($module)::+::Response as Respond>::HANDLE,
            run: |tpm, authorized, handles, reader, reply| {
                let command = <$($module)::+::Command as Request>::read(handles, reader)?;
                let response = $($module)::+::run(tpm, authorized, command)?;
                response.write(reply);
                Ok(())
            },
        },)*]
    };
}

const NO_FLAGS: Flags = Flags {
    nv: false,
    extensive: false,
    flushed: false,
    no_sessions: false,
    presence: false,
    presence_always: false,
};

/// The commands.
#[rustfmt::skip] // one line a command
pub(crate) static ROWS: &[Row] = rows! {
    NV_UNDEFINE_SPACE_SPECIAL nv::nv_undefine_space_special [Admin User] { nv presence }
    EVICT_CONTROL context::evict_control [User] { nv presence }
    HIERARCHY_CONTROL hierarchy::hierarchy_control [User] { nv extensive presence }
    NV_UNDEFINE_SPACE nv::nv_undefine_space [User] { nv presence }
    CHANGE_EPS hierarchy::change_eps [User] { nv extensive presence }
    CHANGE_PPS hierarchy::change_pps [User] { nv extensive presence }
    CLEAR hierarchy::clear [User] { nv extensive presence }
    CLEAR_CONTROL hierarchy::clear_control [User] { nv presence }
    CLOCK_SET clock::clock_set [User] { nv presence }
    HIERARCHY_CHANGE_AUTH hierarchy::hierarchy_change_auth [User] { nv presence }
    NV_DEFINE_SPACE nv::nv_define_space [User] { nv presence }
    PCR_ALLOCATE pcr::pcr_allocate [User] { nv presence }
    PCR_SET_AUTH_POLICY pcr::pcr_set_auth_policy [User] { nv presence }
    PP_COMMANDS management::pp_commands [User] { nv presence_always }
    SET_PRIMARY_POLICY hierarchy::set_primary_policy [User] { nv presence }
    CLOCK_RATE_ADJUST clock::clock_rate_adjust [User] { presence }
    CREATE_PRIMARY hierarchy::create_primary [User] { presence }
    NV_GLOBAL_WRITE_LOCK nv::nv_global_write_lock [User] { nv presence }
    GET_COMMAND_AUDIT_DIGEST attestation::get_command_audit_digest [User User] { nv }
    NV_INCREMENT nv::nv_increment [User] { nv }
    NV_SET_BITS nv::nv_set_bits [User] { nv }
    NV_EXTEND nv::nv_extend [User] { nv }
    NV_WRITE nv::nv_write [User] { nv }
    NV_WRITE_LOCK nv::nv_write_lock [User] { nv }
    DICTIONARY_ATTACK_LOCK_RESET lockout::dictionary_attack_lock_reset [User] { nv }
    DICTIONARY_ATTACK_PARAMETERS lockout::dictionary_attack_parameters [User] { nv }
    NV_CHANGE_AUTH nv::nv_change_auth [Admin] { nv }
    PCR_EVENT pcr::pcr_event [User] { nv }
    PCR_RESET pcr::pcr_reset [User] { nv }
    SEQUENCE_COMPLETE sequence::sequence_complete [User] { flushed }
    SET_ALGORITHM_SET management::set_algorithm_set [User] { nv presence }
    SET_COMMAND_CODE_AUDIT_STATUS audit::set_command_code_audit_status [User] { nv presence }
    INCREMENTAL_SELF_TEST testing::incremental_self_test [] { nv }
    SELF_TEST testing::self_test [] { nv }
    STARTUP startup::startup [] { no_sessions }
    SHUTDOWN startup::shutdown [] { nv }
    STIR_RANDOM random::stir_random [] { nv }
    ACTIVATE_CREDENTIAL object::activate_credential [Admin User] {}
    CERTIFY attestation::certify [Admin User] {}
    POLICY_NV policy::policy_nv [User] {}
    CERTIFY_CREATION attestation::certify_creation [User] {}
    DUPLICATE duplication::duplicate [Dup] {}
    GET_TIME attestation::get_time [User User] {}
    GET_SESSION_AUDIT_DIGEST attestation::get_session_audit_digest [User User] {}
    NV_READ nv::nv_read [User] {}
    NV_READ_LOCK nv::nv_read_lock [User] { nv }
    OBJECT_CHANGE_AUTH object::object_change_auth [Admin] {}
    POLICY_SECRET policy::policy_secret [User] {}
    REWRAP duplication::rewrap [User] {}
    CREATE object::create [User] {}
    ECDH_ZGEN asymmetric::ecdh_zgen [User] {}
    HMAC symmetric::mac [User] {}
    IMPORT duplication::import [User] {}
    LOAD object::load [User] {}
    QUOTE attestation::quote [User] {}
    RSA_DECRYPT asymmetric::rsa_decrypt [User] {}
    HMAC_START sequence::mac_start [User] {}
    SEQUENCE_UPDATE sequence::sequence_update [User] {}
    SIGN signature::sign [User] {}
    UNSEAL object::unseal [User] {}
    POLICY_SIGNED policy::policy_signed [] {}
    CONTEXT_LOAD context::context_load [] { no_sessions }
    CONTEXT_SAVE context::context_save [] { no_sessions }
    ECDH_KEYGEN asymmetric::ecdh_keygen [] {}
    ENCRYPT_DECRYPT symmetric::encrypt_decrypt [User] {}
    FLUSH_CONTEXT context::flush_context [] { no_sessions }
    LOAD_EXTERNAL object::load_external [] {}
    MAKE_CREDENTIAL object::make_credential [] {}
    NV_READ_PUBLIC nv::nv_read_public [] {}
    POLICY_AUTHORIZE policy::policy_authorize [] {}
    POLICY_AUTH_VALUE policy::policy_auth_value [] {}
    POLICY_COMMAND_CODE policy::policy_command_code [] {}
    POLICY_COUNTER_TIMER policy::policy_counter_timer [] {}
    POLICY_CP_HASH policy::policy_cp_hash [] {}
    POLICY_LOCALITY policy::policy_locality [] {}
    POLICY_NAME_HASH policy::policy_name_hash [] {}
    POLICY_OR policy::policy_or [] {}
    POLICY_TICKET policy::policy_ticket [] {}
    READ_PUBLIC object::read_public [] {}
    RSA_ENCRYPT asymmetric::rsa_encrypt [] {}
    START_AUTH_SESSION session::start_auth_session [] {}
    VERIFY_SIGNATURE signature::verify_signature [] {}
    ECC_PARAMETERS asymmetric::ecc_parameters [] {}
    GET_CAPABILITY capability::get_capability [] {}
    GET_RANDOM random::get_random [] {}
    GET_TEST_RESULT testing::get_test_result [] {}
    HASH symmetric::hash [] {}
    PCR_READ pcr::pcr_read [] {}
    POLICY_PCR policy::policy_pcr [] {}
    POLICY_RESTART session::policy_restart [] {}
    READ_CLOCK clock::read_clock [] {}
    PCR_EXTEND pcr::pcr_extend [User] { nv }
    PCR_SET_AUTH_VALUE pcr::pcr_set_auth_value [User] { nv }
    NV_CERTIFY nv::nv_certify [User User] {}
    EVENT_SEQUENCE_COMPLETE sequence::event_sequence_complete [User User] { nv flushed }
    HASH_SEQUENCE_START sequence::hash_sequence_start [] {}
    POLICY_PHYSICAL_PRESENCE policy::policy_physical_presence [] {}
    POLICY_DUPLICATION_SELECT policy::policy_duplication_select [] {}
    POLICY_GET_DIGEST policy::policy_get_digest [] {}
    TEST_PARMS capability::test_parms [] {}
    COMMIT ephemeral::commit [User] {}
    POLICY_PASSWORD policy::policy_password [] {}
    ZGEN_2PHASE asymmetric::zgen_2phase [User] {}
    EC_EPHEMERAL ephemeral::ec_ephemeral [] {}
    POLICY_NV_WRITTEN policy::policy_nv_written [] {}
    POLICY_TEMPLATE policy::policy_template [] {}
    CREATE_LOADED object::create_loaded [User] { presence }
    POLICY_AUTHORIZE_NV policy::policy_authorize_nv [User] {}
    ENCRYPT_DECRYPT_2 symmetric::encrypt_decrypt_2 [User] {}
    CERTIFY_X509 attestation::certify_x509 [Admin User] {}
    ACT_SET_TIMEOUT act::act_set_timeout [User] {}
    ECC_ENCRYPT asymmetric::ecc_encrypt [] {}
    ECC_DECRYPT asymmetric::ecc_decrypt [User] {}
    POLICY_CAPABILITY policy::policy_capability [] {}
    POLICY_PARAMETERS policy::policy_parameters [] {}
    NV_DEFINE_SPACE_2 nv::nv_define_space_2 [User] { nv presence }
    NV_READ_PUBLIC_2 nv::nv_read_public_2 [] {}
    SET_CAPABILITY capability::set_capability [User] { nv }
    READ_ONLY_CONTROL hierarchy::read_only_control [User] { nv }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_ascending_order_of_command_codes() {
        assert!(ROWS.is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn handles_that_need_authorization_come_first() {
        for row in ROWS {
            assert!(row.roles.len() <= row.handles.len(), "{:?}", row.code);
            assert!(!row.roles.contains(&Role::None), "{:?}", row.code);
        }
    }
}
