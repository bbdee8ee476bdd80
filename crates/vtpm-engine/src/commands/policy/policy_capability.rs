//! TPM2_PolicyCapability: Part 3, clause 23.24, revision 1.83.

use crate::commands::capability::get_capability;
use crate::commands::command;
use crate::policy::Comparison;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cap, Cc, Digest, Handle, Marshal, Rc, ShPolicy};

command! {
    /// Binds a policy to a capability of the TPM.
    #[doc(alias = "TPM2_PolicyCapability")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// What the value is compared with.
            operand_b: Digest,
            /// Where in the value.
            offset: u16,
            /// The comparison.
            operation: Comparison,
            /// The group of values.
            capability: Cap,
            /// The value.
            property: u32,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(
    tpm: &mut Tpm,
    authorized: &Authorized,
    command: Command,
) -> Result<Response, Rc> {
    if !tpm.policy_session(command.policy_session)?.is_trial() {
        match find(tpm, authorized, command.capability, command.property)? {
            Some(value) => command.operation.check(&value, command.offset, &command.operand_b)?,
            // What does not exist differs from everything, and has no other relation to it.
            None if command.operation.is_not_equal() => {}
            None => return Err(Rc::POLICY),
        }
    }
    let mut selector = command.capability.to_bytes();
    command.property.marshal(&mut selector);
    let session = tpm.policy_session_mut(command.policy_session)?;
    let arguments =
        command.operation.arguments(session, &command.operand_b, command.offset, &selector);
    session.extend_policy(Cc::POLICY_CAPABILITY, &[&arguments]);
    Ok(Response {})
}

/// One value as `TPM2_GetCapability` gives it; absent when the TPM does not have it.
fn find(
    tpm: &mut Tpm,
    authorized: &Authorized,
    capability: Cap,
    property: u32,
) -> Result<Option<Vec<u8>>, Rc> {
    // These come as a whole, not by property.
    if capability == Cap::PCRS {
        return Err(Rc::VALUE.parameter(4));
    }
    let known = get_capability::KnownCap(capability);
    let request = get_capability::Command { capability: known, property, property_count: 1 };
    let reply = get_capability::run(tpm, authorized, request).map_err(|rc| match rc {
        _ if rc == Rc::VALUE.parameter(1) => Rc::VALUE.parameter(4),
        _ if rc == Rc::VALUE.parameter(2) => Rc::VALUE.parameter(5),
        _ if rc == Rc::HANDLE.parameter(2) => Rc::HANDLE.parameter(5),
        rc => rc,
    })?;
    // The list starts with the first value from the property on, after capability and count.
    let list = reply.capability_data.to_bytes();
    let Some(value) = list.get(8..).filter(|value| !value.is_empty()) else { return Ok(None) };
    let two = || value.first_chunk::<2>().map(|bytes| u32::from(u16::from_be_bytes(*bytes)));
    let four = || value.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
    let found = match capability {
        Cap::ALGS | Cap::ECC_CURVES => two() == Some(property & 0xffff),
        // The attributes have the command's code in their low bits.
        Cap::COMMANDS => four().map(|attributes| attributes & 0x2000_ffff) == Some(property),
        Cap::HANDLES if Handle(property).is_session() => {
            four().map(|handle| Handle(handle).index()) == Some(Handle(property).index())
        }
        _ => four() == Some(property),
    };
    if capability == Cap::HANDLES && found {
        return Ok(Some(property.to_bytes()));
    }
    Ok(found.then(|| value.to_vec()))
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, session, started};
    use crate::crypto::hash::{HashAlg, hash};
    use crate::test_util::CommandBuilder;
    use crate::wire::{Cap, Cc, Digest, Eo, Handle, Marshal, Rc, Se};

    fn request(
        session: Handle,
        operand: &[u8],
        operation: Eo,
        capability: Cap,
        property: u32,
    ) -> CommandBuilder {
        on(Cc::POLICY_CAPABILITY, session)
            .put(Digest::from_slice(operand))
            .put(4u16)
            .put(operation)
            .put(capability)
            .put(property)
    }

    #[test]
    fn a_property_is_compared() {
        let (mut client, session) = started(Se::POLICY);
        let vendor = |operand: &[u8]| request(session, operand, Eo::EQ, Cap::TPM_PROPERTIES, 0x105);
        assert_eq!(client.rc(&vendor(b"XXXX")), Rc::POLICY);
        assert_eq!(client.rc(&vendor(b"VTPMx")), Rc::SIZE.parameter(1));
        client.run(&vendor(b"VTPM")).unwrap();
        let selector = [Cap::TPM_PROPERTIES.to_bytes(), 0x105u32.to_bytes()].concat();
        let parts: [&[u8]; 4] = [b"VTPM", &4u16.to_bytes(), &Eo::EQ.to_bytes(), &selector];
        let arguments = hash(HashAlg::Sha256, &parts);
        let expected = extended(&ZEROS, Cc::POLICY_CAPABILITY, &[&arguments]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn what_does_not_exist_differs_from_everything() {
        let (mut client, session) = started(Se::POLICY);
        let absent = 0x8100_0000;
        let equal = request(session, b"", Eo::EQ, Cap::HANDLES, absent);
        assert_eq!(client.rc(&equal), Rc::POLICY);
        client.run(&request(session, b"", Eo::NEQ, Cap::HANDLES, absent)).unwrap();
    }

    #[test]
    fn each_group_is_found_by_its_property() {
        let (mut client, session) = started(Se::POLICY);
        let groups = [
            (Cap::ALGS, 0x0bu32),
            (Cap::HANDLES, 0x4000_0001),
            (Cap::HANDLES, session.0),
            (Cap::COMMANDS, Cc::POLICY_CAPABILITY.0),
            (Cap::PCR_PROPERTIES, 1),
            (Cap::AUTH_POLICIES, 0x4000_0001),
        ];
        for (capability, property) in groups {
            // Offset 4 is inside or at the end of every value, so an empty operand is equal.
            let found = request(session, b"", Eo::EQ, capability, property);
            if capability == Cap::HANDLES && property == session.0 {
                // Type 3 lists saved sessions, and this one is loaded.
                assert_eq!(client.rc(&found), Rc::POLICY);
            } else {
                client.run(&found).unwrap();
            }
        }
    }

    #[test]
    fn groups_without_single_values_are_refused_unless_it_is_a_trial() {
        let (mut client, policy) = started(Se::POLICY);
        for capability in [Cap::PCRS, Cap::VENDOR_PROPERTY, Cap(99)] {
            let refused = request(policy, b"", Eo::EQ, capability, 0);
            assert_eq!(client.rc(&refused), Rc::VALUE.parameter(4));
        }
        let refused = request(policy, b"", Eo::EQ, Cap::HANDLES, 0x9000_0000);
        assert_eq!(client.rc(&refused), Rc::HANDLE.parameter(5));
        let trial = session(&mut client, Se::TRIAL);
        client.run(&request(trial, b"", Eo::EQ, Cap::PCRS, 0)).unwrap();
    }
}
