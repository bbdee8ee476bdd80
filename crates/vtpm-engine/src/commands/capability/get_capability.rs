//! TPM2_GetCapability: Part 3, clause 30.2, revision 1.59.

use super::properties;
use crate::commands::{Row, command, table};
use crate::profile::ALL_ALGORITHMS;
use crate::session::authorize::Authorized;
use crate::session::{SessionSlot, Sessions};
use crate::tpm::Tpm;
use crate::wire::{
    Alg, AlgorithmAttributes, Cap, CommandAttributes, Handle, HandleType, MAX_BUFFER, Marshal,
    PCR_COUNT, Rc, Reader, Unmarshal,
};

command! {
    /// Says what the TPM has and how it stands.
    #[doc(alias = "TPM2_GetCapability")]
    Command {
        handles {}
        parameters {
            /// The group of values.
            capability: KnownCap,
            /// The first value.
            property: u32,
            /// How many values at most.
            property_count: u32,
        }
    }
    Response {
        parameters {
            /// Whether there are more values.
            more_data: bool,
            /// The values.
            capability_data: CapabilityData,
        }
    }
}

/// `TPM_CAP` as a parameter: an unknown one is `TPM_RC_VALUE`.
#[derive(Copy, Clone, Debug)]
pub(crate) struct KnownCap(pub(crate) Cap);

impl Unmarshal for KnownCap {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        match reader.get()? {
            cap @ Cap(0..=10) | cap @ Cap::VENDOR_PROPERTY => Ok(Self(cap)),
            _ => Err(Rc::VALUE),
        }
    }
}

/// `TPMS_CAPABILITY_DATA`: a list of values, each written already.
#[derive(Debug)]
pub(crate) struct CapabilityData {
    capability: Cap,
    count: u32,
    values: Vec<u8>,
}

impl Marshal for CapabilityData {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.capability.marshal(out);
        self.count.marshal(out);
        out.extend_from_slice(&self.values);
    }
}

/// Takes values until the caller or the buffer has enough.
struct List {
    data: CapabilityData,
    limit: u32,
    more: bool,
}

impl List {
    fn new(capability: Cap, limit: u32) -> Self {
        let data = CapabilityData { capability, count: 0, values: Vec::new() };
        Self { data, limit, more: false }
    }

    /// Adds a value; `false` when there was no room.
    fn push(&mut self, value: impl FnOnce(&mut Vec<u8>)) -> bool {
        // `MAX_CAP_BUFFER` counts the capability, the count and the values.
        let mut bytes = Vec::new();
        value(&mut bytes);
        let size = self.data.values.len().saturating_add(bytes.len()).saturating_add(8);
        if self.data.count >= self.limit || size > MAX_BUFFER {
            self.more = true;
            return false;
        }
        self.data.count = self.data.count.saturating_add(1);
        self.data.values.extend_from_slice(&bytes);
        true
    }

