//! Where the engine differs from swtpm 0.7.1 on purpose: each with the reason.
//!
//! The rules are as narrow as they can be: a command, a place in the response, values. A rule that
//! explains more than it says hides a fault.

use crate::cc;
use crate::run::{CONTROL, Difference, ENGINE, ORACLE, Outcome};
use crate::sent::{Parms, Sent};

/// An intended difference.
pub(crate) struct Rule {
    /// Why.
    pub(crate) reason: &'static str,
    matches: fn(&Outcome, &Difference) -> bool,
}

/// The rule that explains a difference.
pub(crate) fn explain(outcome: &Outcome, difference: &Difference) -> Option<&'static Rule> {
    RULES.iter().find(|rule| (rule.matches)(outcome, difference))
}

const RC_COMMAND_CODE: u32 = 0x143;
const RC_CURVE: u32 = 0xa6;

/// Commands of the engine that libtpms 0.9 does not have.
const NEWER_COMMANDS: [u32; 9] = [
    cc::ACT_SET_TIMEOUT,
    cc::ECC_ENCRYPT,
    cc::ECC_DECRYPT,
    cc::POLICY_CAPABILITY,
    cc::POLICY_PARAMETERS,
    cc::NV_DEFINE_SPACE_2,
    cc::NV_READ_PUBLIC_2,
    cc::SET_CAPABILITY,
    cc::READ_ONLY_CONTROL,
];

/// P-192, the two BN curves, SM2.
const FOREIGN_CURVES: [u16; 4] = [0x01, 0x10, 0x11, 0x20];
/// TDES, SM2, Camellia.
const FOREIGN_ALGORITHMS: [u16; 3] = [0x03, 0x1b, 0x26];

/// Fixed and variable properties that each implementation has its own value for:
/// `TPM_PT_HR_PERSISTENT_MIN`, `CLOCK_UPDATE`, `MAX_OBJECT_CONTEXT`, `MAX_SESSION_CONTEXT`,
/// `TOTAL_COMMANDS`, `LIBRARY_COMMANDS`, `HR_PERSISTENT_AVAIL`, `NV_COUNTERS_AVAIL`,
/// `LOADED_CURVES`.
const OWN_PROPERTIES: [u32; 9] = [0x10f, 0x119, 0x121, 0x122, 0x129, 0x12a, 0x209, 0x20b, 0x20d];

fn rc(outcome: &Outcome) -> (u32, u32) {
    (outcome.rc[ORACLE], outcome.rc[ENGINE])
}

fn base(code: u32) -> u32 {
    if code & 0x80 != 0 { code & 0xbf } else { code }
}

