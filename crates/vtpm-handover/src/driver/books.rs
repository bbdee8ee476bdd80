//! A factory's books: which order was filled with which vTPM of its stock, and that it arrived.
//!
//! One file an order, `<request>.json`, written under another name, synced and renamed. An order
//! gets its vTPM before anything is sent, and keeps it: however often the order is repeated, and
//! wherever its delivery was interrupted, there is one vTPM that it is filled with, and that one
//! moves by a handover, which ends with exactly one live.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::{HostId, InstanceId, RequestId};

/// The longest file of an order that is read, in bytes.
const ENTRY_MAX: u64 = 4096;

/// The books of one factory. They are locked as long as this lives.
#[derive(Debug)]
pub struct Books {
    directory: PathBuf,
    _lock: File,
}

/// What the books say of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The order.
    pub request: RequestId,
    /// The vTPM that it is filled with, for good.
    pub instance: InstanceId,
    /// Where it arrived; none as long as it may still be under way.
    pub delivered: Option<HostId>,
}

/// Why the books cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BooksError {
    /// The system refused.
    #[error("cannot {action} {}: {cause}; check the directory of the books", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// Another process works with them.
    #[error("the books in {} are in use; one delivery at a time", .0.display())]
    InUse(PathBuf),
    /// A file is not one of the books.
    #[error("{} cannot be read: {cause}; restore it, do not remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// All vTPMs of the stock are given to orders.
    #[error("the stock is used up; make more with `vtpm provision stock`")]
    NoStock,
    /// An order that was delivered to one host is asked for by another.
    #[error("order {request} was delivered to host {there} already; use a new id for a new vTPM")]
    Elsewhere {
        /// The order.
        request: RequestId,
        /// Where its vTPM is.
        there: HostId,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: u16,
    instance: String,
    delivered: Option<String>,
}

impl Books {
    /// Opens the books in a directory, which is made if need be.
    ///
    /// # Errors
    /// [`BooksError::InUse`], [`BooksError::Io`].
    pub fn open(directory: &Path) -> Result<Self, BooksError> {
        let failed =
            |action, path: &Path, cause| BooksError::Io { action, path: path.into(), cause };
        fs::create_dir_all(directory).map_err(|cause| failed("make", directory, cause))?;
        let path = directory.join("lock");
        let lock = File::create(&path).map_err(|cause| failed("open", &path, cause))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.into(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(BooksError::InUse(directory.into())),
            Err(fs::TryLockError::Error(cause)) => Err(failed("lock", &path, cause)),
        }
    }

    /// The entry of an order; a new order is given a vTPM of `stock` that no order has, durably.
    ///
    /// # Errors
    /// [`BooksError::NoStock`], [`BooksError::Damaged`], [`BooksError::Io`].
    pub fn order(
        &self,
        request: RequestId,
        stock: impl IntoIterator<Item = InstanceId>,
    ) -> Result<Order, BooksError> {
        if let Some(order) = self.find(request)? {
            return Ok(order);
        }
        let given: BTreeSet<_> = self.all()?.into_iter().map(|order| order.instance).collect();
        let instance = stock.into_iter().find(|instance| !given.contains(instance));
        let instance = instance.ok_or(BooksError::NoStock)?;
        let order = Order { request, instance, delivered: None };
        self.write(&order)?;
        Ok(order)
    }

    /// Records that an order's vTPM lives at `host`.
    ///
    /// # Errors
    /// [`BooksError::Elsewhere`], [`BooksError::Io`].
    pub fn delivered(&self, order: &Order, host: HostId) -> Result<(), BooksError> {
        match order.delivered {
            Some(there) if there == host => Ok(()),
            Some(there) => Err(BooksError::Elsewhere { request: order.request, there }),
            None => self.write(&Order { delivered: Some(host), ..*order }),
        }
    }

    /// All orders, by their names.
    ///
    /// # Errors
    /// [`BooksError::Damaged`], [`BooksError::Io`].
    pub fn all(&self) -> Result<Vec<Order>, BooksError> {
        let failed = |cause| BooksError::Io { action: "read", path: self.directory.clone(), cause };
        let mut orders = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let request = name.parse().map_err(|_| damaged(&path, "its name is no id"))?;
            orders.extend(self.find(request)?);
        }
        orders.sort_by_key(|order: &Order| order.request);
        Ok(orders)
    }

    /// The entry of an order, if there is one.
    ///
    /// # Errors
    /// [`BooksError::Damaged`], [`BooksError::Io`].
    pub fn find(&self, request: RequestId) -> Result<Option<Order>, BooksError> {
        let path = self.path(request);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(BooksError::Io { action: "open", path, cause }),
            Ok(file) => file,
        };
        let entry: Entry = serde_json::from_reader(io::Read::take(file, ENTRY_MAX))
            .map_err(|error| damaged(&path, &error.to_string()))?;
        if entry.version != 1 {
            return Err(damaged(&path, "a later release wrote it"));
        }
        let instance = entry.instance.parse();
        let delivered = entry.delivered.map(|host| host.parse()).transpose();
        match (instance, delivered) {
            (Ok(instance), Ok(delivered)) => Ok(Some(Order { request, instance, delivered })),
            _ => Err(damaged(&path, "it holds no id where one should be")),
        }
    }

    fn write(&self, order: &Order) -> Result<(), BooksError> {
        let path = self.path(order.request);
        let entry = Entry {
            version: 1,
            instance: order.instance.to_string(),
            delivered: order.delivered.map(|host| host.to_string()),
        };
        let write = || -> io::Result<()> {
            let fresh = self.directory.join("fresh");
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec(&entry)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|cause| BooksError::Io { action: "write", path: path.clone(), cause })
    }

    fn path(&self, request: RequestId) -> PathBuf {
        self.directory.join(format!("{request}.json"))
    }
}

fn damaged(path: &Path, cause: &str) -> BooksError {
    BooksError::Damaged { path: path.into(), cause: cause.into() }
}
