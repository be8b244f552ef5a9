//! Maps and sockmaps.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use rustix::net::sockopt::socket_cookie;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sklookup_bpf::{Contents, MapSpec, MapType};
use sklookup_kernel::{Errno, Map, Program, Sockmap, possible_cpus};
use sklookup_testbed::{Sandbox, Trial, kernel_trial, plain_trial};

use crate::samples::{count_by_port, select_through_array, to_port};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("maps::a_table_holds_what_it_was_made_with_and_is_frozen", table_is_frozen),
        kernel_trial("maps::a_table_of_64_mib_is_filled_in_one_call", big_table),
        kernel_trial("maps::contents_of_another_length_are_refused", wrong_contents),
        kernel_trial("maps::counters_are_summed_over_cpus", counters),
        kernel_trial("maps::several_counters_in_a_value_are_summed_apart_beyond_one_batch", counters_in_pages),
        kernel_trial("maps::counters_are_read_from_per_cpu_arrays_only", counters_of_other_maps),
        kernel_trial("maps::names_are_cleaned_for_the_kernel", names),
        kernel_trial("maps::a_socket_is_in_its_slot_until_it_closes", sockets_come_and_go),
        kernel_trial("maps::a_socket_that_cannot_be_selected_is_refused", unsuitable_sockets),
        kernel_trial("maps::only_readable_sockmaps_are_sockmaps", not_sockmaps),
        kernel_trial("maps::an_array_of_sockmaps_is_filled_by_batch_and_selects", array_of_sockmaps),
        kernel_trial("maps::an_array_of_maps_takes_no_more_and_no_others_than_fit", array_of_maps_refusals),
        kernel_trial("maps::keys_come_and_go_as_their_flags_say", keys_and_flags),
        kernel_trial("maps::keys_and_values_of_another_length_are_refused", wrong_lengths),
        plain_trial("maps::this_machine_has_a_cpu", || assert!(possible_cpus().unwrap() >= 1)),
    ]
}

fn table_is_frozen(_: &Sandbox) {
    let bytes: Vec<u8> = (0..=255).collect();
    let map = Map::create(&MapSpec::table("table", bytes.clone())).unwrap();
    assert_eq!(map.value().unwrap(), bytes);
    assert_eq!(map.set_value(&bytes).unwrap_err().errno(), Errno::PERM);
    assert_eq!(map.freeze().unwrap_err().errno(), Errno::PERM, "frozen twice");
    assert!(map.info().is(MapType::Array));
    assert_eq!((map.info().key_size, map.info().value_size, map.info().max_entries), (4, 256, 1));
}

fn big_table(_: &Sandbox) {
    const SIZE: usize = 64 << 20;
    let mut bytes = vec![0; SIZE];
    bytes[0] = 1;
    bytes[SIZE - 1] = 2;
    let map = Map::create(&MapSpec::table("big", bytes.clone())).unwrap();
    // Not assert_eq: nobody wants 64 MiB of output.
    assert!(map.value().unwrap() == bytes);
}

fn wrong_contents(_: &Sandbox) {
    let short = MapSpec { contents: Contents::Value(vec![1; 3]), ..MapSpec::new("short", MapType::Array, 4, 8, 1) };
    let error = Map::create(&short).unwrap_err();
    assert_eq!(error.to_string(), "write map `short` of 8-byte values with 3 bytes: invalid argument (EINVAL)");
    let several = MapSpec { contents: Contents::Value(vec![1; 8]), ..MapSpec::new("several", MapType::Array, 4, 8, 2) };
    assert_eq!(Map::create(&several).unwrap_err().errno(), Errno::INVAL);
}

fn counters(_: &Sandbox) {
    const COUNTERS: u32 = 5000;
    let map = Map::create(&MapSpec::new("counters", MapType::PercpuArray, 4, 8, COUNTERS)).unwrap();
    let cpus = count_on_every_cpu(&map, 4999);
    let values = map.values_percpu(COUNTERS).unwrap();
    assert_eq!(values.len(), 5000);
    assert_eq!((values[3], values[4999]), (10 * cpus, cpus));
    assert_eq!(values.iter().sum::<u64>(), 11 * cpus);
    // Fewer than there are.
    assert_eq!(map.values_percpu(4).unwrap(), [0, 0, 0, 10 * cpus]);
    assert_eq!(map.values_percpu(0).unwrap(), []);
    assert_eq!(map.values_percpu(5001).unwrap_err().errno(), Errno::INVAL);
}

