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
    STARTUP startup::startup [] { nv no_sessions }
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
    PCR_SET_AUTH_VALUE pcr::pcr_set_auth_value [User] {}
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
    READ_ONLY_CONTROL hierarchy::read_only_control [User] { nv presence }
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

    /// `TPMA_CC` of every command of swtpm 0.7.1, as its `TPM2_GetCapability` answers.
    #[rustfmt::skip] // seven to a line
    const SWTPM: &[u32] = &[
        0x0440011f, 0x04400120, 0x02c00121, 0x04400122, 0x02c00124, 0x02c00125, 0x02c00126,
        0x02400127, 0x02400128, 0x02400129, 0x0240012a, 0x0240012b, 0x0240012c, 0x0240012d,
        0x0240012e, 0x02000130, 0x12000131, 0x02400132, 0x04400133, 0x04400134, 0x04400135,
        0x04400136, 0x04400137, 0x04400138, 0x02400139, 0x0240013a, 0x0240013b, 0x0240013c,
        0x0240013d, 0x0300013e, 0x0240013f, 0x02400140, 0x00400142, 0x00400143, 0x00400144,
        0x00400145, 0x00400146, 0x04000147, 0x04000148, 0x06000149, 0x0400014a, 0x0400014b,
        0x0400014c, 0x0600014d, 0x0400014e, 0x0440014f, 0x04000150, 0x04000151, 0x04000152,
        0x02000153, 0x02000154, 0x02000155, 0x02000156, 0x12000157, 0x02000158, 0x02000159,
        0x1200015b, 0x0200015c, 0x0200015d, 0x0200015e, 0x04000160, 0x10000161, 0x02000162,
        0x02000163, 0x02000164, 0x00000165, 0x10000167, 0x02000168, 0x02000169, 0x0200016a,
        0x0200016b, 0x0200016c, 0x0200016d, 0x0200016e, 0x0200016f, 0x02000170, 0x02000171,
        0x02000172, 0x02000173, 0x02000174, 0x14000176, 0x02000177, 0x00000178, 0x0000017a,
        0x0000017b, 0x0000017c, 0x0000017d, 0x0000017e, 0x0200017f, 0x02000180, 0x00000181,
        0x02400182, 0x02000183, 0x06000184, 0x05400185, 0x10000186, 0x02000187, 0x02000188,
        0x02000189, 0x0000018a, 0x0200018b, 0x0200018c, 0x0200018d, 0x0000018e, 0x0200018f,
        0x02000190, 0x12000191, 0x06000192, 0x02000193, 0x04000197,
    ];

    #[test]
    fn every_command_of_swtpm_is_there_with_its_attributes() {
        for expected in SWTPM {
            let row = crate::commands::find(Cc(expected & 0xffff));
            let row = row.unwrap_or_else(|| panic!("{expected:#010x} is missing"));
            let attributes = capability::command_attributes(row).0;
            assert_eq!(attributes, *expected, "{:?}: {attributes:#010x}", row.code);
        }
    }
}
