//! `_DSM` of the TPM: physical presence (TCG PC Client Physical Presence Interface Specification
//! 1.30) and memory clearing (TCG Platform Reset Attack Mitigation Specification).
//!
//! The methods only move values between their arguments and the shared area of [`crate::ppi`].

use acpi_tables::{
    Aml, AmlSink,
    aml::{
        Add, And, Arg, BufferData, DeRefOf, Equal, Field, FieldAccessType, FieldEntry,
        FieldLockRule, FieldUpdateRule, GreaterEqual, If, Index, Local, Method, MethodCall, Name,
        ONE, OpRegion, OpRegionSpace, Package, Path, Return, Store, Uuid, ZERO,
    },
};

use crate::ppi;

/// Physical presence.
const PRESENCE: &str = "3DDDFAA6-361B-4EB4-A424-8D10089D1653";
/// Memory clearing.
const MEMORY_CLEAR: &str = "376054ED-CC13-4675-901C-4756D7F2D45D";
/// Functions 0 to 8 of the first, 0 and 1 of the second.
const PRESENCE_FUNCTIONS: [u8; 2] = [0xFF, 0x01];
const MEMORY_CLEAR_FUNCTIONS: [u8; 1] = [0x03];
/// Bits of a `FUNC` byte that hold a [`ppi::Support`].
const SUPPORT_MASK: u8 = 0x07;

/// The fields and methods for the area at this guest-physical address.
pub(super) struct PresenceMethods(pub(super) u64);

impl Aml for PresenceMethods {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        self.request_fields(sink);
        self.memory_fields(sink);
        self.support_method(sink);
        // Packages that live in the namespace: Windows fails on some that a method makes.
        Name::new("PPI2".into(), &Package::new(vec![&ZERO, &ZERO])).to_aml_bytes(sink);
        Name::new("PPI3".into(), &Package::new(vec![&ZERO, &ZERO, &ZERO])).to_aml_bytes(sink);
        dsm(sink);
    }
}

impl PresenceMethods {
    fn at(&self, offset: usize) -> u32 {
        self.0.wrapping_add(offset as u64) as u32
    }

    fn request_fields(&self, sink: &mut dyn AmlSink) {
        let (start, length) = (self.at(ppi::PPIN), (ppi::MOVV - ppi::PPIN) as u8);
        region("PPR1", &start, &length).to_aml_bytes(sink);
        let names = [
            FieldEntry::Named(*b"PPIN", 8),
            FieldEntry::Named(*b"PPIP", 32),
            FieldEntry::Named(*b"PPRP", 32),
            FieldEntry::Named(*b"PPRQ", 32),
            FieldEntry::Named(*b"PPRM", 32),
            FieldEntry::Named(*b"LPPR", 32),
        ];
        field("PPR1", FieldAccessType::Any, &names).to_aml_bytes(sink);
    }

    fn memory_fields(&self, sink: &mut dyn AmlSink) {
        region("PPR2", &self.at(ppi::MOVV), &ONE).to_aml_bytes(sink);
        field("PPR2", FieldAccessType::Byte, &[FieldEntry::Named(*b"MOVV", 8)]).to_aml_bytes(sink);
    }

    /// `PPSP(operation)`: the operation's byte of `FUNC`, through a region that is made for it,
    /// since Windows cannot take an element of a buffer field in system memory.
    fn support_method(&self, sink: &mut dyn AmlSink) {
        let limit = ppi::FUNC_COUNT as u16;
        let outside = GreaterEqual::new(&Arg(0), &limit);
        let none = Return::new(&ZERO);
        let guard = If::new(&outside, vec![&none]);
        let base = self.at(ppi::FUNC);
        let address = Add::new(&ZERO, &base, &Arg(0));
        let byte = region("PPR3", &address, &ONE);
        let entry = field("PPR3", FieldAccessType::Byte, &[FieldEntry::Named(*b"PPFN", 8)]);
        let value = Path::new("PPFN");
        let result = Return::new(&value);
        Method::new("PPSP".into(), 1, true, vec![&guard, &byte, &entry, &result])
            .to_aml_bytes(sink);
    }
}

fn region<'a>(name: &str, offset: &'a dyn Aml, length: &'a dyn Aml) -> OpRegion<'a> {
    OpRegion::new(name.into(), OpRegionSpace::SystemMemory, offset, length)
}

fn field(region: &str, access: FieldAccessType, names: &[FieldEntry]) -> Field {
    let (lock, update) = (FieldLockRule::NoLock, FieldUpdateRule::Preserve);
    Field::new(region.into(), access, lock, update, names.to_vec())
}

/// AML that is built already.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// `If (condition == value) { body }`.
fn when(condition: &dyn Aml, value: &dyn Aml, body: Vec<&dyn Aml>) -> Raw {
    let mut bytes = Vec::new();
    If::new(&Equal::new(condition, value), body).to_aml_bytes(&mut bytes);
    Raw(bytes)
}

