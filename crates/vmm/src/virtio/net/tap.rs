//! Tap interfaces of the host, by name or as a descriptor that the parent process has opened.

use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
};

use libc::{IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, TUNGETIFF, TUNSETIFF, c_int};
use vmm_sys_util::ioctl::ioctl_with_mut_ref;

use crate::error::{Error, Result};

const CLONE_DEVICE: &str = "/dev/net/tun";
/// Bytes of an interface's name, its NUL included.
const NAME_SIZE: usize = libc::IFNAMSIZ;

/// A tap interface.
#[derive(Debug)]
pub struct Tap(OwnedFd);

/// `struct ifreq`, as far as tap interfaces use it.
#[repr(C)]
#[derive(Default)]
struct Request {
    name: [u8; NAME_SIZE],
    flags: i16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());

impl Tap {
    /// Opens the interface called `name`, which must exist.
    ///
    /// # Errors
    /// [`Error::Virtio`], with what to do about it.
    pub fn open(name: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Virtio { device: format!("tap {name}"), reason };
        let mut request = Request { flags: flags(IFF_TAP | IFF_NO_PI), ..Request::default() };
        let valid = !name.is_empty()
            && name.len() < NAME_SIZE
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'%');
        if !valid {
            return Err(refuse("names of interfaces are 1 to 15 letters, digits or signs".into()));
        }
        for (to, from) in request.name.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        // Or the kernel would make one, which is down, connected to nothing and gone at the end.
        if !exists(&request.name) {
            return Err(refuse(format!("there is no such interface; make it: {}", recipe(name))));
        }
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(CLONE_DEVICE)
            .map_err(|cause| refuse(explain_device(&cause)))?;
        // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, whose layout `Request` has.
        let result = unsafe { ioctl_with_mut_ref(&device, TUNSETIFF, &mut request) };
        if result < 0 {
            return Err(refuse(explain_attach(&io::Error::last_os_error(), name)));
        }
        Ok(Self(device.into()))
    }

    /// Takes the interface that descriptor `number` of this process is, as a parent process may
    /// have opened it. The number itself stays open.
    ///
    /// # Errors
    /// [`Error::Virtio`] if it is none, or adds headers of its own to frames.
    pub fn inherit(number: RawFd) -> Result<Self> {
        let refuse = |reason: String| Error::Virtio { device: format!("tap fd={number}"), reason };
        if number < 0 {
            return Err(refuse("numbers of descriptors are not negative".into()));
        }
        // SAFETY: the descriptor is borrowed for one call, which duplicates it or says that it is
        // not open; it is never closed.
        let copy = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned();
        let copy = copy.map_err(|cause| {
            refuse(format!("it is not open ({cause}); the parent process must pass it on"))
        })?;
        Self::check(&copy).map_err(refuse)?;
        Ok(Self(copy))
    }

    /// Says what is wrong with a descriptor as a tap interface.
    fn check(fd: &OwnedFd) -> Result<(), String> {
        let mut request = Request::default();
        // SAFETY: TUNGETIFF writes one `struct ifreq`, whose layout `Request` has.
        if unsafe { ioctl_with_mut_ref(fd, TUNGETIFF, &mut request) } < 0 {
            let cause = io::Error::last_os_error();
            return Err(format!("it is no tap interface that was opened with TUNSETIFF ({cause})"));
        }
        let set = |flag: c_int| request.flags & flags(flag) != 0;
        if !set(IFF_TAP) {
            return Err(
                "it is a tun interface (packets); a tap interface (frames) is needed".into()
            );
        }
        if set(IFF_VNET_HDR) || !set(IFF_NO_PI) {
            return Err("it adds headers to frames; open it with IFF_NO_PI, without \
                        IFF_VNET_HDR"
                .into());
        }
        if set(IFF_MULTI_QUEUE) {
            tracing::debug!("one queue of several: frames of the others are not seen");
        }
        Ok(())
    }
}

