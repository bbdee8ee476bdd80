//! Response codes: TPM 2.0 Library Part 2, clause 6.6 (`TPM_RC`).

use core::fmt;

/// A response code other than `TPM_RC_SUCCESS`.
///
/// Format-one codes name the handle, session or parameter that is at fault; [`Rc::handle`],
/// [`Rc::session`] and [`Rc::parameter`] add that number. A code that already carries one, or that
/// cannot carry one, is left as it is, so the innermost knowledge wins.
#[doc(alias = "TPM_RC")]
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Rc(u32);

const FORMAT_ONE: u32 = 0x080;
const PARAMETER: u32 = 0x040;
const SESSION: u32 = 0x800;
const NUMBER: u32 = 0xf00;
const VERSION_ONE: u32 = 0x100;
const WARNING: u32 = 0x900;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        impl Rc {
            $($(#[$doc])* pub const $name: Rc = Rc($value);)*
        }

        const NAMES: &[(u32, &str)] = &[$(($value, stringify!($name)),)*];
    };
}

codes! {
    /// The command's tag is neither `TPM_ST_SESSIONS` nor `TPM_ST_NO_SESSIONS`.
    BAD_TAG = 0x01e;
    /// The TPM was not started, or was started already.
    INITIALIZE = VERSION_ONE;
    /// The TPM is in failure mode, or an internal check failed.
    FAILURE = VERSION_ONE + 0x01;
    /// A sequence was used where it does not belong, or out of order.
    SEQUENCE = VERSION_ONE + 0x03;
    /// The command is disabled.
    DISABLED = VERSION_ONE + 0x20;
    /// Audit must be done by this command alone.
    EXCLUSIVE = VERSION_ONE + 0x21;
    /// The entity cannot be authorized this way.
    AUTH_TYPE = VERSION_ONE + 0x24;
    /// Fewer authorizations than the handles need.
    AUTH_MISSING = VERSION_ONE + 0x25;
    /// The authorization policy does not fit the command.
    POLICY = VERSION_ONE + 0x26;
    /// A PCR policy failed.
    PCR = VERSION_ONE + 0x27;
    /// PCR values changed since the policy was computed.
    PCR_CHANGED = VERSION_ONE + 0x28;
    /// The TPM must be upgraded before it goes on.
    UPGRADE = VERSION_ONE + 0x2d;
    /// No context can be saved any more.
    TOO_MANY_CONTEXTS = VERSION_ONE + 0x2e;
    /// The entity's authorization value or policy is not available.
    AUTH_UNAVAILABLE = VERSION_ONE + 0x2f;
    /// A reboot is needed.
    REBOOT = VERSION_ONE + 0x30;
    /// The protection algorithms of hash and symmetric cipher do not match.
    UNBALANCED = VERSION_ONE + 0x31;
    /// The header's size is not the command's size.
    COMMAND_SIZE = VERSION_ONE + 0x42;
    /// The command code is not implemented.
    COMMAND_CODE = VERSION_ONE + 0x43;
    /// The authorization area's size is out of range.
    AUTHSIZE = VERSION_ONE + 0x44;
    /// The command must not have sessions.
    AUTH_CONTEXT = VERSION_ONE + 0x45;
    /// The NV access is out of range.
    NV_RANGE = VERSION_ONE + 0x46;
    /// The requested size is larger than allowed.
    NV_SIZE = VERSION_ONE + 0x47;
    /// The NV index is locked.
    NV_LOCKED = VERSION_ONE + 0x48;
    /// The entity's authorization does not allow this NV access.
    NV_AUTHORIZATION = VERSION_ONE + 0x49;
    /// The NV index was not written yet.
    NV_UNINITIALIZED = VERSION_ONE + 0x4a;
    /// No NV space left.
    NV_SPACE = VERSION_ONE + 0x4b;
    /// The NV index or persistent handle is already in use.
    NV_DEFINED = VERSION_ONE + 0x4c;
    /// The context cannot be loaded.
    BAD_CONTEXT = VERSION_ONE + 0x50;
    /// The cpHash is already set, or does not match.
    CPHASH = VERSION_ONE + 0x51;
    /// The handle is not a valid parent.
    PARENT = VERSION_ONE + 0x52;
    /// A self-test has not been run.
    NEEDS_TEST = VERSION_ONE + 0x53;
    /// No result, because of a number that the caller supplied.
    NO_RESULT = VERSION_ONE + 0x54;
    /// The sensitive area did not unmarshal after its integrity was checked.
    SENSITIVE = VERSION_ONE + 0x55;
    /// The TPM accepts only commands that change nothing (`TPM2_ReadOnlyControl`).
    READ_ONLY = VERSION_ONE + 0x56;

    /// The algorithm is not supported or does not fit.
    ASYMMETRIC = FORMAT_ONE + 0x01;
    /// The attributes do not fit.
    ATTRIBUTES = FORMAT_ONE + 0x02;
    /// The hash algorithm is not supported or does not fit.
    HASH = FORMAT_ONE + 0x03;
    /// The value is out of range or does not fit.
    VALUE = FORMAT_ONE + 0x04;
    /// The hierarchy is disabled or does not fit.
    HIERARCHY = FORMAT_ONE + 0x05;
    /// The key size is not supported.
    KEY_SIZE = FORMAT_ONE + 0x07;
    /// The mask generation function is not supported.
    MGF = FORMAT_ONE + 0x08;
    /// The mode of operation is not supported.
    MODE = FORMAT_ONE + 0x09;
    /// The type does not fit.
    TYPE = FORMAT_ONE + 0x0a;
    /// The handle does not fit.
    HANDLE = FORMAT_ONE + 0x0b;
    /// The key derivation function is not supported or does not fit.
    KDF = FORMAT_ONE + 0x0c;
    /// The value is out of the allowed range.
    RANGE = FORMAT_ONE + 0x0d;
    /// Authorization failed; dictionary-attack protection counted it.
    AUTH_FAIL = FORMAT_ONE + 0x0e;
    /// The nonce's size is out of range.
    NONCE = FORMAT_ONE + 0x0f;
    /// The proof of physical presence is missing.
    PP = FORMAT_ONE + 0x10;
    /// The scheme is not supported or does not fit.
    SCHEME = FORMAT_ONE + 0x12;
    /// The structure's size is wrong.
    SIZE = FORMAT_ONE + 0x15;
    /// The symmetric algorithm is not supported or does not fit.
    SYMMETRIC = FORMAT_ONE + 0x16;
    /// The structure's tag is wrong.
    TAG = FORMAT_ONE + 0x17;
    /// The union selector is wrong.
    SELECTOR = FORMAT_ONE + 0x18;
    /// The buffer ends before the value does.
    INSUFFICIENT = FORMAT_ONE + 0x1a;
    /// The signature is not valid.
    SIGNATURE = FORMAT_ONE + 0x1b;
    /// The key does not fit.
    KEY = FORMAT_ONE + 0x1c;
    /// The policy check failed.
    POLICY_FAIL = FORMAT_ONE + 0x1d;
    /// The integrity check failed.
    INTEGRITY = FORMAT_ONE + 0x1f;
    /// The ticket is not valid.
    TICKET = FORMAT_ONE + 0x20;
    /// A reserved bit is set.
    RESERVED_BITS = FORMAT_ONE + 0x21;
    /// Authorization failed; it is not counted against dictionary attacks.
    BAD_AUTH = FORMAT_ONE + 0x22;
    /// The policy has expired.
    EXPIRED = FORMAT_ONE + 0x23;
    /// The command code does not fit the policy.
    POLICY_CC = FORMAT_ONE + 0x24;
    /// Public and sensitive areas do not belong together.
    BINDING = FORMAT_ONE + 0x25;
    /// The curve is not supported or does not fit.
    CURVE = FORMAT_ONE + 0x26;
    /// The point is not on the curve.
    ECC_POINT = FORMAT_ONE + 0x27;

    /// A context must be saved before another session can start.
    CONTEXT_GAP = WARNING + 0x01;
    /// No slot for another object.
    OBJECT_MEMORY = WARNING + 0x02;
    /// No slot for another session.
    SESSION_MEMORY = WARNING + 0x03;
    /// Out of memory.
    MEMORY = WARNING + 0x04;
    /// No session handle is free; a saved session must be flushed first.
    SESSION_HANDLES = WARNING + 0x05;
    /// No object handle is free.
    OBJECT_HANDLES = WARNING + 0x06;
    /// The locality does not fit.
    LOCALITY = WARNING + 0x07;
    /// The command was canceled.
    CANCELED = WARNING + 0x09;
    /// Self-tests are under way.
    TESTING = WARNING + 0x0a;
    /// The first handle refers to an object or session that is not loaded.
    REFERENCE_H0 = WARNING + 0x10;
    /// The first session is not loaded.
    REFERENCE_S0 = WARNING + 0x18;
    /// Authorizations for objects subject to dictionary-attack protection are locked out.
    LOCKOUT = WARNING + 0x21;
    /// The TPM was not able to start the command; try again.
    RETRY = WARNING + 0x22;
    /// NV is not available.
    NV_UNAVAILABLE = WARNING + 0x23;
}

