//! Constants of TPM 2.0 Library Part 2, clause 6, as open integers: any value can be read; what
//! is not accepted is decided by the checked types and the commands.

use super::open_integer;

open_integer! {
    /// `TPM_ALG_ID` (clause 6.3).
    #[doc(alias = "TPM_ALG_ID")]
    pub struct Alg(u16);

    RSA = 0x0001;
    SHA1 = 0x0004;
    HMAC = 0x0005;
    AES = 0x0006;
    MGF1 = 0x0007;
    KEYEDHASH = 0x0008;
    XOR = 0x000a;
    SHA256 = 0x000b;
    SHA384 = 0x000c;
    SHA512 = 0x000d;
    NULL = 0x0010;
    RSASSA = 0x0014;
    RSAES = 0x0015;
    RSAPSS = 0x0016;
    OAEP = 0x0017;
    ECDSA = 0x0018;
    ECDH = 0x0019;
    ECDAA = 0x001a;
    SM2 = 0x001b;
    ECSCHNORR = 0x001c;
    ECMQV = 0x001d;
    KDF1_SP800_56A = 0x0020;
    KDF2 = 0x0021;
    KDF1_SP800_108 = 0x0022;
    ECC = 0x0023;
    SYMCIPHER = 0x0025;
    SHA3_256 = 0x0027;
    SHA3_384 = 0x0028;
    SHA3_512 = 0x0029;
    CMAC = 0x003f;
    CTR = 0x0040;
    OFB = 0x0041;
    CBC = 0x0042;
    CFB = 0x0043;
    ECB = 0x0044;
}

open_integer! {
    /// `TPM_ST`: structure tags (clause 6.9).
    #[doc(alias = "TPM_ST")]
    pub struct Tag(u16);

    RSP_COMMAND = 0x00c4;
    NULL = 0x8000;
    NO_SESSIONS = 0x8001;
    SESSIONS = 0x8002;
    ATTEST_NV = 0x8014;
    ATTEST_COMMAND_AUDIT = 0x8015;
    ATTEST_SESSION_AUDIT = 0x8016;
    ATTEST_CERTIFY = 0x8017;
    ATTEST_QUOTE = 0x8018;
    ATTEST_TIME = 0x8019;
    ATTEST_CREATION = 0x801a;
    ATTEST_NV_DIGEST = 0x801c;
    CREATION = 0x8021;
    VERIFIED = 0x8022;
    AUTH_SECRET = 0x8023;
    HASHCHECK = 0x8024;
    AUTH_SIGNED = 0x8025;
}

open_integer! {
    /// `TPM_SU`: startup and shutdown types (clause 6.10).
    #[doc(alias = "TPM_SU")]
    pub struct Su(u16);

    CLEAR = 0x0000;
    STATE = 0x0001;
}

open_integer! {
    /// `TPM_SE`: session types (clause 6.11).
    #[doc(alias = "TPM_SE")]
    pub struct Se(u8);

    HMAC = 0x00;
    POLICY = 0x01;
    TRIAL = 0x03;
}

open_integer! {
    /// `TPM_CAP`: capabilities (clause 6.12).
    #[doc(alias = "TPM_CAP")]
    pub struct Cap(u32);

    ALGS = 0;
    HANDLES = 1;
    COMMANDS = 2;
    PP_COMMANDS = 3;
    AUDIT_COMMANDS = 4;
    PCRS = 5;
    TPM_PROPERTIES = 6;
    PCR_PROPERTIES = 7;
    ECC_CURVES = 8;
    AUTH_POLICIES = 9;
    ACT = 10;
    VENDOR_PROPERTY = 0x100;
}

open_integer! {
    /// `TPM_EO`: comparison operators (clause 6.8).
    #[doc(alias = "TPM_EO")]
    pub struct Eo(u16);

    EQ = 0x0000;
    NEQ = 0x0001;
    SIGNED_GT = 0x0002;
    UNSIGNED_GT = 0x0003;
    SIGNED_LT = 0x0004;
    UNSIGNED_LT = 0x0005;
    SIGNED_GE = 0x0006;
    UNSIGNED_GE = 0x0007;
    SIGNED_LE = 0x0008;
    UNSIGNED_LE = 0x0009;
    BITSET = 0x000a;
    BITCLEAR = 0x000b;
}

/// `TPM_GENERATED_VALUE`: the first bytes of everything that the TPM attests (clause 6.2).
#[doc(alias = "TPM_GENERATED_VALUE")]
pub const GENERATED: u32 = 0xff54_4347;

open_integer! {
    /// `TPM_CC`: command codes (clause 6.5.2).
    #[doc(alias = "TPM_CC")]
    pub struct Cc(u32);

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
