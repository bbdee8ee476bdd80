//! Handles (Part 2, clause 7) and their interface types (clause 9), which say where a handle may
//! stand. A handle outside its type is `TPM_RC_VALUE`.

use super::{Marshal, Rc, Reader, Unmarshal, open_integer};

open_integer! {
    /// `TPM_HANDLE`, the permanent ones among them (`TPM_RH`, clause 7.4).
    #[doc(alias = "TPM_HANDLE", alias = "TPM_RH")]
    pub struct Handle(u32);

    OWNER = 0x4000_0001;
    NULL = 0x4000_0007;
    UNASSIGNED = 0x4000_0008;
    PASSWORD = 0x4000_0009;
    LOCKOUT = 0x4000_000a;
    ENDORSEMENT = 0x4000_000b;
    PLATFORM = 0x4000_000c;
    PLATFORM_NV = 0x4000_000d;
}

/// The number of PCR that this TPM has.
pub const PCR_COUNT: u32 = 24;

/// The most significant byte of a handle (`TPM_HT`, clause 7.2).
#[doc(alias = "TPM_HT")]
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HandleType {
    /// PCR.
    Pcr,
    /// NV index.
    Nv,
    /// HMAC session (as `TPM_HT_LOADED_SESSION`: all loaded sessions).
    HmacSession,
    /// Policy session (as `TPM_HT_SAVED_SESSION`: all saved sessions).
    PolicySession,
    /// Permanent handle.
    Permanent,
    /// Transient object.
    Transient,
    /// Persistent object.
    Persistent,
}

impl HandleType {
    /// The handle's first byte.
    pub const fn byte(self) -> u8 {
        match self {
            HandleType::Pcr => 0x00,
            HandleType::Nv => 0x01,
            HandleType::HmacSession => 0x02,
            HandleType::PolicySession => 0x03,
            HandleType::Permanent => 0x40,
            HandleType::Transient => 0x80,
            HandleType::Persistent => 0x81,
        }
    }

    /// The first handle of the type.
    pub const fn first(self) -> Handle {
        Handle((self.byte() as u32) << 24)
    }
}

impl Handle {
    /// The type, if it is one that this TPM has.
    pub const fn kind(self) -> Option<HandleType> {
        Some(match self.0 >> 24 {
            0x00 => HandleType::Pcr,
            0x01 => HandleType::Nv,
            0x02 => HandleType::HmacSession,
            0x03 => HandleType::PolicySession,
            0x40 => HandleType::Permanent,
            0x80 => HandleType::Transient,
            0x81 => HandleType::Persistent,
            _ => return None,
        })
    }

    /// The handle without its type byte.
    pub const fn index(self) -> u32 {
        self.0 & 0x00ff_ffff
    }

    /// Whether the handle is of this type.
    pub fn is(self, kind: HandleType) -> bool {
        self.kind() == Some(kind)
    }

    /// Whether this is one of the implemented PCR.
    pub fn is_pcr(self) -> bool {
        self.0 < PCR_COUNT
    }

    /// Whether this is a transient or persistent object.
    pub fn is_object(self) -> bool {
        matches!(self.kind(), Some(HandleType::Transient | HandleType::Persistent))
    }

    /// Whether this is an HMAC or policy session.
    pub fn is_session(self) -> bool {
        matches!(self.kind(), Some(HandleType::HmacSession | HandleType::PolicySession))
    }

    /// `TPM_RH_AUTH_00` to `TPM_RH_AUTH_FF`: a vendor's own authorizations, of which this TPM has
    /// none.
    pub fn is_vendor_auth(self) -> bool {
        matches!(self.0, 0x4000_0010..=0x4000_010f)
    }

    /// `TPM_RH_ACT_0` to `TPM_RH_ACT_F`: the number of the authenticated countdown timer.
    pub fn act(self) -> Option<u8> {
        match self.0 {
            0x4000_0110..=0x4000_011f => Some((self.0 & 0xf) as u8),
            _ => None,
        }
    }

    /// The handle of an authenticated countdown timer.
    pub fn of_act(number: u8) -> Handle {
        Handle(0x4000_0110 | u32::from(number & 0xf))
    }
}

