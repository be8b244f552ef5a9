//! Links on network namespaces.

use std::os::fd::AsFd;

use sklookup_bpf::{MapSpec, MapType};
use sklookup_kernel::{Errno, Link, Map, Netns, bpffs};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::samples::{eventually, returning, without_rights};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("links::programs_are_listed_in_the_order_they_run", order),
        kernel_trial("links::a_list_that_is_too_short_is_filled_and_the_rest_counted", short_list),
        kernel_trial("links::an_update_keeps_the_place_and_wants_the_right_program", update),
        kernel_trial("links::a_detached_link_shows_inode_0_and_stays_dead", detach),
        kernel_trial("links::a_link_dies_with_its_namespace", namespace_dies),
        kernel_trial("links::closing_the_last_fd_detaches_unless_it_is_pinned", pin_keeps_it),
        kernel_trial("links::a_link_pinned_is_the_same_link_when_opened", reopened),
        kernel_trial("links::the_65th_program_is_one_too_many", too_many),
        kernel_trial("links::only_a_network_namespace_can_be_attached_to", not_a_netns),
    ]
}

fn order(sandbox: &Sandbox) {
    let netns = sandbox.netns.as_fd();
    assert_eq!(Link::query(netns).unwrap(), []);
    let programs = [returning(1), returning(1), returning(1)];
    let links: Vec<Link> = programs.iter().map(|program| Link::attach(program, netns).unwrap()).collect();
    assert_eq!(Link::query(netns).unwrap(), [programs[0].id(), programs[1].id(), programs[2].id()]);
    links[1].detach().unwrap();
    let _last = Link::attach(&programs[1], netns).unwrap();
    assert_eq!(Link::query(netns).unwrap(), [programs[0].id(), programs[2].id(), programs[1].id()]);
    assert_eq!(without_rights(|| Link::query(netns)).unwrap_err().errno(), Errno::PERM);
}

fn short_list(sandbox: &Sandbox) {
    let netns = sandbox.netns.as_fd();
    let programs = [returning(1), returning(1)];
    let _links: Vec<Link> = programs.iter().map(|program| Link::attach(program, netns).unwrap()).collect();
    let mut ids = [0];
    let (answer, attached) = Link::query_into(netns, &mut ids);
    assert_eq!(answer.unwrap_err().errno(), Errno::NOSPC);
    assert_eq!((ids, attached), ([programs[0].id()], 2));
    let (answer, attached) = Link::query_into(netns, &mut []);
    answer.unwrap();
    assert_eq!(attached, 2);
}

fn update(sandbox: &Sandbox) {
    let netns = sandbox.netns.as_fd();
    let (old, after, new, other) = (returning(1), returning(1), returning(1), returning(1));
    let link = Link::attach(&other, netns).unwrap();
    link.update_any(&old).unwrap();
    let _after = Link::attach(&after, netns).unwrap();
    assert_eq!(link.update(&new, &other).unwrap_err().errno(), Errno::PERM);
    assert_eq!(link.info().unwrap().program_id, old.id(), "a refused update changes nothing");
    link.update(&new, &old).unwrap();
    assert_eq!(Link::query(netns).unwrap(), [new.id(), after.id()]);
    let info = link.info().unwrap();
    assert_eq!((info.program_id, info.netns_inode, info.attach_type), (new.id(), sandbox.netns.inode(), 36));
    assert!(info.is_alive_on(sandbox.netns.inode()));
    assert!(!info.is_alive_on(sandbox.netns.inode() + 1));
}

fn detach(sandbox: &Sandbox) {
    let (program, other) = (returning(1), returning(1));
    let link = Link::attach(&program, sandbox.netns.as_fd()).unwrap();
    link.detach().unwrap();
    let info = link.info().unwrap();
    assert_eq!((info.netns_inode, info.program_id), (0, program.id()));
    assert!(!info.is_alive_on(0));
    assert_eq!(Link::query(sandbox.netns.as_fd()).unwrap(), []);
    link.detach().unwrap();
    assert_eq!(link.update(&other, &program).unwrap_err().errno(), Errno::NOLINK);
    assert_eq!(link.update(&other, &other).unwrap_err().errno(), Errno::PERM, "a dead link hides behind EPERM");
}

fn namespace_dies(_: &Sandbox) {
    let (program, other) = (returning(1), returning(1));
    let netns = Netns::new_private().unwrap();
    let link = Link::attach(&program, netns.as_fd()).unwrap();
    assert!(link.info().unwrap().is_alive_on(netns.inode()));
    drop(netns);
    // The kernel takes a namespace apart in its own time.
    eventually("the link notices", || link.info().unwrap().netns_inode == 0);
    assert_eq!(link.info().unwrap().program_id, program.id());
    assert_eq!(link.update(&other, &program).unwrap_err().errno(), Errno::NOLINK);
}

fn pin_keeps_it(sandbox: &Sandbox) {
    let netns = sandbox.netns.as_fd();
    let program = returning(1);
    drop(Link::attach(&program, netns).unwrap());
    assert_eq!(Link::query(netns).unwrap(), []);

    let path = sandbox.bpffs.join("link");
    let link = Link::attach(&program, netns).unwrap();
    link.pin(&path).unwrap();
    drop(link);
    assert_eq!(Link::query(netns).unwrap(), [program.id()]);
    // A pin lets go a little after its path is gone, so unlinking alone is no way to end a link.
    bpffs::unlink(&path).unwrap();
    eventually("the unpinned link is gone", || Link::query(netns).unwrap().is_empty());
}

fn reopened(sandbox: &Sandbox) {
    let (old, new) = (returning(1), returning(1));
    let path = sandbox.bpffs.join("link");
    let link = Link::attach(&old, sandbox.netns.as_fd()).unwrap();
    link.pin(&path).unwrap();
    let again = Link::open(&path).unwrap();
    again.update(&new, &old).unwrap();
    assert_eq!(link.info().unwrap(), again.info().unwrap());
    let error = again.update(&new, &old).unwrap_err();
    assert_eq!(error.to_string(), "update link /sys/fs/bpf/link: operation not permitted (EPERM)");
}

fn too_many(sandbox: &Sandbox) {
    let program = returning(1);
    let links: Vec<Link> = (0..64).map(|_| Link::attach(&program, sandbox.netns.as_fd()).unwrap()).collect();
    assert_eq!(Link::attach(&program, sandbox.netns.as_fd()).unwrap_err().errno(), Errno::TOOBIG);
    assert_eq!(Link::query(sandbox.netns.as_fd()).unwrap().len(), links.len());
}

fn not_a_netns(_: &Sandbox) {
    let program = returning(1);
    let mounts = std::fs::File::open("/proc/thread-self/ns/mnt").unwrap();
    let map = Map::create(&MapSpec::new("map", MapType::Array, 4, 8, 1)).unwrap();
    for fd in [mounts.as_fd(), map.as_fd()] {
        assert_eq!(Link::attach(&program, fd).unwrap_err().errno(), Errno::INVAL);
        assert_eq!(Link::query(fd).unwrap_err().errno(), Errno::INVAL);
    }
}
