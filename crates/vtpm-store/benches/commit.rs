//! What a commit costs: the cryptography alone (in memory), and with the disk's sync.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vtpm_store::medium::Memory;
use vtpm_store::source::Plain;
use vtpm_store::{Birth, Expect, InstanceId, Place, SealedKey, Store};

const ID: InstanceId = InstanceId([1; 16]);
const STATE: usize = 10 * 1024;

fn store(place: &Place) -> Store {
    let key = SealedKey::new(&Plain::unencrypted(), &ID).expect("a key");
    Store::create(place, Birth::active(ID, 0), key, &[0; STATE], &[]).expect("a new file")
}

fn commits(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut group = criterion.benchmark_group("commit 10 KiB");
    group.throughput(Throughput::Bytes(STATE as u64));
    let places = [
        ("in memory", Place::on(Arc::new(Memory::new()), "bench.vtpm")),
        ("on disk, synced", Place::at(dir.path().join("bench.vtpm"))),
    ];
    for (name, place) in places {
        let mut store = store(&place);
        let state = [7; STATE];
        group.bench_function(name, |bench| {
            bench.iter(|| store.commit(black_box(&state)).expect("a commit"));
        });
    }
    group.finish();
}

fn opening(criterion: &mut Criterion) {
    let place = Place::on(Arc::new(Memory::new()), "bench.vtpm");
    drop(store(&place));
    criterion.bench_function("open 10 KiB in memory", |bench| {
        bench.iter(|| {
            let expect = Expect::instance(ID);
            Store::open(black_box(&place), &Plain::unencrypted(), &expect).expect("it opens")
        });
    });
}

criterion_group!(benches, commits, opening);
criterion_main!(benches);
