//! TPM2_ContextLoad: Part 3, clause 28.3, revision 1.59.

use std::sync::Arc;

use crate::commands::capability::properties::MAX_OBJECT_CONTEXT;
use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::object::Slot;
use crate::session::authorize::Authorized;
use crate::state::context::{Blob, Header, SAVED_SEQUENCE};
use crate::state::object::{restore_object, restore_sequence};
use crate::state::record::Reader;
use crate::state::session::restore_session;
use crate::tpm::Tpm;
use crate::wire::{self, DhSaved, HandleInterface, Rc, RhHierarchy, Unmarshal};

/// `TPMS_CONTEXT` as a parameter.
///
/// Bytes behind it are skipped when there are as many in all as `TPM_PT_MAX_OBJECT_CONTEXT`:
/// Windows Server 2019 pads contexts to that size.
#[derive(Debug)]
pub(crate) struct SavedContext {
    header: Header,
    blob: Blob,
}

impl Unmarshal for SavedContext {
    fn unmarshal(reader: &mut wire::Reader<'_>) -> Result<Self, Rc> {
        let padded = reader.rest().len() == MAX_OBJECT_CONTEXT as usize;
        let sequence = reader.get()?;
        let saved_handle = reader.get::<DhSaved>()?.handle();
        let hierarchy = reader.get::<Option<RhHierarchy>>()?.handle();
        let hierarchy = Hierarchy::of(hierarchy).ok_or(Rc::VALUE)?;
        let blob = reader.get()?;
        if padded {
            reader.take(reader.rest().len())?;
        }
        Ok(Self { header: Header { sequence, saved_handle, hierarchy }, blob })
    }
}