/// A checked handle type: `TPMI_DH_`, `TPMI_RH_` or `TPMI_SH_`.
pub trait HandleInterface: Sized {
    /// Checks that the handle may stand here.
    fn check(handle: Handle) -> Result<Self, Rc>;

    /// The handle; `TPM_RH_NULL` for the absent one.
    fn handle(&self) -> Handle;
}

/// Where `TPM_RH_NULL` is allowed (`+` in the specification).
impl<T: HandleInterface> HandleInterface for Option<T> {
    fn check(handle: Handle) -> Result<Self, Rc> {
        if handle == Handle::NULL { Ok(None) } else { T::check(handle).map(Some) }
    }

    fn handle(&self) -> Handle {
        self.as_ref().map_or(Handle::NULL, T::handle)
    }
}

impl<T: HandleInterface> Unmarshal for Option<T> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        reader.handle().and_then(Self::check)
    }
}

/// Declares checked handle types.
macro_rules! handle_types {
    ($($(#[$meta:meta])* $name:ident = |$handle:ident| $check:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub struct $name(Handle);

        impl HandleInterface for $name {
            fn check($handle: Handle) -> Result<Self, Rc> {
                if $check { Ok(Self($handle)) } else { Err(Rc::VALUE) }
            }

            fn handle(&self) -> Handle {
                self.0
            }
        }

        impl Unmarshal for $name {
            fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
                reader.handle().and_then(Self::check)
            }
        }

        impl Marshal for $name {
            fn marshal(&self, out: &mut Vec<u8>) {
                self.0.marshal(out);
            }
        }
    )*};
}
pub(super) use handle_types;