fn counters_in_pages(_: &Sandbox) {
    // More than the 4 MiB of one batch call, whose first counters are those that the program counts.
    const PAGES: u32 = 1200;
    let map = Map::create(&MapSpec::new("pages", MapType::PercpuArray, 4, 4096, PAGES)).unwrap();
    let cpus = count_on_every_cpu(&map, 1199);
    let values = map.values_percpu(PAGES * 512).unwrap();
    assert_eq!((values[3 * 512], values[1199 * 512]), (10 * cpus, cpus));
    assert_eq!(values.iter().sum::<u64>(), 11 * cpus);
    assert_eq!(map.values_percpu(3 * 512 + 1).unwrap().last(), Some(&(10 * cpus)));
    assert_eq!(map.values_percpu(PAGES * 512 + 1).unwrap_err().errno(), Errno::INVAL);
}

/// Counts ten packets to port 3 and one to another, in the first counter of these values; returns on how many CPUs.
fn count_on_every_cpu(map: &Map, port: u16) -> u64 {
    let program = Program::load(&count_by_port(), &[map.as_fd()]).unwrap();
    let mut cpus = 0;
    let allowed = sched_getaffinity(None).unwrap();
    for cpu in (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)) {
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(None, &one).unwrap();
        program.test_run(&to_port(3), 10).unwrap();
        program.test_run(&to_port(port), 1).unwrap();
        cpus += 1;
    }
    cpus
}

fn counters_of_other_maps(_: &Sandbox) {
    let array = Map::create(&MapSpec::new("array", MapType::Array, 4, 8, 1)).unwrap();
    let odd = Map::create(&MapSpec::new("odd", MapType::PercpuArray, 4, 12, 1)).unwrap();
    for map in [array, odd] {
        assert_eq!(map.values_percpu(1).unwrap_err().errno(), Errno::INVAL, "{map:?}");
    }
}

fn names(_: &Sandbox) {
    let map = Map::create(&MapSpec::new("label web/80 of someone", MapType::Array, 4, 8, 1)).unwrap();
    assert_eq!(map.info().name, "label_web_80_of");
}

fn sockets_come_and_go(_: &Sandbox) {
    let map = Sockmap::create("web", 2).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    map.put(1, listener.as_fd()).unwrap();
    assert_eq!(map.cookie(1).unwrap(), Some(socket_cookie(&listener).unwrap()));
    assert_eq!(map.cookie(0).unwrap(), None);

    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    map.put(1, other.as_fd()).unwrap();
    assert_eq!(map.cookie(1).unwrap(), Some(socket_cookie(&other).unwrap()), "replaced");
    assert!(map.remove(1).unwrap());
    assert!(!map.remove(1).unwrap(), "empty by now");

    map.put(0, listener.as_fd()).unwrap();
    drop(listener);
    assert_eq!(map.cookie(0).unwrap(), None);

    assert_eq!(map.put(2, other.as_fd()).unwrap_err().errno(), Errno::TOOBIG);
    assert_eq!(map.remove(2).unwrap_err().errno(), Errno::TOOBIG);
    assert_eq!(map.cookie(2).unwrap(), None);
}

