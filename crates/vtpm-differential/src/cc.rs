//! Command codes: TPM 2.0 Library Part 2, clause 6.5.2.

macro_rules! codes {
    ($($name:ident = $value:expr;)*) => {
        $(
            #[allow(dead_code, reason = "some commands are only ever refused")]
            pub(crate) const $name: u32 = $value;
        )*

        /// All codes with their names.
        pub(crate) const ALL: &[(u32, &str)] = &[$(($value, stringify!($name)),)*];
    };
}

codes! {
    NV_UNDEFINE_SPACE_SPECIAL = 0x011f;
    EVICT_CONTROL = 0x0120;
    HIERARCHY_CONTROL = 0x0121;
    NV_UNDEFINE_SPACE = 0x0122;
    CHANGE_EPS = 0x0124;
    CHANGE_PPS = 0x0125;
    CLEAR = 0x0126;
    CLEAR_CONTROL = 0x0127;
    CLOCK_SET = 0x0128;
    HIERARCHY_CHANGE_AUTH = 0x0129;
    NV_DEFINE_SPACE = 0x012a;
    PCR_ALLOCATE = 0x012b;
    PCR_SET_AUTH_POLICY = 0x012c;
    PP_COMMANDS = 0x012d;
    SET_PRIMARY_POLICY = 0x012e;
    CLOCK_RATE_ADJUST = 0x0130;
    CREATE_PRIMARY = 0x0131;
    NV_GLOBAL_WRITE_LOCK = 0x0132;
    GET_COMMAND_AUDIT_DIGEST = 0x0133;
    NV_INCREMENT = 0x0134;
    NV_SET_BITS = 0x0135;
    NV_EXTEND = 0x0136;
    NV_WRITE = 0x0137;
    NV_WRITE_LOCK = 0x0138;
    DICTIONARY_ATTACK_LOCK_RESET = 0x0139;
    DICTIONARY_ATTACK_PARAMETERS = 0x013a;
    NV_CHANGE_AUTH = 0x013b;
    PCR_EVENT = 0x013c;
    PCR_RESET = 0x013d;
    SEQUENCE_COMPLETE = 0x013e;
    SET_ALGORITHM_SET = 0x013f;
    SET_COMMAND_CODE_AUDIT_STATUS = 0x0140;
    INCREMENTAL_SELF_TEST = 0x0142;
    SELF_TEST = 0x0143;
    STARTUP = 0x0144;
    SHUTDOWN = 0x0145;
    STIR_RANDOM = 0x0146;
    ACTIVATE_CREDENTIAL = 0x0147;
    CERTIFY = 0x0148;
    POLICY_NV = 0x0149;
    CERTIFY_CREATION = 0x014a;
    DUPLICATE = 0x014b;
    GET_TIME = 0x014c;
    GET_SESSION_AUDIT_DIGEST = 0x014d;
    NV_READ = 0x014e;
    NV_READ_LOCK = 0x014f;
    OBJECT_CHANGE_AUTH = 0x0150;
    POLICY_SECRET = 0x0151;
    REWRAP = 0x0152;
    CREATE = 0x0153;
    ECDH_ZGEN = 0x0154;
    HMAC = 0x0155;
    IMPORT = 0x0156;
    LOAD = 0x0157;
    QUOTE = 0x0158;
    RSA_DECRYPT = 0x0159;
    HMAC_START = 0x015b;
    SEQUENCE_UPDATE = 0x015c;
    SIGN = 0x015d;
    UNSEAL = 0x015e;
    POLICY_SIGNED = 0x0160;
    CONTEXT_LOAD = 0x0161;
    CONTEXT_SAVE = 0x0162;
    ECDH_KEYGEN = 0x0163;
    ENCRYPT_DECRYPT = 0x0164;
    FLUSH_CONTEXT = 0x0165;
    LOAD_EXTERNAL = 0x0167;
    MAKE_CREDENTIAL = 0x0168;
    NV_READ_PUBLIC = 0x0169;
    POLICY_AUTHORIZE = 0x016a;
    POLICY_AUTH_VALUE = 0x016b;
    POLICY_COMMAND_CODE = 0x016c;
    POLICY_COUNTER_TIMER = 0x016d;
    POLICY_CP_HASH = 0x016e;
    POLICY_LOCALITY = 0x016f;
    POLICY_NAME_HASH = 0x0170;
    POLICY_OR = 0x0171;
    POLICY_TICKET = 0x0172;
    READ_PUBLIC = 0x0173;
    RSA_ENCRYPT = 0x0174;
    START_AUTH_SESSION = 0x0176;
    VERIFY_SIGNATURE = 0x0177;
    ECC_PARAMETERS = 0x0178;
    FIRMWARE_READ = 0x0179;
    GET_CAPABILITY = 0x017a;
    GET_RANDOM = 0x017b;
    GET_TEST_RESULT = 0x017c;
    HASH = 0x017d;
    PCR_READ = 0x017e;
    POLICY_PCR = 0x017f;
    POLICY_RESTART = 0x0180;
    READ_CLOCK = 0x0181;
    PCR_EXTEND = 0x0182;
    PCR_SET_AUTH_VALUE = 0x0183;
    NV_CERTIFY = 0x0184;
    EVENT_SEQUENCE_COMPLETE = 0x0185;
    HASH_SEQUENCE_START = 0x0186;
    POLICY_PHYSICAL_PRESENCE = 0x0187;
    POLICY_DUPLICATION_SELECT = 0x0188;
    POLICY_GET_DIGEST = 0x0189;
    TEST_PARMS = 0x018a;
    COMMIT = 0x018b;
    POLICY_PASSWORD = 0x018c;
    ZGEN_2PHASE = 0x018d;
    EC_EPHEMERAL = 0x018e;
    POLICY_NV_WRITTEN = 0x018f;
    POLICY_TEMPLATE = 0x0190;
    CREATE_LOADED = 0x0191;
    POLICY_AUTHORIZE_NV = 0x0192;
    ENCRYPT_DECRYPT_2 = 0x0193;
    AC_GET_CAPABILITY = 0x0194;
    AC_SEND = 0x0195;
    POLICY_AC_SEND_SELECT = 0x0196;
    CERTIFY_X509 = 0x0197;
    ACT_SET_TIMEOUT = 0x0198;
    ECC_ENCRYPT = 0x0199;
    ECC_DECRYPT = 0x019a;
    POLICY_CAPABILITY = 0x019b;
    POLICY_PARAMETERS = 0x019c;
    NV_DEFINE_SPACE_2 = 0x019d;
    NV_READ_PUBLIC_2 = 0x019e;
    SET_CAPABILITY = 0x019f;
    READ_ONLY_CONTROL = 0x01a0;
}

/// A code's name, or its number.
pub(crate) fn name(code: u32) -> String {
    match ALL.iter().find(|(known, _)| *known == code) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("{code:#x}"),
    }
}

/// Whether a successful response has a handle.
pub(crate) fn returns_handle(code: u32) -> bool {
    matches!(
        code,
        CREATE_PRIMARY
            | LOAD
            | HMAC_START
            | CONTEXT_LOAD
            | LOAD_EXTERNAL
            | START_AUTH_SESSION
            | HASH_SEQUENCE_START
            | CREATE_LOADED
    )
}
