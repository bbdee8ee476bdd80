//! Attribute words: Part 2, clauses 8 and 13.4. Reserved bits are `TPM_RC_RESERVED_BITS`.

macro_rules! attributes {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ty), reserved $reserved:expr;
        $($(#[$bit_meta:meta])* $bit:ident = $value:expr;)*
    ) => {
        $(#[$meta])*
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$bit_meta])* pub const $bit: $name = $name($value);)*

            /// No attribute.
            pub const NONE: $name = $name(0);

            /// Whether all attributes of `other` are set.
            pub const fn has(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any attribute of `other` is set.
            pub const fn any(self, other: $name) -> bool {
                self.0 & other.0 != 0
            }

            /// With the attributes of `other` as well.
            #[must_use]
            pub const fn with(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// Without the attributes of `other`.
            #[must_use]
            pub const fn without(self, other: $name) -> $name {
                $name(self.0 & !other.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({:#x}", stringify!($name), self.0)?;
                $(if self.has(Self::$bit) {
                    write!(f, " {}", stringify!($bit))?;
                })*
                f.write_str(")")
            }
        }

        impl $crate::wire::Unmarshal for $name {
            fn unmarshal(
                reader: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::Rc> {
                let bits = reader.get::<$repr>()?;
                #[allow(clippy::bad_bit_mask, reason = "some words have no reserved bits")]
                if bits & $reserved != 0 {
                    return Err($crate::wire::Rc::RESERVED_BITS);
                }
                Ok(Self(bits))
            }
        }

        impl $crate::wire::Marshal for $name {
            fn marshal(&self, out: &mut Vec<u8>) {
                self.0.marshal(out);
            }
        }
    };
}

attributes! {
    /// `TPMA_OBJECT` (clause 8.3).
    #[doc(alias = "TPMA_OBJECT")]
    pub struct ObjectAttributes(u32), reserved 0xfff0_f309;

    /// The hierarchy of the object cannot change.
    FIXED_TPM = 1 << 1;
    /// A saved context dies at the next `TPM2_Startup(CLEAR)`.
    ST_CLEAR = 1 << 2;
    /// The parent cannot change.
    FIXED_PARENT = 1 << 4;
    /// The TPM made all of the sensitive data but the authorization value.
    SENSITIVE_DATA_ORIGIN = 1 << 5;
    /// The authorization value authorizes USER actions.
    USER_WITH_AUTH = 1 << 6;
    /// Only the policy authorizes ADMIN actions.
    ADMIN_WITH_POLICY = 1 << 7;
    /// Limited by the firmware's security version (revision 1.83); reserved in this TPM.
    FIRMWARE_LIMITED = 1 << 8;
    /// Limited by the security version number (revision 1.83); reserved in this TPM.
    SVN_LIMITED = 1 << 9;
    /// Not subject to dictionary-attack protection.
    NO_DA = 1 << 10;
    /// Duplication must be encrypted and to a new parent.
    ENCRYPTED_DUPLICATION = 1 << 11;
    /// The key works only on structures whose format is known.
    RESTRICTED = 1 << 16;
    /// The private part may decrypt.
    DECRYPT = 1 << 17;
    /// The private part may sign; for a symmetric cipher, it may encrypt.
    SIGN = 1 << 18;
    /// The key signs certificates made by `TPM2_CertifyX509`, and nothing else.
    X509_SIGN = 1 << 19;
}

attributes! {
    /// `TPMA_SESSION` (clause 8.4).
    #[doc(alias = "TPMA_SESSION")]
    pub struct SessionAttributes(u8), reserved 0x18;

    /// The session stays after the command.
    CONTINUE_SESSION = 1 << 0;
    /// The command runs only if the session is the exclusive audit session.
    AUDIT_EXCLUSIVE = 1 << 1;
    /// The audit digest starts anew.
    AUDIT_RESET = 1 << 2;
    /// The first command parameter is encrypted.
    DECRYPT = 1 << 5;
    /// The first response parameter will be encrypted.
    ENCRYPT = 1 << 6;
    /// The session is for audit.
    AUDIT = 1 << 7;
}

attributes! {
    /// `TPMA_LOCALITY` (clause 8.5): bits for localities 0 to 4; 32 to 255 name one extended
    /// locality.
    #[doc(alias = "TPMA_LOCALITY")]
    pub struct LocalityAttributes(u8), reserved 0;

    /// Locality 0.
    ZERO = 1 << 0;
    /// Locality 1.
    ONE = 1 << 1;
    /// Locality 2.
    TWO = 1 << 2;
    /// Locality 3.
    THREE = 1 << 3;
    /// Locality 4.
    FOUR = 1 << 4;
}

impl LocalityAttributes {
    /// The attributes that stand for one locality.
    pub fn of(locality: u8) -> LocalityAttributes {
        if locality < 5 {
            LocalityAttributes(1u8.wrapping_shl(u32::from(locality)))
        } else {
            LocalityAttributes(locality)
        }
    }

    /// Whether an extended locality (32 to 255) is meant.
    pub fn is_extended(self) -> bool {
        self.0 > 31
    }
}

attributes! {
    /// `TPMA_NV` (clause 13.4). The index type sits in bits 4 to 7.
    #[doc(alias = "TPMA_NV")]
    pub struct NvAttributes(u32), reserved 0x01f0_0300;

    /// Platform authorization may write.
    PP_WRITE = 1 << 0;
    /// Owner authorization may write.
    OWNER_WRITE = 1 << 1;
    /// The index's authorization value may write.
    AUTH_WRITE = 1 << 2;
    /// The index's policy may write.
    POLICY_WRITE = 1 << 3;
    /// The index can be deleted only with its policy.
    POLICY_DELETE = 1 << 10;
    /// Locked for writing until the next reset or `TPM2_NV_UndefineSpace`.
    WRITE_LOCKED = 1 << 11;
    /// A write replaces all of the data.
    WRITE_ALL = 1 << 12;
    /// `TPM2_NV_WriteLock` locks for good.
    WRITE_DEFINE = 1 << 13;
    /// `TPM2_NV_WriteLock` locks until the next reset or restart.
    WRITE_ST_CLEAR = 1 << 14;
    /// `TPM2_NV_GlobalWriteLock` locks.
    GLOBAL_LOCK = 1 << 15;
    /// Platform authorization may read.
    PP_READ = 1 << 16;
    /// Owner authorization may read.
    OWNER_READ = 1 << 17;
    /// The index's authorization value may read.
    AUTH_READ = 1 << 18;
    /// The index's policy may read.
    POLICY_READ = 1 << 19;
    /// Not subject to dictionary-attack protection.
    NO_DA = 1 << 25;
    /// Kept in RAM, written to NV at an orderly shutdown.
    ORDERLY = 1 << 26;
    /// `WRITTEN` is cleared by a reset or restart.
    CLEAR_ST_CLEAR = 1 << 27;
    /// Locked for reading until the next reset or restart.
    READ_LOCKED = 1 << 28;
    /// The index was written.
    WRITTEN = 1 << 29;
    /// Made by the platform.
    PLATFORM_CREATE = 1 << 30;
    /// `TPM2_NV_ReadLock` locks.
    READ_ST_CLEAR = 1 << 31;
}

impl NvAttributes {
    /// The bits of the index type, shifted down.
    pub const fn index_type_bits(self) -> u32 {
        (self.0 >> 4) & 0xf
    }
}

attributes! {
    /// `TPMA_PERMANENT` (clause 8.6).
    #[doc(alias = "TPMA_PERMANENT")]
    pub struct PermanentAttributes(u32), reserved 0;

    /// ownerAuth is set.
    OWNER_AUTH_SET = 1 << 0;
    /// endorsementAuth is set.
    ENDORSEMENT_AUTH_SET = 1 << 1;
    /// lockoutAuth is set.
    LOCKOUT_AUTH_SET = 1 << 2;
    /// `TPM2_Clear` is disabled.
    DISABLE_CLEAR = 1 << 8;
    /// Dictionary-attack lockout is active.
    IN_LOCKOUT = 1 << 9;
    /// The endorsement primary seed was made by this TPM.
    TPM_GENERATED_EPS = 1 << 10;
}

attributes! {
    /// `TPMA_STARTUP_CLEAR` (clause 8.7).
    #[doc(alias = "TPMA_STARTUP_CLEAR")]
    pub struct StartupClearAttributes(u32), reserved 0;

    /// The platform hierarchy is enabled.
    PH_ENABLE = 1 << 0;
    /// The storage hierarchy is enabled.
    SH_ENABLE = 1 << 1;
    /// The endorsement hierarchy is enabled.
    EH_ENABLE = 1 << 2;
    /// NV indices made by the platform are accessible.
    PH_ENABLE_NV = 1 << 3;
    /// Read-only mode is on (`TPM2_ReadOnlyControl`).
    READ_ONLY = 1 << 4;
    /// The last shutdown was orderly.
    ORDERLY = 1 << 31;
}

attributes! {
    /// `TPMA_CC` (clause 8.9); the command index is in bits 0 to 15, the number of handles in
    /// bits 25 to 27.
    #[doc(alias = "TPMA_CC")]
    pub struct CommandAttributes(u32), reserved 0;

    /// The command may write NV.
    NV = 1 << 22;
    /// The command may flush any number of loaded contexts.
    EXTENSIVE = 1 << 23;
    /// Transient objects used by the command are flushed.
    FLUSHED = 1 << 24;
    /// The response has a handle.
    R_HANDLE = 1 << 28;
    /// Vendor command.
    V = 1 << 29;
}

attributes! {
    /// `TPMA_ALGORITHM` (clause 8.2).
    #[doc(alias = "TPMA_ALGORITHM")]
    pub struct AlgorithmAttributes(u32), reserved 0;

    /// Asymmetric.
    ASYMMETRIC = 1 << 0;
    /// Symmetric cipher.
    SYMMETRIC = 1 << 1;
    /// Hash.
    HASH = 1 << 2;
    /// Object type.
    OBJECT = 1 << 3;
    /// Signing scheme.
    SIGNING = 1 << 8;
    /// Encryption scheme.
    ENCRYPTING = 1 << 9;
    /// Method, such as a key derivation function.
    METHOD = 1 << 10;
}
