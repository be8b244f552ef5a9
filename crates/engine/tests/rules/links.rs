//! Links: attaching, updating, detaching, listing.

use sklookup_bpf::ProgramType;
use sklookup_engine::{Errno, Link, Netns, Program};

use crate::programs::returning;
use crate::world::{CONTACTED, World, errno, refused, tcp, to};

const TCP: sklookup_engine::Protocol = sklookup_engine::Protocol::Tcp;

struct Three {
    world: World,
    programs: [Program; 3],
}

impl Three {
    fn new() -> Three {
        let world = World::new();
        let programs = [1, 1, 0].map(|verdict| world.program(&returning(verdict), &[]));
        Three { world, programs }
    }

    fn attach(&self, program: usize) -> Link {
        Link::attach(&self.programs[program], &self.world.netns).unwrap()
    }

    fn attached(&self) -> Vec<u32> {
        Link::query(&self.world.netns).unwrap()
    }

    fn ids(&self, programs: &[usize]) -> Vec<u32> {
        programs.iter().map(|program| self.programs[*program].id()).collect()
    }
}

#[test]
fn programs_run_and_are_listed_in_the_order_of_attachment() {
    let three = Three::new();
    let links = [0, 1, 2].map(|program| three.attach(program));
    assert_eq!(three.attached(), three.ids(&[0, 1, 2]));
    for (link, program) in links.iter().zip(&three.programs) {
        let info = link.info().unwrap();
        assert_eq!(
            (info.program_id, info.netns_inode, info.attach_type),
            (program.id(), three.world.netns.inode(), 36)
        );
    }
    links[0].detach().unwrap();
    let info = links[0].info().unwrap();
    assert_eq!((info.program_id, info.netns_inode), (three.programs[0].id(), 0));
    assert_eq!(three.attached(), three.ids(&[1, 2]));
    let _again = three.attach(0);
    assert_eq!(three.attached(), three.ids(&[1, 2, 0]));
}

#[test]
fn a_short_buffer_is_filled_and_the_number_told() {
    let three = Three::new();
    let _links = [0, 1, 2].map(|program| three.attach(program));
    let mut two = [7; 2];
    let (answer, attached) = Link::query_into(&three.world.netns, &mut two);
    assert_eq!((errno(answer), attached), (Errno::NOSPC, 3));
    assert_eq!(two.to_vec(), three.ids(&[0, 1]));
    let mut four = [7; 4];
    assert_eq!(Link::query_into(&three.world.netns, &mut four), (Ok(()), 3));
    assert_eq!((four[..3].to_vec(), four[3]), (three.ids(&[0, 1, 2]), 0));
    assert_eq!(Link::query_into(&three.world.netns, &mut []), (Ok(()), 3));
}

#[test]
fn a_namespace_has_64_programs_and_no_more() {
    let three = Three::new();
    let mut links: Vec<Link> = (0..64).map(|_| three.attach(0)).collect();
    assert_eq!(errno(Link::attach(&three.programs[0], &three.world.netns)), Errno::TOOBIG);
    assert_eq!(three.attached().len(), 64);
    assert_eq!(three.world.hook_calls(&tcp(CONTACTED)), 64);
    links.pop();
    three.attach(1);
}

#[test]
fn an_update_takes_effect_in_place() {
    let three = Three::new();
    let links = [0, 1].map(|program| three.attach(program));
    let listener = three.world.tcp(CONTACTED);
    assert_eq!(three.world.receive(&tcp(CONTACTED)), to(&listener));
    links[0].update(&three.programs[2], &three.programs[0]).unwrap();
    assert_eq!(three.attached(), three.ids(&[2, 1]));
    assert_eq!(three.world.receive(&tcp(CONTACTED)), refused(TCP));
    links[0].update_any(&three.programs[0]).unwrap();
    assert_eq!(three.world.receive(&tcp(CONTACTED)), to(&listener));
    links[0].update(&three.programs[0], &three.programs[0]).unwrap();
}

#[test]
fn an_update_of_a_dead_link_says_first_what_else_is_wrong() {
    let three = Three::new();
    let link = three.attach(0);
    let other_type = three.world.load(ProgramType::SkReuseport, &returning(1), &[]);
    let check = |dead: bool| {
        assert_eq!(errno(link.update(&three.programs[1], &three.programs[2])), Errno::PERM, "{dead}");
        assert_eq!(errno(link.update(&other_type, &three.programs[0])), Errno::INVAL, "{dead}");
    };
    check(false);
    link.detach().unwrap();
    check(true);
    assert_eq!(errno(link.update(&three.programs[1], &three.programs[0])), Errno::NOLINK);
    assert_eq!(errno(link.update_any(&three.programs[1])), Errno::NOLINK);
    link.detach().unwrap();
}

#[test]
fn a_link_that_is_dropped_is_detached() {
    let three = Three::new();
    let link = three.attach(2);
    assert_eq!(three.world.receive(&tcp(CONTACTED)), refused(TCP));
    drop(link);
    assert_eq!(three.attached(), []);
}

#[test]
fn links_outlive_their_namespace_and_do_nothing() {
    let three = Three::new();
    let netns = Netns::new_private(&three.world.machine);
    let socket = sklookup_engine::Socket::udp(&netns, crate::world::at("127.0.0.1:1")).unwrap();
    let link = Link::attach(&three.programs[0], &netns).unwrap();
    drop(netns);
    // An open socket keeps its namespace alive.
    assert_ne!(link.info().unwrap().netns_inode, 0);
    drop(socket);
    let info = link.info().unwrap();
    assert_eq!((info.program_id, info.netns_inode), (three.programs[0].id(), 0));
    assert_eq!(errno(link.update_any(&three.programs[1])), Errno::NOLINK);
    link.detach().unwrap();
}

#[test]
fn only_sk_lookup_programs_of_the_same_machine_are_attached() {
    let three = Three::new();
    let other_type = three.world.load(ProgramType::SkReuseport, &returning(1), &[]);
    assert_eq!(errno(Link::attach(&other_type, &three.world.netns)), Errno::INVAL);
    let elsewhere = World::new();
    assert_eq!(errno(Link::attach(&three.programs[0], &elsewhere.netns)), Errno::INVAL);
}

#[test]
fn programs_have_ids_of_their_own() {
    let three = Three::new();
    let ids = three.ids(&[0, 1, 2]);
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
}
