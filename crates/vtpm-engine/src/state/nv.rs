//! Saved NV: indices and persistent objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::object::{restore_object, save_object};
use super::record::{Kind, Reader, Writer};
use crate::Error;
use crate::hierarchy::Hierarchy;
use crate::nv::{Nv, NvIndex};
use crate::object::Object;
use crate::wire::{Handle, HandleInterface, HandleType, MAX_NV_INDEX_SIZE, NvPublic, NvType};

const NV: Kind = Kind::first("NV  ");
const INDEX: Kind = Kind::first("INDX");

const WHAT: &str = "NV";
/// More indices than fit into any NV that a host could want.
const MAX_INDICES: usize = 1 << 20;
const MAX_DATA: usize = MAX_NV_INDEX_SIZE as usize;

/// Writes all of NV.
pub(super) fn save_nv(writer: &mut Writer, nv: &Nv) {
    let Nv { indices, objects, max_counter } = nv;
    let indices: Vec<&NvIndex> = indices.values().collect();
    let objects: Vec<(&u32, &Arc<Object>)> = objects.iter().collect();
    writer.record(NV, |writer| {
        writer.list(&indices, |writer, index| save_index(writer, index));
        writer.list(&objects, |writer, (handle, object)| {
            writer.put(**handle);
            save_object(writer, object);
        });
        writer.put(*max_counter);
    });
}

/// Reads all of NV.
pub(super) fn restore_nv(reader: &mut Reader<'_>, max_objects: u16) -> Result<Nv, Error> {
    reader.record(NV, |reader, _| {
        let mut indices = BTreeMap::new();
        for index in reader.list(MAX_INDICES, WHAT, restore_index)? {
            if indices.insert(index.public.index.handle().0, index).is_some() {
                return Err(Error::Damaged(WHAT));
            }
        }
        let mut objects = BTreeMap::new();
        let pairs = reader.list(usize::from(max_objects), WHAT, |reader| {
            Ok((reader.get::<Handle>(WHAT)?, restore_object(reader)?))
        })?;
        for (handle, object) in pairs {
            let fits = handle.is(HandleType::Persistent)
                && object.sensitive.is_some()
                && object.hierarchy != Hierarchy::Null;
            if !fits || objects.insert(handle.0, Arc::new(object)).is_some() {
                return Err(Error::Damaged(WHAT));
            }
        }
        Ok(Nv { indices, objects, max_counter: reader.get(WHAT)? })
    })
}

fn save_index(writer: &mut Writer, index: &NvIndex) {
    let NvIndex { public, auth, data, stored } = index;
    writer.record(INDEX, |writer| {
        writer.put(public);
        writer.put(auth);
        writer.sized(data);
        writer.option(stored.as_deref(), Writer::sized);
    });
}

fn restore_index(reader: &mut Reader<'_>) -> Result<NvIndex, Error> {
    reader.record(INDEX, |reader, _| {
        let index = NvIndex {
            public: reader.get(WHAT)?,
            auth: reader.get(WHAT)?,
            data: reader.sized(MAX_DATA, WHAT)?.to_vec(),
            stored: reader
                .option(WHAT, |reader| reader.sized(MAX_DATA, WHAT).map(<[u8]>::to_vec))?,
        };
        if is_consistent(&index) { Ok(index) } else { Err(Error::Damaged(WHAT)) }
    })
}

/// Whether the contents have the size that the public area and the kind say.
fn is_consistent(index: &NvIndex) -> bool {
    let NvPublic { index: _, name_alg, attributes, auth_policy, data_size } = &index.public;
    let size = usize::from(data_size.0);
    let digest_size = name_alg.digest_size();
    let kind_fits = match NvType::of(*attributes) {
        None => false,
        Some(NvType::Ordinary) => true,
        Some(NvType::Extend) => size == digest_size,
        Some(NvType::Counter | NvType::Bits | NvType::PinFail | NvType::PinPass) => size == 8,
    };
    kind_fits
        && index.data.len() == size
        && index.stored.as_ref().is_none_or(|stored| stored.len() == size)
        && index.auth.len() <= digest_size
        && (auth_policy.is_empty() || auth_policy.len() == digest_size)
}