command! {
    /// Loads what `TPM2_ContextSave` saved.
    #[doc(alias = "TPM2_ContextLoad")]
    Command {
        handles {}
        parameters {
            /// The context.
            context: SavedContext,
        }
    }
    Response {
        handle {
            /// A session's own handle, or a new one.
            loaded_handle
        }
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let SavedContext { header, blob } = command.context;
    let record = tpm.open_context(header, &blob)?;
    let mut reader = Reader::new(&record, tpm.profile.algorithms);
    // It is this TPM's, but of a release that wrote it differently.
    let foreign = |_| Rc::INTEGRITY.parameter(1);
    if header.saved_handle.is_session() {
        let session = restore_session(&mut reader).map_err(foreign)?;
        tpm.sessions
            .load(header.saved_handle, header.sequence, session)
            .map_err(|rc| rc.parameter(1))?;
        return Ok(Response { loaded_handle: header.saved_handle });
    }
    if !tpm.is_enabled(header.hierarchy) {
        return Err(Rc::HIERARCHY.parameter(1));
    }
    let content = if header.saved_handle == SAVED_SEQUENCE {
        Slot::Sequence(Box::new(restore_sequence(&mut reader).map_err(foreign)?))
    } else {
        Slot::Object(Arc::new(restore_object(&mut reader).map_err(foreign)?))
    };
    Ok(Response { loaded_handle: tpm.objects.insert(content)? })
}

#[cfg(test)]
mod tests {
    use super::super::test_util::{
        Saved, create, flush, load, name, save_context, start_policy, start_session,
    };
    use super::MAX_OBJECT_CONTEXT;
    use crate::crypto::cmac::Cmac;
    use crate::crypto::hash::{HashAlg, Hasher};
    use crate::crypto::hmac::Hmac;
    use crate::object::Slot;
    use crate::object::sequence::{Sequence, SequenceState};
    use crate::pcr::EventHashes;
    use crate::test_util::{Client, command};
    use crate::wire::{Auth, Cc, Handle, ObjectAttributes, Rc, SymKey};

    fn restart(client: &mut Client, shutdown: Option<u16>, startup: u16) {
        if let Some(kind) = shutdown {
            client.run(&command(Cc::SHUTDOWN).put(kind)).unwrap();
        }
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(startup)).unwrap();
    }

    #[test]
    fn an_object_comes_back_the_same_under_a_new_handle() {
        let mut client = Client::started();
        for hierarchy in [Handle::OWNER, Handle::PLATFORM, Handle::ENDORSEMENT, Handle::NULL] {
            let object = create(&mut client, hierarchy, ObjectAttributes::NONE);
            let before = client.run(&name(object)).unwrap().parameters;
            let saved = save_context(&mut client, object);
            let loaded = client.run(&load(&saved)).unwrap().handle.unwrap();
            assert_ne!(loaded, object);
            assert_eq!(client.run(&name(loaded)).unwrap().parameters, before);
            let sensitive = |handle| client.tpm.object(handle).unwrap().sensitive.clone().unwrap();
            assert_eq!(sensitive(loaded), sensitive(object));
            client.run(&flush(object)).unwrap();
            client.run(&flush(loaded)).unwrap();
        }
    }

    #[test]
    fn a_session_comes_back_once_under_its_own_handle() {
        let mut client = Client::started();
        for start in [start_session, start_policy] {
            let session = start(&mut client);
            let before = format!("{:?}", client.tpm.sessions.get(session).unwrap());
            let saved = save_context(&mut client, session);
            assert_eq!(client.run(&load(&saved)).unwrap().handle, Some(session));
            assert_eq!(format!("{:?}", client.tpm.sessions.get(session).unwrap()), before);
            assert_eq!(client.rc(&load(&saved)), Rc::HANDLE.parameter(1));
            // Nor after another save: only the last context is valid.
            let again = save_context(&mut client, session);
            assert_eq!(client.rc(&load(&saved)), Rc::HANDLE.parameter(1));
            client.run(&load(&again)).unwrap();
            client.run(&flush(session)).unwrap();
        }
    }

    #[test]
    fn every_kind_of_sequence_goes_on_where_it_was() {
        let mut client = Client::started();
        let mut hasher = Hasher::new(HashAlg::Sha384);
        let mut event = EventHashes::new(&client.tpm.pcrs);
        let mut hmac = Hmac::new(HashAlg::Sha3_256, b"key");
        let mut cmac = Cmac::new(&[7; 24]).unwrap();
        hasher.update(b"first");
        event.update(b"first");
        hmac.update(b"first");
        cmac.update(b"first");
        let states = [
            SequenceState::Hash { hasher, ticket_safe: Some(true) },
            SequenceState::Event(event),
            SequenceState::Hmac(hmac),
            SequenceState::Cmac { key: SymKey::from_slice(&[7; 24]), cmac },
        ];
        for state in states {
            let sequence = Sequence { auth: Auth::from_slice(b"auth"), state };
            let handle = client.tpm.objects.insert(Slot::Sequence(Box::new(sequence))).unwrap();
            let saved = save_context(&mut client, handle);
            assert_eq!(saved.handle(), Handle(0x8000_0001));
            let loaded = client.run(&load(&saved)).unwrap().handle.unwrap();
            let mut finish = |handle| {
                let slot = client.tpm.objects.slot_mut(handle).unwrap().take();
                let Some(Slot::Sequence(sequence)) = slot else { panic!("no sequence") };
                let digest = match sequence.state {
                    SequenceState::Hash { hasher, ticket_safe } => {
                        assert_eq!(ticket_safe, Some(true));
                        hasher.finish().to_vec()
                    }
                    SequenceState::Event(event) => {
                        event.finish().flat_map(|(_, digest)| digest.to_vec()).collect()
                    }
                    SequenceState::Hmac(hmac) => hmac.finish().to_vec(),
                    SequenceState::Cmac { cmac, .. } => cmac.finish().to_vec(),
                };
                (sequence.auth, digest)
            };
            assert_eq!(finish(loaded), finish(handle));
        }
    }

    #[test]
    fn a_changed_context_is_refused_whatever_was_changed() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let saved = save_context(&mut client, object);
        let session = start_session(&mut client);
        let session = save_context(&mut client, session);
        for saved in [saved, session] {
            for position in 0..saved.0.len() {
                let mut changed = saved.clone();
                changed.0[position] ^= 1;
                assert!(client.run(&load(&changed)).is_err(), "{position}");
            }
            let mut changed = saved.clone();
            changed.0[7] ^= 1;
            assert_eq!(client.rc(&load(&changed)), Rc::INTEGRITY.parameter(1));
            let last = saved.0.len() - 1;
            let mut changed = saved.clone();
            changed.0[last] ^= 1;
            assert_eq!(client.rc(&load(&changed)), Rc::INTEGRITY.parameter(1));
            client.run(&load(&saved)).unwrap();
        }
    }

    #[test]
    fn a_blob_without_room_for_an_integrity_value_is_refused() {
        let mut client = Client::started();
        let mut head = vec![0; 8];
        head.extend_from_slice(&[0x80, 0, 0, 0, 0x40, 0, 0, 1]);
        let with = |blob: &[u8]| {
            let mut context = head.clone();
            context.extend_from_slice(&(blob.len() as u16).to_be_bytes());
            context.extend_from_slice(blob);
            load(&Saved(context))
        };
        assert_eq!(client.rc(&with(&[])), Rc::INSUFFICIENT);
        assert_eq!(client.rc(&with(&[0, 65])), Rc::SIZE);
        let mut short = vec![0, 32];
        short.resize(100, 0);
        assert_eq!(client.rc(&with(&short)), Rc::SIZE.parameter(1));
        let mut empty = vec![0, 64];
        empty.resize(2 + 64 + 7, 0);
        assert_eq!(client.rc(&with(&empty)), Rc::SIZE.parameter(1));
        empty.push(0);
        assert_eq!(client.rc(&with(&empty)), Rc::INTEGRITY.parameter(1));
    }

    #[test]
    fn a_saved_handle_or_hierarchy_of_the_wrong_kind_is_refused() {
        let mut client = Client::started();
        let with = |handle: u32, hierarchy: u32| {
            let mut context = vec![0; 8];
            context.extend_from_slice(&handle.to_be_bytes());
            context.extend_from_slice(&hierarchy.to_be_bytes());
            context.extend_from_slice(&[0, 0]);
            load(&Saved(context))
        };
        assert_eq!(client.rc(&with(0x8000_0003, 0x4000_0001)), Rc::VALUE.parameter(1));
        assert_eq!(client.rc(&with(0x8100_0000, 0x4000_0001)), Rc::VALUE.parameter(1));
        assert_eq!(client.rc(&with(0x8000_0000, 0x4000_000a)), Rc::VALUE.parameter(1));
    }

    #[test]
    fn a_context_dies_at_a_reset() {
        for shutdown in [None, Some(0)] {
            let mut client = Client::started();
            let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
            let saved = save_context(&mut client, object);
            let session = start_session(&mut client);
            let session = save_context(&mut client, session);
            restart(&mut client, shutdown, 0);
            assert_eq!(client.rc(&load(&saved)), Rc::INTEGRITY.parameter(1));
            assert_eq!(client.rc(&load(&session)), Rc::INTEGRITY.parameter(1));
        }
    }

    #[test]
    fn a_context_survives_a_restart_and_a_resume_unless_it_is_st_clear() {
        for (startup, st_clear_survives) in [(0, false), (1, true)] {
            let mut client = Client::started();
            let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
            let saved = save_context(&mut client, object);
            let object = create(&mut client, Handle::OWNER, ObjectAttributes::ST_CLEAR);
            let st_clear = save_context(&mut client, object);
            let session = start_session(&mut client);
            let session = save_context(&mut client, session);
            restart(&mut client, Some(1), startup);
            client.run(&load(&saved)).unwrap();
            client.run(&load(&session)).unwrap();
            match client.run(&load(&st_clear)) {
                Ok(_) => assert!(st_clear_survives),
                Err(rc) => assert_eq!((rc, false), (Rc::INTEGRITY.parameter(1), st_clear_survives)),
            }
        }
    }

    #[test]
    fn an_object_of_a_disabled_hierarchy_does_not_load() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let saved = save_context(&mut client, object);
        client.tpm.clear.storage_enabled = false;
        assert_eq!(client.rc(&load(&saved)), Rc::HIERARCHY.parameter(1));
    }

    #[test]
    fn without_room_nothing_is_loaded() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let saved = save_context(&mut client, object);
        client.run(&load(&saved)).unwrap();
        client.run(&load(&saved)).unwrap();
        assert_eq!(client.rc(&load(&saved)), Rc::OBJECT_MEMORY);
        let session = start_session(&mut client);
        let session = save_context(&mut client, session);
        for _ in 0..3 {
            start_session(&mut client);
        }
        assert_eq!(client.rc(&load(&session)), Rc::SESSION_MEMORY);
        assert_eq!(client.tpm.sessions.active(), 4);
    }

    #[test]
    fn a_flushed_session_does_not_come_back() {
        let mut client = Client::started();
        let session = start_session(&mut client);
        let saved = save_context(&mut client, session);
        client.run(&flush(session)).unwrap();
        assert_eq!(client.rc(&load(&saved)), Rc::HANDLE.parameter(1));
        start_session(&mut client);
        assert_eq!(client.rc(&load(&saved)), Rc::HANDLE.parameter(1));
    }

    #[test]
    fn a_context_padded_to_the_largest_size_loads() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let saved = save_context(&mut client, object);
        let mut padded = saved.clone();
        padded.0.resize(MAX_OBJECT_CONTEXT as usize, 0);
        client.run(&load(&padded)).unwrap();
        padded.0.pop();
        assert_eq!(client.rc(&load(&padded)), Rc::SIZE);
    }

    #[test]
    fn contents_that_do_not_fit_an_authentic_context_put_the_tpm_into_failure_mode() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let saved = save_context(&mut client, object);
        let forged = forge(&client, &saved, &[0; 8]);
        assert_eq!(client.rc(&load(&forged)), Rc::FAILURE);
        assert_eq!(client.rc(&load(&saved)), Rc::FAILURE);
    }

    /// A context with the right integrity value over other encrypted contents.
    fn forge(client: &Client, saved: &Saved, encrypted: &[u8]) -> Saved {
        let tpm = &client.tpm;
        let proof = &tpm.permanent.hierarchies.owner.proof;
        let mac = crate::crypto::hmac::hmac(
            HashAlg::Sha512,
            proof.as_ref(),
            &[&tpm.permanent.total_reset_count.to_be_bytes(), &saved.0[..12], encrypted],
        );
        let mut forged = saved.0[..16].to_vec();
        forged.extend_from_slice(&(66 + encrypted.len() as u16).to_be_bytes());
        forged.extend_from_slice(&[0, 64]);
        forged.extend_from_slice(&mac);
        forged.extend_from_slice(encrypted);
        Saved(forged)
    }
}