/// `Return (value)`.
fn give(value: &dyn Aml) -> Raw {
    let mut bytes = Vec::new();
    Return::new(value).to_aml_bytes(&mut bytes);
    Raw(bytes)
}

/// `target = value`.
fn set(target: &dyn Aml, value: &dyn Aml) -> Raw {
    let mut bytes = Vec::new();
    Store::new(target, value).to_aml_bytes(&mut bytes);
    Raw(bytes)
}

/// `target = arguments[index]`, the arguments being `_DSM`'s package.
fn argument(target: &dyn Aml, index: &dyn Aml) -> Raw {
    set(target, &DeRefOf::new(&Index::new(&ZERO, &Arg(3), index)))
}

/// `package[index] = value`.
fn element(package: &str, index: &dyn Aml, value: &str) -> Raw {
    set(&Index::new(&ZERO, &Path::new(package), index), &Path::new(value))
}

/// `_DSM(uuid, revision, function, arguments)`.
fn dsm(sink: &mut dyn AmlSink) {
    let functions = [
        give(&BufferData::new(PRESENCE_FUNCTIONS.to_vec())),
        give(&"1.3"),
        submit(),
        pending(),
        // 4, how to reach the firmware: by a reboot.
        give(&2u8),
        last_response(),
        // 6, the user's language: not implemented.
        give(&3u8),
        submit_with_parameter(),
        confirmation(),
    ];
    let cases: Vec<Raw> =
        (0u8..).zip(&functions).map(|(number, body)| when(&Arg(2), &number, vec![body])).collect();
    let presence = when(&Arg(0), &Uuid::new(PRESENCE), cases.iter().map(|c| c as _).collect());
    let query =
        when(&Arg(2), &ZERO, vec![&give(&BufferData::new(MEMORY_CLEAR_FUNCTIONS.to_vec()))]);
    let mut clear = Vec::new();
    argument(&Local(0), &ZERO).to_aml_bytes(&mut clear);
    set(&Path::new("MOVV"), &Local(0)).to_aml_bytes(&mut clear);
    give(&ZERO).to_aml_bytes(&mut clear);
    let clear = when(&Arg(2), &ONE, vec![&Raw(clear)]);
    let memory = when(&Arg(0), &Uuid::new(MEMORY_CLEAR), vec![&query, &clear]);
    let unknown = give(&BufferData::new(vec![0]));
    Method::new("_DSM".into(), 4, true, vec![&presence, &memory, &unknown]).to_aml_bytes(sink);
}

/// The operation into local 0, what the firmware does about it into local 1.
fn look_up() -> Raw {
    let mut bytes = Vec::new();
    argument(&Local(0), &ZERO).to_aml_bytes(&mut bytes);
    let support = MethodCall::new("PPSP".into(), vec![&Local(0)]);
    And::new(&Local(1), &support, &SUPPORT_MASK).to_aml_bytes(&mut bytes);
    Raw(bytes)
}

fn sequence(steps: &[Raw]) -> Raw {
    Raw(steps.iter().flat_map(|step| &step.0).copied().collect())
}

/// 2: submit an operation. Answers 0, or 1 if it is not supported.
fn submit() -> Raw {
    sequence(&[
        look_up(),
        when(&Local(1), &(ppi::Support::NotImplemented as u8), vec![&give(&ONE)]),
        set(&Path::new("PPRQ"), &Local(0)),
        set(&Path::new("PPRM"), &ZERO),
        give(&ZERO),
    ])
}

/// 3: the pending operation; from revision 2 on with its parameter.
fn pending() -> Raw {
    let first = sequence(&[element("PPI2", &ONE, "PPRQ"), give(&Path::new("PPI2"))]);
    sequence(&[
        when(&Arg(1), &ONE, vec![&first]),
        element("PPI3", &ONE, "PPRQ"),
        element("PPI3", &2u8, "PPRM"),
        give(&Path::new("PPI3")),
    ])
}

/// 5: the last operation and its response.
fn last_response() -> Raw {
    sequence(&[
        element("PPI3", &ONE, "LPPR"),
        element("PPI3", &2u8, "PPRP"),
        give(&Path::new("PPI3")),
    ])
}

/// 7: submit an operation; from revision 2 on with a parameter. Answers 0, 1 if it is not
/// implemented, or 3 if the firmware's settings block it.
fn submit_with_parameter() -> Raw {
    let parameter = argument(&Path::new("PPRM"), &ONE);
    sequence(&[
        look_up(),
        when(&Local(1), &(ppi::Support::NotImplemented as u8), vec![&give(&ONE)]),
        when(&Local(1), &(ppi::Support::Blocked as u8), vec![&give(&3u8)]),
        set(&Path::new("PPRQ"), &Local(0)),
        set(&Path::new("PPRM"), &ZERO),
        when(&Arg(1), &2u8, vec![&parameter]),
        give(&ZERO),
    ])
}

/// 8: what the firmware does about an operation.
fn confirmation() -> Raw {
    sequence(&[look_up(), give(&Local(1))])
}