impl Rc {
    /// The response code of a failed command.
    pub const fn from_code(code: u32) -> Rc {
        Rc(code)
    }

    /// The code as it goes on the wire.
    pub const fn code(self) -> u32 {
        self.0
    }

    /// Adds the one-based number of the handle at fault.
    #[must_use]
    pub const fn handle(self, number: u32) -> Rc {
        self.numbered(number & 0x7, 0)
    }

    /// Adds the one-based number of the session at fault.
    #[must_use]
    pub const fn session(self, number: u32) -> Rc {
        self.numbered(number & 0x7, SESSION)
    }

    /// Adds the one-based number of the parameter at fault.
    #[must_use]
    pub const fn parameter(self, number: u32) -> Rc {
        self.numbered(number & 0xf, PARAMETER)
    }

    /// `TPM_RC_REFERENCE_H0` to `H6`, from the zero-based position of the handle.
    pub const fn reference_handle(position: usize) -> Rc {
        Rc(Rc::REFERENCE_H0.0 | (position as u32 & 0x7))
    }

    /// `TPM_RC_REFERENCE_S0` to `S6`, from the zero-based position of the session.
    pub const fn reference_session(position: usize) -> Rc {
        Rc(Rc::REFERENCE_S0.0 | (position as u32 & 0x7))
    }