    fn extend<T: Marshal>(mut self, values: impl Iterator<Item = T>) -> Self {
        for value in values {
            if !self.push(|out| value.marshal(out)) {
                break;
            }
        }
        self
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let property = command.property;
    let capability = command.capability.0;
    let list = List::new(capability, command.property_count);
    let list = match capability {
        // Of a property that is an algorithm or a curve, only the low 16 bits count.
        Cap::ALGS => algorithms(tpm, list, property as u16),
        Cap::HANDLES => list.extend(handles(tpm, Handle(property)).ok_or(Rc::HANDLE.parameter(2))?),
        Cap::COMMANDS => commands(list, property, |_| true, |row| command_attributes(row).0),
        Cap::PP_COMMANDS => commands(
            list,
            property,
            |row| row.flags.presence_always || tpm.permanent.pp_commands.contains(&row.code),
            |row| row.code.0,
        ),
        Cap::AUDIT_COMMANDS => {
            commands(list, property, |row| tpm.is_audited(row.code), |row| row.code.0)
        }
        Cap::PCRS if property != 0 => return Err(Rc::VALUE.parameter(2)),
        Cap::PCRS => pcrs(tpm, list),
        Cap::PCR_PROPERTIES => pcr_properties(list, property),
        Cap::TPM_PROPERTIES => tpm_properties(tpm, list, property),
        Cap::ECC_CURVES => {
            let curves = tpm.profile.algorithms.curves().map(|curve| curve.id());
            list.extend(curves.filter(|id| *id >= property as u16))
        }
        Cap::AUTH_POLICIES if !Handle(property).is(HandleType::Permanent) => {
            return Err(Rc::VALUE.parameter(2));
        }
        Cap::AUTH_POLICIES => auth_policies(tpm, list, property),
        Cap::ACT if Handle(property).act().is_none() => return Err(Rc::VALUE.parameter(2)),
        Cap::ACT => acts(tpm, list, property),
        _ => return Err(Rc::VALUE.parameter(1)),
    };
    Ok(Response { more_data: list.more, capability_data: list.data })
}

/// `TPMA_ALGORITHM` of an algorithm (Part 2, table of `TPM_ALG_ID`).
fn algorithm_attributes(alg: Alg) -> AlgorithmAttributes {
    use AlgorithmAttributes as A;
    match alg {
        Alg::RSA | Alg::ECC => A::ASYMMETRIC.with(A::OBJECT),
        Alg::HMAC => A::HASH.with(A::SIGNING),
        Alg::AES => A::SYMMETRIC,
        Alg::MGF1 | Alg::KDF1_SP800_56A | Alg::KDF2 | Alg::KDF1_SP800_108 => {
            A::HASH.with(A::METHOD)
        }
        Alg::KEYEDHASH => A::HASH.with(A::OBJECT).with(A::SIGNING).with(A::ENCRYPTING),
        Alg::XOR => A::HASH.with(A::SYMMETRIC),
        Alg::RSASSA | Alg::RSAPSS | Alg::ECDSA | Alg::ECDAA | Alg::ECSCHNORR => {
            A::ASYMMETRIC.with(A::SIGNING)
        }
        Alg::RSAES | Alg::OAEP => A::ASYMMETRIC.with(A::ENCRYPTING),
        Alg::ECDH | Alg::ECMQV => A::ASYMMETRIC.with(A::METHOD),
        Alg::SYMCIPHER => A::OBJECT,
        Alg::CMAC => A::SYMMETRIC.with(A::SIGNING),
        Alg::CTR | Alg::OFB | Alg::CBC | Alg::CFB | Alg::ECB => A::SYMMETRIC.with(A::ENCRYPTING),
        _ => A::HASH,
    }
}

fn algorithms(tpm: &Tpm, mut list: List, first: u16) -> List {
    let has = |alg: &&Alg| tpm.profile.algorithms.has(**alg) && alg.0 >= first;
    for alg in ALL_ALGORITHMS.iter().filter(has) {
        let attributes = algorithm_attributes(*alg);
        if !list.push(|out| {
            alg.marshal(out);
            attributes.marshal(out);
        }) {
            break;
        }
    }
    list
}

/// The handles of the property's type from it on; absent for an unknown type.
fn handles(tpm: &Tpm, first: Handle) -> Option<impl Iterator<Item = Handle>> {
    let handles: Vec<Handle> = match first.0 >> 24 {
        0x00 => (0..PCR_COUNT).map(Handle).collect(),
        0x01 => tpm.nv.indices.keys().map(|index| Handle(*index)).collect(),
        0x02 => loaded_sessions(tpm),
        0x03 => saved_sessions(tpm),
        0x40 => permanent_handles(tpm),
        0x80 => (0u32..)
            .zip(tpm.objects.slots())
            .filter(|(_, slot)| slot.is_some())
            .map(|(position, _)| Handle(HandleType::Transient.first().0 | position))
            .collect(),
        0x81 => tpm.nv.objects.keys().map(|handle| Handle(*handle)).collect(),
        _ => return None,
    };
    let by_index = matches!(first.0 >> 24, 0x02 | 0x03);
    Some(handles.into_iter().filter(move |handle| {
        if by_index { handle.index() >= first.index() } else { *handle >= first }
    }))
}

fn loaded_sessions(tpm: &Tpm) -> Vec<Handle> {
    let slots = tpm.sessions.slots.iter().enumerate();
    slots
        .filter_map(|(position, slot)| match slot {
            SessionSlot::Loaded(session) => {
                Some(Sessions::handle_at(position, session.is_policy()))
            }
            _ => None,
        })
        .collect()
}

/// The table of sessions does not tell the kind of a saved one apart from its handle.
fn saved_sessions(tpm: &Tpm) -> Vec<Handle> {
    let slots = tpm.sessions.slots.iter().enumerate();
    slots
        .filter_map(|(position, slot)| match slot {
            SessionSlot::Saved { .. } => Some(Sessions::handle_at(position, false)),
            _ => None,
        })
        .collect()
}

fn permanent_handles(tpm: &Tpm) -> Vec<Handle> {
    let mut handles = vec![
        Handle::OWNER,
        Handle::NULL,
        Handle::PASSWORD,
        Handle::LOCKOUT,
        Handle::ENDORSEMENT,
        Handle::PLATFORM,
        Handle::PLATFORM_NV,
    ];
    handles.extend((0u8..).zip(&tpm.clear.acts).map(|(act, _)| Handle::of_act(act)));
    handles
}

/// `TPMA_CC` of a command.
pub(crate) fn command_attributes(row: &Row) -> CommandAttributes {
    let mut attributes = CommandAttributes(row.code.0 | (row.handles.len() as u32) << 25);
    let flags = [
        (row.flags.nv, CommandAttributes::NV),
        (row.flags.extensive, CommandAttributes::EXTENSIVE),
        (row.flags.flushed, CommandAttributes::FLUSHED),
        (row.response_handle, CommandAttributes::R_HANDLE),
    ];
    for (on, flag) in flags {
        if on {
            attributes = attributes.with(flag);
        }
    }
    attributes
}

fn commands(
    list: List,
    property: u32,
    wanted: impl Fn(&Row) -> bool,
    value: impl Fn(&Row) -> u32,
) -> List {
    let rows = table::ROWS.iter().filter(|row| row.code.0 >= property && wanted(row));
    list.extend(rows.map(value))
}

fn pcrs(tpm: &Tpm, mut list: List) -> List {
    // The allocation is given whole, or not at all.
    if list.limit == 0 {
        list.more = true;
        return list;
    }
    list.limit = u32::MAX;
    list.extend(tpm.pcrs.banks.iter().map(|bank| &bank.allocated))
}

fn pcr_properties(mut list: List, property: u32) -> List {
    for tag in property..properties::PCR_END {
        let Some(selection) = properties::pcr_property(tag) else { continue };
        if !list.push(|out| {
            tag.marshal(out);
            out.push(selection.select.len() as u8);
            out.extend_from_slice(&selection.select);
        }) {
            break;
        }
    }
    list
}

fn tpm_properties(tpm: &Tpm, mut list: List, property: u32) -> List {
    for tag in property.max(0x100)..properties::end_of_group(property) {
        let Some(value) = properties::property(tpm, tag) else { continue };
        if !list.push(|out| {
            tag.marshal(out);
            value.marshal(out);
        }) {
            break;
        }
    }
    list
}

fn auth_policies(tpm: &Tpm, mut list: List, property: u32) -> List {
    let handles = permanent_handles(tpm).into_iter().filter(|handle| {
        handle.0 >= property
            && !matches!(*handle, Handle::NULL | Handle::PASSWORD | Handle::PLATFORM_NV)
    });
    for handle in handles {
        let policy = tpm.auth_policy(handle);
        if !list.push(|out| {
            handle.marshal(out);
            match policy {
                Some(policy) => {
                    policy.alg.marshal(out);
                    out.extend_from_slice(&policy.digest);
                }
                None => Alg::NULL.marshal(out),
            }
        }) {
            break;
        }
    }
    list
}

fn acts(tpm: &Tpm, mut list: List, property: u32) -> List {
    for (number, act) in (0u8..).zip(&tpm.clear.acts) {
        let handle = Handle::of_act(number);
        if handle.0 < property {
            continue;
        }
        let attributes = u32::from(act.signaled) | u32::from(act.preserve_signaled) << 1;
        if !list.push(|out| {
            handle.marshal(out);
            act.remaining.marshal(out);
            attributes.marshal(out);
        }) {
            break;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cap, Cc, Rc};

    fn get(capability: Cap, property: u32, count: u32) -> CommandBuilder {
        command(Cc::GET_CAPABILITY).put(capability).put(property).put(count)
    }

    fn count(reply: &[u8]) -> u32 {
        u32::from_be_bytes(reply[5..9].try_into().unwrap())
    }

    #[test]
    fn more_data_says_that_the_list_goes_on() {
        let mut client = Client::started();
        let all = client.run(&get(Cap::ALGS, 0, 1000)).unwrap().parameters;
        assert_eq!(all[0], 0);
        let some = client.run(&get(Cap::ALGS, 0, 3)).unwrap().parameters;
        assert_eq!((some[0], count(&some)), (1, 3));
        let none = client.run(&get(Cap::HANDLES, 0, 0)).unwrap().parameters;
        assert_eq!((none[0], count(&none)), (1, 0));
    }

    #[test]
    fn a_list_goes_on_from_the_property() {
        let mut client = Client::started();
        let reply = client.run(&get(Cap::TPM_PROPERTIES, 0x105, 1)).unwrap().parameters;
        assert_eq!(reply[9..], *b"\0\0\x01\x05VTPM");
    }

    #[test]
    fn only_the_low_half_of_a_property_counts_where_it_is_an_algorithm_or_a_curve() {
        let mut client = Client::started();
        for capability in [Cap::ALGS, Cap::ECC_CURVES] {
            let reply = client.run(&get(capability, 0xffff_0004, 100)).unwrap();
            assert_eq!(reply, client.run(&get(capability, 4, 100)).unwrap());
        }
    }

    #[test]
    fn every_command_of_the_table_is_listed() {
        let mut client = Client::started();
        let reply = client.run(&get(Cap::COMMANDS, 0, 1000)).unwrap().parameters;
        assert_eq!(count(&reply) as usize, crate::commands::table::ROWS.len());
        assert_eq!(reply[0], 0);
    }

    #[test]
    fn an_unknown_capability_is_refused() {
        let mut client = Client::started();
        assert_eq!(client.rc(&get(Cap(77), 0, 1)), Rc::VALUE.parameter(1));
        assert_eq!(client.rc(&get(Cap::VENDOR_PROPERTY, 0, 1)), Rc::VALUE.parameter(1));
    }

    #[test]
    fn an_unknown_type_of_handle_is_refused() {
        let mut client = Client::started();
        assert_eq!(client.rc(&get(Cap::HANDLES, 0x9000_0000, 1)), Rc::HANDLE.parameter(2));
    }

    #[test]
    fn properties_that_must_fit_the_capability_do() {
        let mut client = Client::started();
        assert_eq!(client.rc(&get(Cap::PCRS, 1, 1)), Rc::VALUE.parameter(2));
        assert_eq!(client.rc(&get(Cap::AUTH_POLICIES, 1, 1)), Rc::VALUE.parameter(2));
        assert_eq!(client.rc(&get(Cap::ACT, 1, 1)), Rc::VALUE.parameter(2));
    }

    #[test]
    fn no_list_is_larger_than_the_capability_buffer() {
        let mut client = Client::started();
        for capability in 0..=10 {
            for property in [0, 0x100, 0x4000_0000, 0x4000_0110] {
                if let Ok(reply) = client.run(&get(Cap(capability), property, u32::MAX)) {
                    assert!(reply.parameters.len() <= 1025);
                }
            }
        }
    }
}