fn sent_u32(outcome: &Outcome, at: usize) -> Option<u32> {
    let bytes = outcome.sent[ENGINE].get(at..at + 4)?;
    Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

fn sends_u16(outcome: &Outcome, values: &[u16]) -> bool {
    let parameters = outcome.sent[ENGINE].get(10..).unwrap_or(&[]);
    parameters.windows(2).any(|pair| values.contains(&u16::from_be_bytes([pair[0], pair[1]])))
}

/// The curve that a command names.
fn sent_curve(outcome: &Outcome) -> Option<u16> {
    let sent = &outcome.sent[ENGINE];
    match outcome.code {
        cc::ECC_PARAMETERS | cc::EC_EPHEMERAL => Sent::parameters(sent)?.u16(),
        code => Parms::of(sent, code).curve,
    }
}

/// The symmetric algorithm that a command names, with the size of its keys.
fn sent_symmetric(outcome: &Outcome) -> Option<(u16, u16)> {
    let sent = &outcome.sent[ENGINE];
    let mut parameters = Sent::parameters(sent)?;
    match outcome.code {
        cc::START_AUTH_SESSION => {
            parameters.skip_sized()?;
            parameters.skip_sized()?;
            let (_, rest) = parameters.rest().split_first()?;
            let alg = u16::from_be_bytes(*rest.first_chunk()?);
            Some((alg, rest.get(2..4).map_or(0, |bits| u16::from_be_bytes([bits[0], bits[1]]))))
        }
        cc::DUPLICATE => {
            parameters.skip_sized()?;
            Some((parameters.u16()?, parameters.u16().unwrap_or(0)))
        }
        code => Parms::of(sent, code).symmetric,
    }
}

/// The items of a capability that is a list, without those that are meant to differ.
fn common_items(outcome: &Outcome, side: usize, capability: u32) -> Vec<Vec<u8>> {
    let size = match capability {
        0 => 6,
        6 => 8,
        8 => 2,
        _ => 4,
    };
    let items = outcome.got[side].get(19..).unwrap_or(&[]).chunks_exact(size);
    let number = |item: &[u8], size: usize| {
        item.iter().take(size).fold(0, |value, byte| value << 8 | u32::from(*byte))
    };
    let differs = |item: &&[u8]| match capability {
        0 => FOREIGN_ALGORITHMS.contains(&(number(item, 2) as u16)),
        2 => NEWER_COMMANDS.contains(&(number(item, 4) & 0xffff)),
        6 => OWN_PROPERTIES.contains(&number(item, 4)),
        8 => FOREIGN_CURVES.contains(&(number(item, 2) as u16)),
        _ => false,
    };
    items.filter(|item| !differs(item)).map(<[u8]>::to_vec).collect()
}

fn is_capability_difference(outcome: &Outcome, difference: &Difference) -> bool {
    if outcome.code != cc::GET_CAPABILITY || difference.place == "code" {
        return false;
    }
    let Some(capability) = sent_u32(outcome, 10).filter(|c| matches!(c, 0 | 2 | 6 | 8)) else {
        return false;
    };
    let expected = common_items(outcome, ORACLE, capability);
    let second = common_items(outcome, CONTROL, capability);
    let got = common_items(outcome, ENGINE, capability);
    // With a limit to the count, one list may go on where the other was cut.
    let all = sent_u32(outcome, 18).is_none_or(|count| count >= 200);
    let agree = expected.iter().zip(&got).zip(&second).all(|((expected, got), second)| {
        // Where swtpm does not agree with itself, the moment decides.
        expected == got || expected != second
    });
    agree && (!all || expected.len() == got.len())
}

/// `TPM_ST` (Part 2, 6.9), as libtpms knows it.
fn is_structure_tag(tag: u16) -> bool {
    matches!(tag, 0x00c4 | 0x8000..=0x8002 | 0x8014..=0x801a | 0x8021..=0x8025)
}

/// Commands with a point or a coordinate.
const POINTS: [u32; 11] = [
    cc::CREATE,
    cc::CREATE_PRIMARY,
    cc::CREATE_LOADED,
    cc::LOAD,
    cc::LOAD_EXTERNAL,
    cc::IMPORT,
    cc::ECDH_ZGEN,
    cc::ZGEN_2PHASE,
    cc::COMMIT,
    cc::VERIFY_SIGNATURE,
    cc::POLICY_SIGNED,
];

/// Commands with a name.
const NAMES: [u32; 4] =
    [cc::MAKE_CREDENTIAL, cc::POLICY_AUTHORIZE, cc::POLICY_DUPLICATION_SELECT, cc::POLICY_TICKET];

/// Commands with a ticket, and which parameter it is.
const TICKETS: [(u32, u32); 4] =
    [(cc::SIGN, 3), (cc::CERTIFY_CREATION, 4), (cc::POLICY_AUTHORIZE, 4), (cc::POLICY_TICKET, 5)];

static RULES: &[Rule] = &[
    Rule {
        reason: "a header's tag that is neither of the two is TPM_RC_BAD_TAG (Part 3, 5.2), with \
                 the tag TPM_ST_RSP_COMMAND (Part 2, 6.9); to libtpms a tag that is none at all \
                 is TPM_RC_VALUE",
        matches: |outcome, difference| {
            let tag = outcome.sent[ENGINE].first_chunk().map(|tag| u16::from_be_bytes(*tag));
            difference.place == "code"
                && rc(outcome) == (0x84, 0x1e)
                && tag.is_some_and(|tag| !is_structure_tag(tag))
        },
    },
    Rule {
        reason: "a ticket's tag that is not that of its kind is TPM_RC_TAG (Part 2, 10.7.3 to \
                 10.7.6); to libtpms a tag that is none at all is TPM_RC_VALUE",
        matches: |outcome, difference| {
            difference.place == "code"
                && TICKETS.iter().any(|(code, number)| {
                    sent_u32(outcome, 6) == Some(*code)
                        && rc(outcome) == (0xc4 | number << 8, 0xd7 | number << 8)
                })
        },
    },
    Rule {
        reason: "two empty operands are equal (Part 2, 6.8); libtpms takes their signs from \
                 whatever stands in memory, and answers now so, now so",
        matches: |outcome, difference| {
            let empty = outcome.sent[ENGINE].get(14..16) == Some(&[0, 0]);
            difference.place == "code"
                && sent_u32(outcome, 6) == Some(cc::POLICY_COUNTER_TIMER)
                && empty
                && matches!(rc(outcome), (0, 0x126) | (0x126, 0))
        },
    },
    Rule {
        reason: "a sequence that is none is named as the handle that it is (Part 3, 17.4); libtpms \
                 names a parameter",
        matches: |outcome, difference| {
            difference.place == "code"
                && sent_u32(outcome, 6) == Some(cc::SEQUENCE_UPDATE)
                && rc(outcome) == (0x1c9, 0x189)
        },
    },
    Rule {
        reason: "a signing key of TPM_RH_NULL is refused before the certificate is read (Part 3, \
                 18.8); libtpms reads it first",
        matches: |outcome, difference| {
            difference.place == "code"
                && sent_u32(outcome, 6) == Some(cc::CERTIFY_X509)
                && rc(outcome) == (0x3c4, 0x29c)
        },
    },
    Rule {
        reason: "banks that do not change do not stand in the way of Shutdown(STATE) (Part 3, 9.4)",
        matches: |outcome, difference| {
            difference.place == "code"
                && sent_u32(outcome, 6) == Some(cc::SHUTDOWN)
                && rc(outcome) == (0x1ca, 0)
        },
    },
    Rule {
        reason: "a context that ends within its integrity value is insufficient as it is read; \
                 libtpms first looks for bytes left over",
        matches: |outcome, difference| {
            difference.place == "code"
                && sent_u32(outcome, 6) == Some(cc::CONTEXT_LOAD)
                && rc(outcome) == (0x95, 0x1da)
        },
    },
    Rule {
        reason: "commands of revision 1.59 and later that libtpms 0.9 does not have",
        matches: |outcome, difference| {
            difference.place == "code"
                && NEWER_COMMANDS.contains(&outcome.code)
                && outcome.rc[ORACLE] == RC_COMMAND_CODE
        },
    },
    Rule {
        reason: "libtpms goes into failure mode where a command merely fails (Part 3, 10.1)",
        matches: |outcome, difference| {
            difference.place == "code"
                && outcome.in_failure_mode[ORACLE]
                && outcome.rc[ENGINE] != 0x101
        },
    },
    Rule {
        reason: "P-192, BN P-256, BN P-638 and SM2 are not offered: too weak, or of no use",
        matches: |outcome, difference| {
            difference.place == "code"
                && base(rc(outcome).1) == RC_CURVE
                && base(rc(outcome).0) != RC_CURVE
                && sent_curve(outcome).is_some_and(|curve| FOREIGN_CURVES.contains(&curve))
        },
    },
    Rule {
        reason: "TDES and Camellia are not offered: too weak, or of no use",
        matches: |outcome, difference| {
            difference.place == "code"
                && base(rc(outcome).1) == 0x96
                && base(rc(outcome).0) != base(rc(outcome).1)
                && sent_symmetric(outcome).is_some_and(|(alg, _)| matches!(alg, 0x03 | 0x26))
        },
    },
    Rule {
        reason: "SM2 is not offered: neither as a signature nor as a key exchange",
        matches: |outcome, difference| {
            difference.place == "code"
                && base(rc(outcome).1) == 0x92
                && base(rc(outcome).0) != base(rc(outcome).1)
                && sends_u16(outcome, &[0x1b])
        },
    },
    Rule {
        reason: "a policy or an audit can name commands that libtpms 0.9 does not have",
        matches: |outcome, difference| {
            difference.place == "code"
                && matches!(
                    outcome.code,
                    cc::POLICY_COMMAND_CODE | cc::SET_COMMAND_CODE_AUDIT_STATUS
                )
                && sends_u16(outcome, &NEWER_COMMANDS.map(|code| code as u16))
        },
    },
    Rule {
        reason: "contexts have a form of their own: what a damaged one is told from differs \
                 (Part 1, 30.3)",
        matches: |outcome, difference| {
            let refusals = [0x95, 0x1da, 0x1d5, 0x1df];
            difference.place == "code"
                && outcome.code == cc::CONTEXT_LOAD
                && refusals.contains(&rc(outcome).0)
                && refusals.contains(&rc(outcome).1)
        },
    },
    Rule {
        reason: "a moment: whether a clock of a few milliseconds is set back (Part 3, 29.2)",
        matches: |outcome, difference| {
            let size = outcome.sent[ENGINE].len();
            difference.place == "code"
                && outcome.code == cc::CLOCK_SET
                && sent_u32(outcome, size.saturating_sub(8)) == Some(0)
                // As the clock is at first, or as a step of the sequence set it.
                && sent_u32(outcome, size.saturating_sub(4))
                    .is_some_and(|low| low < 60_000 || low == 0x4000_0000)
        },
    },
    Rule {
        reason: "swtpm 0.7 is built without AES-192",
        matches: |outcome, difference| {
            difference.place == "code"
                && matches!(base(rc(outcome).0), 0x84)
                && sent_symmetric(outcome) == Some((0x06, 192))
        },
    },
    Rule {
        reason: "with BN P-638 gone, coordinates have at most 66 bytes, not 80 (Part 2, 11.2.5)",
        matches: |outcome, difference| {
            difference.place == "code"
                && (matches!(rc(outcome).0, 0 | 0x902) || base(rc(outcome).0) == 0x9a)
                && base(rc(outcome).1) == 0x95
                && POINTS.contains(&outcome.code)
                && outcome.sent[ENGINE]
                    .windows(2)
                    .any(|size| size[0] == 0 && (67..=80).contains(&size[1]))
        },
    },
    Rule {
        reason: "how large a template and a private area can be is the implementation's own \
                 (Part 2, 12.2.6 and 12.3.7): larger ones are cut off before they are too large",
        matches: |outcome, difference| {
            let (expected, got) = rc(outcome);
            difference.place == "code"
                && matches!(outcome.code, cc::CREATE_LOADED | cc::LOAD | cc::IMPORT | cc::REWRAP)
                && (base(expected), base(got)) == (0x95, 0x9a)
                && expected & 0xf40 == got & 0xf40
        },
    },
    Rule {
        reason: "a name has at most 66 bytes (Part 2, 10.5.3); libtpms rounds its bound up to 68",
        matches: |outcome, difference| {
            difference.place == "code"
                && NAMES.contains(&outcome.code)
                && sends_u16(outcome, &[67, 68])
                && base(rc(outcome).0) != 0x95
                && base(rc(outcome).1) == 0x95
        },
    },
    Rule {
        reason: "TDES, SM2 and Camellia are not offered: nor can they be tested",
        matches: |outcome, difference| {
            let list = outcome.sent[ENGINE].get(14..).unwrap_or(&[]).chunks_exact(2);
            let mut algs = list.map(|alg| u16::from_be_bytes([alg[0], alg[1]]));
            difference.place == "code"
                && outcome.code == cc::INCREMENTAL_SELF_TEST
                && rc(outcome) == (0, 0x1c4)
                && algs.any(|alg| FOREIGN_ALGORITHMS.contains(&alg))
        },
    },
    Rule {
        reason: "an RSA operand that is not below the modulus is TPM_RC_VALUE, a hash too large \
                 for the key TPM_RC_HASH (Part 3, 14.2 and 14.3); libtpms answers TPM_RC_FAILURE",
        matches: |outcome, difference| {
            difference.place == "code"
                && matches!(
                    outcome.code,
                    cc::RSA_ENCRYPT
                        | cc::RSA_DECRYPT
                        | cc::ACTIVATE_CREDENTIAL
                        | cc::IMPORT
                        | cc::REWRAP
                        | cc::START_AUTH_SESSION
                )
                && rc(outcome).0 == 0x101
                && matches!(base(rc(outcome).1), 0x84 | 0x83)
        },
    },
    Rule {
        reason: "persistent objects are used where they are: they take none of the three slots",
        matches: |outcome, difference| {
            difference.place == "code"
                && rc(outcome).0 == 0x902
                && (outcome.code == cc::EVICT_CONTROL
                    || [10, 14, 18].iter().any(|at| outcome.sent[ENGINE].get(*at) == Some(&0x81)))
        },
    },
    Rule {
        reason: "the engine has tested all algorithms before it answers (Part 3, 10.3)",
        matches: |outcome, difference| {
            outcome.code == cc::INCREMENTAL_SELF_TEST
                && matches!(difference.place, "count" | "alg" | "structure")
        },
    },
    Rule {
        reason: "how much fits into NV is the implementation's own (Part 2, 6.13)",
        matches: |outcome, difference| {
            difference.place == "code"
                && matches!(outcome.code, cc::NV_DEFINE_SPACE | cc::EVICT_CONTROL)
                && rc(outcome).0 == 0x14b
                && rc(outcome).1 == 0
        },
    },
    Rule {
        reason: "capabilities list what there is, and each has its own limits (Part 2, 6.13)",
        matches: is_capability_difference,
    },
    Rule {
        reason: "PCR_Allocate's sizes are the implementation's own (Part 3, 22.5)",
        matches: |outcome, difference| {
            outcome.code == cc::PCR_ALLOCATE
                && matches!(difference.place, "sizeNeeded" | "sizeAvailable")
        },
    },
];