impl From<Tap> for OwnedFd {
    fn from(tap: Tap) -> Self {
        tap.0
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Has reads and writes fail instead of waiting.
pub(super) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let number = fd.as_raw_fd();
    // SAFETY: reads flags of an open descriptor.
    let set = unsafe { libc::fcntl(number, libc::F_GETFL) };
    if set < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sets flags of an open descriptor.
    if unsafe { libc::fcntl(number, libc::F_SETFL, set | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether this network namespace has an interface of that name, which ends with a NUL.
fn exists(name: &[u8; NAME_SIZE]) -> bool {
    // SAFETY: the name has 16 bytes of which the last is never set, so it is a C string.
    unsafe { libc::if_nametoindex(name.as_ptr().cast()) != 0 }
}

/// As `struct ifreq` holds them: 16 bits, whose sign means nothing.
fn flags(flags: c_int) -> i16 {
    flags as i16
}

fn recipe(name: &str) -> String {
    format!("ip tuntap add dev {name} mode tap user $USER && ip link set {name} up")
}

fn explain_device(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::NotFound => {
            format!("this host has no {CLONE_DEVICE}; load the module: modprobe tun")
        }
        io::ErrorKind::PermissionDenied => {
            format!("this user may not open {CLONE_DEVICE} ({cause}); it is commonly open to all")
        }
        _ => format!("{CLONE_DEVICE} cannot be opened: {cause}"),
    }
}

fn explain_attach(cause: &io::Error, name: &str) -> String {
    match cause.raw_os_error() {
        Some(libc::EPERM) => format!(
            "this user may not use it; make it as root for the user that runs this: {}",
            recipe(name)
        ),
        Some(libc::EBUSY) => "another program uses it; give each machine an interface".into(),
        Some(libc::EINVAL) => format!(
            "it is not a tap interface, or one of several queues; make another: {}",
            recipe(name)
        ),
        _ => format!("it cannot be used: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use vmm_sys_util::ioctl::ioctl_with_val;

    use super::*;

    #[test]
    fn names_that_no_interface_can_have_are_refused() {
        for name in ["", "sixteen-letters-", "a/b", "tap%d", "two words"] {
            let error = Tap::open(name).unwrap_err().to_string();
            assert!(error.contains("names of interfaces"), "{name}: {error}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_comes_with_the_recipe() {
        let error = Tap::open("no-such-tap0").unwrap_err().to_string();
        assert!(error.contains("ip tuntap add dev no-such-tap0 mode tap"), "{error}");
    }

    #[test]
    fn a_descriptor_that_is_no_tap_is_refused() {
        let file = File::open("/dev/null").unwrap();
        let error = Tap::inherit(file.as_raw_fd()).unwrap_err().to_string();
        assert!(error.contains("no tap interface"), "{error}");
        let error = Tap::inherit(-1).unwrap_err().to_string();
        assert!(error.contains("not negative"), "{error}");
        let error = Tap::inherit(1_000_000).unwrap_err().to_string();
        assert!(error.contains("not open"), "{error}");
    }

    /// Makes an interface that stays when its descriptor is closed.
    fn make(name: &[u8], extra: c_int) {
        let mut request =
            Request { flags: flags(IFF_TAP | IFF_NO_PI | extra), ..Request::default() };
        request.name[..name.len()].copy_from_slice(name);
        let device = OpenOptions::new().read(true).write(true).open(CLONE_DEVICE).unwrap();
        // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, whose layout `Request` has.
        assert_eq!(unsafe { ioctl_with_mut_ref(&device, TUNSETIFF, &mut request) }, 0);
        // SAFETY: TUNSETPERSIST takes a number.
        assert_eq!(unsafe { ioctl_with_val(&device, libc::TUNSETPERSIST, 1) }, 0);
    }

    /// In a network namespace of its own, which vanishes with the thread.
    #[test]
    fn an_interface_is_opened_by_name_and_by_number_and_once() {
        let in_namespace = || {
            // SAFETY: takes this thread to another network namespace; no memory is involved.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0
                || OpenOptions::new().write(true).open(CLONE_DEVICE).is_err()
            {
                eprintln!("not tested: this user may make no tap interfaces");
                return;
            }
            make(b"plain0", 0);
            let tap = Tap::open("plain0").unwrap();
            let error = Tap::open("plain0").unwrap_err().to_string();
            assert!(error.contains("another program uses it"), "{error}");
            Tap::inherit(tap.as_fd().as_raw_fd()).unwrap();
            let error = Tap::open("lo").unwrap_err().to_string();
            assert!(error.contains("not a tap interface"), "{error}");

            make(b"queues0", IFF_MULTI_QUEUE);
            let error = Tap::open("queues0").unwrap_err().to_string();
            assert!(error.contains("several queues"), "{error}");

            let device = OpenOptions::new().read(true).write(true).open(CLONE_DEVICE).unwrap();
            let error = Tap::inherit(device.as_raw_fd()).unwrap_err().to_string();
            assert!(error.contains("TUNSETIFF"), "{error}");
            let mut request =
                Request { flags: flags(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), ..Request::default() };
            // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, whose layout `Request` has.
            assert_eq!(unsafe { ioctl_with_mut_ref(&device, TUNSETIFF, &mut request) }, 0);
            let error = Tap::inherit(device.as_raw_fd()).unwrap_err().to_string();
            assert!(error.contains("IFF_VNET_HDR"), "{error}");
        };
        std::thread::spawn(in_namespace).join().unwrap();
    }
}