    /// Whether the code is of format one, which can name what is at fault.
    pub const fn is_format_one(self) -> bool {
        self.0 & FORMAT_ONE != 0
    }

    /// The code without the number of a handle, session or parameter.
    #[must_use]
    pub const fn base(self) -> Rc {
        if self.is_format_one() { Rc(self.0 & !(NUMBER | PARAMETER)) } else { self }
    }

    const fn numbered(self, number: u32, kind: u32) -> Rc {
        if self.is_format_one() && self.0 & (NUMBER | PARAMETER) == 0 {
            Rc(self.0 | kind | (number << 8))
        } else {
            self
        }
    }
}

impl fmt::Debug for Rc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base();
        match NAMES.iter().find(|(value, _)| *value == base.0) {
            Some((_, name)) => write!(f, "TPM_RC_{name}")?,
            None => write!(f, "TPM_RC({:#05x})", base.0)?,
        }
        if self.is_format_one() {
            let number = (self.0 & NUMBER) >> 8;
            match number {
                0 => {}
                _ if self.0 & PARAMETER != 0 => write!(f, "+P{number}")?,
                8.. => write!(f, "+S{}", number & 0x7)?,
                _ => write!(f, "+H{number}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Rc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_number_is_added_once() {
        assert_eq!(Rc::SIZE.parameter(2).code(), 0x2d5);
        assert_eq!(Rc::SIZE.parameter(2).parameter(1).code(), 0x2d5);
        assert_eq!(Rc::VALUE.handle(1).code(), 0x184);
        assert_eq!(Rc::AUTH_FAIL.session(1).code(), 0x98e);
    }

    #[test]
    fn a_format_zero_code_carries_no_number() {
        assert_eq!(Rc::NV_RANGE.parameter(3), Rc::NV_RANGE);
        assert_eq!(Rc::reference_handle(2).code(), 0x912);
    }

    #[test]
    fn debug_names_the_code_and_what_is_at_fault() {
        assert_eq!(format!("{:?}", Rc::SIZE.parameter(2)), "TPM_RC_SIZE+P2");
        assert_eq!(format!("{:?}", Rc::AUTH_FAIL.session(1)), "TPM_RC_AUTH_FAIL+S1");
        assert_eq!(format!("{:?}", Rc::HANDLE.handle(1)), "TPM_RC_HANDLE+H1");
    }
}