handle_types! {
    /// `TPMI_DH_OBJECT`: a transient or persistent object.
    #[doc(alias = "TPMI_DH_OBJECT")]
    DhObject = |handle| handle.is_object();
    /// `TPMI_DH_PARENT`: an object, or the seed of a hierarchy.
    #[doc(alias = "TPMI_DH_PARENT")]
    DhParent = |handle| handle.is_object()
        || matches!(handle, Handle::OWNER | Handle::PLATFORM | Handle::ENDORSEMENT);
    /// `TPMI_DH_PERSISTENT`: a persistent object.
    #[doc(alias = "TPMI_DH_PERSISTENT")]
    DhPersistent = |handle| handle.is(HandleType::Persistent);
    /// `TPMI_DH_ENTITY`: anything with an authorization.
    #[doc(alias = "TPMI_DH_ENTITY")]
    DhEntity = |handle| handle.is_object() || handle.is(HandleType::Nv) || handle.is_pcr()
        || handle.is_vendor_auth()
        || matches!(
            handle,
            Handle::OWNER | Handle::PLATFORM | Handle::ENDORSEMENT | Handle::LOCKOUT
        );
    /// `TPMI_DH_PCR`: an implemented PCR.
    #[doc(alias = "TPMI_DH_PCR")]
    DhPcr = |handle| handle.is_pcr();
    /// `TPMI_SH_AUTH_SESSION`: an HMAC or policy session, or the password pseudo-session.
    #[doc(alias = "TPMI_SH_AUTH_SESSION")]
    ShAuthSession = |handle| handle.is_session() || handle == Handle::PASSWORD;
    /// `TPMI_SH_HMAC`: an HMAC session.
    #[doc(alias = "TPMI_SH_HMAC")]
    ShHmac = |handle| handle.is(HandleType::HmacSession);
    /// `TPMI_SH_POLICY`: a policy session.
    #[doc(alias = "TPMI_SH_POLICY")]
    ShPolicy = |handle| handle.is(HandleType::PolicySession);
    /// `TPMI_DH_CONTEXT`: what can be saved or flushed.
    #[doc(alias = "TPMI_DH_CONTEXT")]
    DhContext = |handle| handle.is_session() || handle.is(HandleType::Transient);
    /// `TPMI_DH_SAVED`: the handle in a saved context.
    #[doc(alias = "TPMI_DH_SAVED")]
    DhSaved = |handle| handle.is_session()
        || matches!(handle.0, 0x8000_0000..=0x8000_0002);
    /// `TPMI_RH_HIERARCHY`: a hierarchy.
    #[doc(alias = "TPMI_RH_HIERARCHY")]
    RhHierarchy = |handle| matches!(
        handle,
        Handle::OWNER | Handle::PLATFORM | Handle::ENDORSEMENT
    );
    /// `TPMI_RH_ENABLES`: what `TPM2_HierarchyControl` switches.
    #[doc(alias = "TPMI_RH_ENABLES")]
    RhEnables = |handle| matches!(
        handle,
        Handle::OWNER | Handle::PLATFORM | Handle::ENDORSEMENT | Handle::PLATFORM_NV
    );
    /// `TPMI_RH_HIERARCHY_AUTH`: a hierarchy with an authorization value.
    #[doc(alias = "TPMI_RH_HIERARCHY_AUTH")]
    RhHierarchyAuth = |handle| matches!(
        handle,
        Handle::OWNER | Handle::PLATFORM | Handle::ENDORSEMENT | Handle::LOCKOUT
    );
    /// `TPMI_RH_HIERARCHY_POLICY`: a hierarchy or timer with a policy.
    #[doc(alias = "TPMI_RH_HIERARCHY_POLICY")]
    RhHierarchyPolicy = |handle| matches!(
        handle,
        Handle::OWNER | Handle::PLATFORM | Handle::ENDORSEMENT | Handle::LOCKOUT
    ) || handle.act().is_some();
    /// `TPMI_RH_BASE_HIERARCHY`: a hierarchy without a qualifier (revision 1.83).
    #[doc(alias = "TPMI_RH_BASE_HIERARCHY")]
    RhBaseHierarchy = |handle| matches!(
        handle,
        Handle::OWNER | Handle::PLATFORM | Handle::ENDORSEMENT
    );
    /// `TPMI_RH_PLATFORM`.
    #[doc(alias = "TPMI_RH_PLATFORM")]
    RhPlatform = |handle| handle == Handle::PLATFORM;
    /// `TPMI_RH_OWNER`.
    #[doc(alias = "TPMI_RH_OWNER")]
    RhOwner = |handle| handle == Handle::OWNER;
    /// `TPMI_RH_ENDORSEMENT`.
    #[doc(alias = "TPMI_RH_ENDORSEMENT")]
    RhEndorsement = |handle| handle == Handle::ENDORSEMENT;
    /// `TPMI_RH_PROVISION`: owner or platform.
    #[doc(alias = "TPMI_RH_PROVISION")]
    RhProvision = |handle| matches!(handle, Handle::OWNER | Handle::PLATFORM);
    /// `TPMI_RH_CLEAR`: lockout or platform.
    #[doc(alias = "TPMI_RH_CLEAR")]
    RhClear = |handle| matches!(handle, Handle::LOCKOUT | Handle::PLATFORM);
    /// `TPMI_RH_NV_AUTH`: owner, platform or an NV index.
    #[doc(alias = "TPMI_RH_NV_AUTH")]
    RhNvAuth = |handle| handle.is(HandleType::Nv)
        || matches!(handle, Handle::OWNER | Handle::PLATFORM);
    /// `TPMI_RH_LOCKOUT`.
    #[doc(alias = "TPMI_RH_LOCKOUT")]
    RhLockout = |handle| handle == Handle::LOCKOUT;
    /// `TPMI_RH_NV_INDEX`.
    #[doc(alias = "TPMI_RH_NV_INDEX")]
    RhNvIndex = |handle| handle.is(HandleType::Nv);
    /// `TPMI_RH_ACT`: an authenticated countdown timer.
    #[doc(alias = "TPMI_RH_ACT")]
    RhAct = |handle| handle.act().is_some();
}

/// A handle as such: any value is accepted.
impl HandleInterface for Handle {
    fn check(handle: Handle) -> Result<Self, Rc> {
        Ok(handle)
    }

    fn handle(&self) -> Handle {
        *self
    }
}
