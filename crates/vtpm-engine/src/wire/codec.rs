//! Reading and writing of TPM structures: big-endian, unaligned, without padding
//! (TPM 2.0 Library Part 1, clause 8; Part 2, clause 4).

use super::{Handle, HandleType, Rc};
use crate::profile::Algorithms;

/// How many places a TPM has for what handles number: a handle beyond them is no handle.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// For active sessions.
    pub sessions: usize,
    /// For transient objects.
    pub objects: usize,
}

impl Places {
    /// As many as there are handles.
    const ALL: Places = Places { sessions: usize::MAX, objects: usize::MAX };

    /// Whether there is a place for the session or transient object of this handle.
    pub fn has(self, handle: Handle) -> bool {
        let count = match handle.kind() {
            Some(HandleType::HmacSession | HandleType::PolicySession) => self.sessions,
            Some(HandleType::Transient) => self.objects,
            _ => return true,
        };
        (handle.index() as usize) < count
    }
}

/// A cursor over bytes that a guest sent.
///
/// It carries the set of algorithms that this TPM has, because the specification makes an
/// identifier of an unsupported algorithm an unmarshaling error, and the number of places, because
/// a handle beyond them is one as well.
#[derive(Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    algorithms: &'a Algorithms,
    places: Places,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8], algorithms: &'a Algorithms) -> Self {
        Self { bytes, algorithms, places: Places::ALL }
    }

    /// A reader that takes no handle beyond these places.
    #[must_use]
    pub const fn with_places(mut self, places: Places) -> Self {
        self.places = places;
        self
    }

    /// A handle, or `TPM_RC_VALUE` when this TPM has no place for it.
    pub fn handle(&mut self) -> Result<Handle, Rc> {
        let handle = self.get()?;
        if self.places.has(handle) { Ok(handle) } else { Err(Rc::VALUE) }
    }

    /// What this TPM implements.
    pub fn algorithms(&self) -> &'a Algorithms {
        self.algorithms
    }

    /// The next `count` bytes, or `TPM_RC_INSUFFICIENT`.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Rc> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or(Rc::INSUFFICIENT)?;
        self.bytes = tail;
        Ok(head)
    }

    /// The next `N` bytes, or `TPM_RC_INSUFFICIENT`.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Rc> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(Rc::INSUFFICIENT)?;
        self.bytes = tail;
        Ok(*head)
    }

    /// Reads any structure.
    pub fn get<T: Unmarshal>(&mut self) -> Result<T, Rc> {
        T::unmarshal(self)
    }

    /// Everything not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// `TPM_RC_SIZE` unless everything was read.
    pub fn finish(&self) -> Result<(), Rc> {
        if self.is_empty() { Ok(()) } else { Err(Rc::SIZE) }
    }
}

/// A structure that can be read from a command.
pub trait Unmarshal: Sized {
    /// Whether the structure starts with its 16-bit size (a `TPM2B_`), so that as a first
    /// parameter it can be encrypted by a session (Part 1, clause 19).
    const SIZED: bool = false;

    /// Reads the structure; the error is the response code without a parameter number.
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc>;
}

/// A structure that can be written to a response.
pub trait Marshal {
    /// Whether the structure starts with its 16-bit size (a `TPM2B_`).
    const SIZED: bool = false;

    /// Appends the structure to `out`.
    fn marshal(&self, out: &mut Vec<u8>);

    /// The structure as bytes of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.marshal(&mut out);
        out
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Unmarshal for $type {
            fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
                Ok(<$type>::from_be_bytes(reader.array()?))
            }
        }

        impl Marshal for $type {
            fn marshal(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);

/// `TPMI_YES_NO`: anything but 0 and 1 is `TPM_RC_VALUE`.
impl Unmarshal for bool {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        match reader.get::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Rc::VALUE),
        }
    }
}

impl Marshal for bool {
    fn marshal(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl<T: Marshal + ?Sized> Marshal for &T {
    const SIZED: bool = T::SIZED;

    fn marshal(&self, out: &mut Vec<u8>) {
        (**self).marshal(out);
    }
}

/// Appends what `body` appends, preceded by its size in 16 bits.
///
/// Nothing in this engine writes a sized structure of 64 KiB or more; were it to happen, the size
/// would saturate and the receiver refuse it.
pub fn marshal_sized(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    body(out);
    let length = out.len().saturating_sub(start).saturating_sub(2);
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(field) = out.get_mut(start..).and_then(|tail| tail.first_chunk_mut::<2>()) {
        *field = length;
    }
}

/// A list as the specification's `TPML_` structures have it: a 32-bit count, then the elements.
///
/// Reading a count above `MAX` is `TPM_RC_SIZE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Unmarshal, const MAX: usize> Unmarshal for List<T, MAX> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let count = reader.get::<u32>()? as usize;
        if count > MAX {
            return Err(Rc::SIZE);
        }
        (0..count).map(|_| reader.get()).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: Marshal, const MAX: usize> Marshal for List<T, MAX> {
    fn marshal(&self, out: &mut Vec<u8>) {
        (self.0.len() as u32).marshal(out);
        self.0.iter().for_each(|element| element.marshal(out));
    }
}

/// Declares a structure whose fields are read and written in order.
macro_rules! structure {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(unreachable_pub, reason = "some commands declare structures of their own")]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl $crate::wire::Unmarshal for $name {
            fn unmarshal(
                reader: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::Rc> {
                Ok(Self { $($field: reader.get()?,)* })
            }
        }

        impl $crate::wire::Marshal for $name {
            fn marshal(&self, out: &mut Vec<u8>) {
                $($crate::wire::Marshal::marshal(&self.$field, out);)*
            }
        }
    };
}
pub(crate) use structure;

/// Declares an open integer type with named values: any value can be read and written.
macro_rules! open_integer {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ty);
        $($(#[$value_meta:meta])* $value:ident = $number:expr;)*
    ) => {
        $(#[$meta])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            $(
                $(#[$value_meta])*
                #[doc = concat!("`", stringify!($value), "`")]
                pub const $value: $name = $name($number);
            )*
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match *self {
                    $($name::$value => f.write_str(stringify!($value)),)*
                    $name(other) => write!(f, concat!(stringify!($name), "({:#x})"), other),
                }
            }
        }

        impl $crate::wire::Unmarshal for $name {
            fn unmarshal(
                reader: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::Rc> {
                reader.get().map(Self)
            }
        }

        impl $crate::wire::Marshal for $name {
            fn marshal(&self, out: &mut Vec<u8>) {
                self.0.marshal(out);
            }
        }
    };
}
pub(crate) use open_integer;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_buffer_is_insufficient_and_consumes_nothing() {
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(&[1, 2, 3], &algorithms);
        assert_eq!(reader.get::<u32>(), Err(Rc::INSUFFICIENT));
        assert_eq!(reader.get::<u16>(), Ok(0x0102));
        assert_eq!(reader.finish(), Err(Rc::SIZE));
    }

    #[test]
    fn a_list_longer_than_its_bound_is_refused_before_its_elements_are_read() {
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff], &algorithms);
        assert_eq!(reader.get::<List<u32, 8>>(), Err(Rc::SIZE));
    }

    #[test]
    fn a_sized_structure_is_preceded_by_its_length() {
        let mut out = vec![9];
        marshal_sized(&mut out, |out| out.extend_from_slice(b"abc"));
        assert_eq!(out, [9, 0, 3, b'a', b'b', b'c']);
    }
}