fn unsuitable_sockets(_: &Sandbox) {
    let map = Sockmap::create("web", 1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // A connected socket goes in: it is the program that can't select it.
    map.put(0, client.as_fd()).unwrap();
    let unbound = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    assert_eq!(map.put(0, unbound.as_fd()).unwrap_err().errno(), Errno::OPNOTSUPP);
    let file = std::fs::File::open("/proc/self/status").unwrap();
    assert_eq!(map.put(0, file.as_fd()).unwrap_err().errno(), Errno::NOTSOCK);
    assert_eq!(map.cookie(0).unwrap(), Some(socket_cookie(&client).unwrap()), "a refused socket changes nothing");
}

fn not_sockmaps(_: &Sandbox) {
    for spec in [MapSpec::new("array", MapType::Array, 4, 8, 1), MapSpec::new("narrow", MapType::Sockmap, 4, 4, 1)] {
        let error = Sockmap::try_from(Map::create(&spec).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("inspect `{}`, which is not a sockmap of 8-byte values: invalid argument (EINVAL)", spec.name)
        );
    }
}

fn array_of_sockmaps(_: &Sandbox) {
    let listeners: Vec<TcpListener> = (0..50).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    // Inner maps may differ from the template in size.
    let labels: Vec<Sockmap> = (1..).map(|slots| Sockmap::create("label", slots).unwrap()).take(50).collect();
    for (label, listener) in labels.iter().zip(&listeners) {
        label.put(0, listener.as_fd()).unwrap();
    }
    // More than one batch: the same 50 over and over.
    const ENTRIES: u32 = 5000;
    let array = Map::create(&array_of(ENTRIES)).unwrap();
    let fds: Vec<_> = labels.iter().map(AsFd::as_fd).cycle().take(ENTRIES as usize).collect();
    array.fill_maps(&fds).unwrap();

    let program = Program::load(&select_through_array(), &[array.as_fd()]).unwrap();
    let selected = |port| program.test_run(&to_port(port), 1).unwrap().cookie;
    for port in [0, 49, 50, 4095, 4096, 4999] {
        assert_eq!(selected(port), Some(socket_cookie(&listeners[usize::from(port) % 50]).unwrap()), "index {port}");
    }
    assert_eq!(selected(5000), None);

    array.fill_maps_from(4998, &[labels[7].as_fd()]).unwrap();
    assert_eq!(selected(4998), Some(socket_cookie(&listeners[7]).unwrap()));
    assert_eq!(selected(4999), Some(socket_cookie(&listeners[49]).unwrap()), "the others stay");
}

fn array_of_maps_refusals(_: &Sandbox) {
    let array = Map::create(&array_of(2)).unwrap();
    let label = Sockmap::create("label", 1).unwrap();
    let fd = label.as_fd();
    assert_eq!(array.fill_maps(&[fd, fd, fd]).unwrap_err().errno(), Errno::TOOBIG);
    assert_eq!(array.fill_maps_from(3, &[fd]).unwrap_err().errno(), Errno::TOOBIG);
    let narrow = Map::create(&MapSpec::new("narrow", MapType::Sockmap, 4, 4, 1)).unwrap();
    let error = array.fill_maps(&[fd, narrow.as_fd()]).unwrap_err();
    assert_eq!(error.to_string(), "write map `labels` at index 1: invalid argument (EINVAL)");
    assert_eq!(label.map().fill_maps(&[fd]).unwrap_err().errno(), Errno::INVAL, "not an array of maps");
    array.freeze().unwrap();
    let error = array.fill_maps(&[fd]).unwrap_err();
    assert_eq!(error.to_string(), "write map `labels`: operation not permitted (EPERM)");
}

fn array_of(entries: u32) -> MapSpec {
    MapSpec {
        inner: Some(Box::new(Sockmap::spec("label", 4))),
        ..MapSpec::new("labels", MapType::ArrayOfMaps, 4, 4, entries)
    }
}

fn keys_and_flags(_: &Sandbox) {
    const NOEXIST: u64 = 1;
    const EXIST: u64 = 2;
    let map = Map::create(&MapSpec::new("hash", MapType::Hash, 2, 1, 2)).unwrap();
    let refused = |answer: Result<(), sklookup_kernel::Error>| answer.unwrap_err().errno();
    assert_eq!(refused(map.update(b"ab", b"1", EXIST)), Errno::NOENT);
    map.update(b"ab", b"1", NOEXIST).unwrap();
    assert_eq!(refused(map.update(b"ab", b"2", NOEXIST)), Errno::EXIST);
    assert_eq!(map.lookup(b"ab", 0).unwrap(), b"1");
    assert_eq!(map.next_key(None).unwrap(), b"ab");
    assert_eq!(map.next_key(Some(b"ab")).unwrap_err().errno(), Errno::NOENT);
    map.delete(b"ab").unwrap();
    assert_eq!(refused(map.delete(b"ab")), Errno::NOENT);
    assert_eq!(map.lookup(b"ab", 0).unwrap_err().errno(), Errno::NOENT);
}

fn wrong_lengths(_: &Sandbox) {
    let map = Map::create(&MapSpec::new("hash", MapType::Hash, 2, 1, 2)).unwrap();
    let told = map.update(b"a", b"1", 0).unwrap_err().to_string();
    assert_eq!(told, "write map `hash`, which is not a map of 1-byte keys: invalid argument (EINVAL)");
    assert_eq!(map.update(b"ab", b"12", 0).unwrap_err().errno(), Errno::INVAL);
    assert_eq!(map.lookup(b"abc", 0).unwrap_err().errno(), Errno::INVAL);
    assert_eq!(map.delete(b"").unwrap_err().errno(), Errno::INVAL);
    assert_eq!(map.next_key(Some(b"a")).unwrap_err().errno(), Errno::INVAL);
    // It has as many values under a key as there are CPUs, each from a multiple of 8 bytes on.
    let percpu = Map::create(&MapSpec::new("percpu", MapType::PercpuArray, 4, 12, 1)).unwrap();
    let values = vec![7; 16 * possible_cpus().unwrap() as usize];
    assert_eq!(percpu.update(&[0; 4], &values[4..], 0).unwrap_err().errno(), Errno::INVAL);
    percpu.update(&[0; 4], &values, 0).unwrap();
    assert_eq!(percpu.lookup(&[0; 4], 0).unwrap(), values);
}
