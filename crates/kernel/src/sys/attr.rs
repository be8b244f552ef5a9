//! The attribute blocks of bpf(2): what the kernel calls `union bpf_attr`, one struct per command.
//!
//! Every struct ends where the last field we use ends: the kernel takes what is missing for zero. No struct has padding
//! that the compiler could leave unset, because `IntoBytes` refuses to be derived for such a struct; the kernel would
//! read the garbage as fields. Addresses are `u64` and 0 for none.
//!
//! Source: uapi `linux/bpf.h`.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Length of an object's name, the closing zero included (`BPF_OBJ_NAME_LEN`).
pub(crate) const NAME_LEN: usize = 16;

macro_rules! layout {
    ($type:ty, size $size:literal $(, $field:ident @ $offset:literal)*) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(offset_of!($type, $field) == $offset);)*
        };
    };
}

/// `BPF_MAP_CREATE`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct MapCreate {
    pub(crate) kind: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) inner_map_fd: i32,
    pub(crate) numa_node: u32,
    pub(crate) name: [u8; NAME_LEN],
    pub(crate) ifindex: u32,
    pub(crate) btf_fd: i32,
    pub(crate) btf_key_type_id: u32,
    pub(crate) btf_value_type_id: u32,
}
layout!(MapCreate, size 60, flags @ 16, inner_map_fd @ 20, name @ 28, btf_fd @ 48, btf_value_type_id @ 56);

/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_UPDATE_ELEM`, `BPF_MAP_DELETE_ELEM`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct MapElem {
    pub(crate) map_fd: i32,
    pub(crate) zero: u32,
    pub(crate) key: u64,
    pub(crate) value: u64,
    pub(crate) flags: u64,
}
layout!(MapElem, size 32, key @ 8, value @ 16, flags @ 24);

/// `BPF_MAP_LOOKUP_BATCH`, `BPF_MAP_UPDATE_BATCH`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct MapBatch {
    pub(crate) in_batch: u64,
    pub(crate) out_batch: u64,
    pub(crate) keys: u64,
    pub(crate) values: u64,
    /// In: how many at most. Out: how many were done.
    pub(crate) count: u32,
    pub(crate) map_fd: i32,
    pub(crate) elem_flags: u64,
    pub(crate) flags: u64,
}
layout!(MapBatch, size 56, keys @ 16, values @ 24, count @ 32, map_fd @ 36);

/// `BPF_MAP_FREEZE`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct MapFreeze {
    pub(crate) map_fd: i32,
}
layout!(MapFreeze, size 4);

/// `BPF_PROG_LOAD`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct ProgLoad {
    pub(crate) kind: u32,
    /// In slots of 8 bytes.
    pub(crate) insn_cnt: u32,
    pub(crate) insns: u64,
    pub(crate) license: u64,
    pub(crate) log_level: u32,
    pub(crate) log_size: u32,
    pub(crate) log_buf: u64,
    pub(crate) kern_version: u32,
    pub(crate) flags: u32,
    pub(crate) name: [u8; NAME_LEN],
    pub(crate) ifindex: u32,
    pub(crate) expected_attach_type: u32,
    pub(crate) prog_btf_fd: i32,
    pub(crate) func_info_rec_size: u32,
    pub(crate) func_info: u64,
    pub(crate) func_info_cnt: u32,
    pub(crate) line_info_rec_size: u32,
    pub(crate) line_info: u64,
    pub(crate) line_info_cnt: u32,
    pub(crate) attach_btf_id: u32,
}
layout!(ProgLoad, size 112, license @ 16, log_buf @ 32, name @ 48, expected_attach_type @ 68, func_info @ 80,
    line_info @ 96, line_info_cnt @ 104);

/// `BPF_BTF_LOAD`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct BtfLoad {
    pub(crate) btf: u64,
    pub(crate) btf_log_buf: u64,
    pub(crate) btf_size: u32,
    pub(crate) btf_log_size: u32,
    pub(crate) btf_log_level: u32,
    pub(crate) zero: u32,
}
layout!(BtfLoad, size 32, btf_size @ 16, btf_log_level @ 24);

/// `BPF_OBJ_PIN`, `BPF_OBJ_GET`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct ObjPath {
    pub(crate) pathname: u64,
    pub(crate) bpf_fd: i32,
    pub(crate) file_flags: u32,
}
layout!(ObjPath, size 16, bpf_fd @ 8, file_flags @ 12);

/// `BPF_PROG_TEST_RUN`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct ProgTestRun {
    pub(crate) prog_fd: i32,
    /// Out.
    pub(crate) retval: u32,
    pub(crate) data_size_in: u32,
    pub(crate) data_size_out: u32,
    pub(crate) data_in: u64,
    pub(crate) data_out: u64,
    pub(crate) repeat: u32,
    /// Out: nanoseconds, the mean of all repetitions.
    pub(crate) duration: u32,
    pub(crate) ctx_size_in: u32,
    pub(crate) ctx_size_out: u32,
    pub(crate) ctx_in: u64,
    pub(crate) ctx_out: u64,
    pub(crate) flags: u32,
    pub(crate) cpu: u32,
    pub(crate) batch_size: u32,
    pub(crate) zero: u32,
}
layout!(ProgTestRun, size 80, repeat @ 32, duration @ 36, ctx_in @ 48, ctx_out @ 56, batch_size @ 72);

/// `BPF_PROG_GET_FD_BY_ID`, and the `*_GET_NEXT_ID`, for which `id` is the one to start after.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct ById {
    pub(crate) id: u32,
    pub(crate) next_id: u32,
    pub(crate) open_flags: u32,
}
layout!(ById, size 12);

/// `BPF_OBJ_GET_INFO_BY_FD`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct ObjInfo {
    pub(crate) bpf_fd: i32,
    pub(crate) info_len: u32,
    pub(crate) info: u64,
}
layout!(ObjInfo, size 16, info @ 8);

/// `BPF_PROG_QUERY`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct ProgQuery {
    pub(crate) target_fd: i32,
    pub(crate) attach_type: u32,
    pub(crate) query_flags: u32,
    pub(crate) attach_flags: u32,
    pub(crate) prog_ids: u64,
    /// In: how many fit. Out: how many there are.
    pub(crate) prog_cnt: u32,
    pub(crate) zero: u32,
}
layout!(ProgQuery, size 32, prog_ids @ 16, prog_cnt @ 24);

/// `BPF_LINK_CREATE`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct LinkCreate {
    pub(crate) prog_fd: i32,
    pub(crate) target_fd: i32,
    pub(crate) attach_type: u32,
    pub(crate) flags: u32,
}
layout!(LinkCreate, size 16, attach_type @ 8);

/// `BPF_LINK_UPDATE`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct LinkUpdate {
    pub(crate) link_fd: i32,
    pub(crate) new_prog_fd: i32,
    pub(crate) flags: u32,
    pub(crate) old_prog_fd: i32,
}
layout!(LinkUpdate, size 16, flags @ 8, old_prog_fd @ 12);

/// `BPF_LINK_DETACH`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct LinkDetach {
    pub(crate) link_fd: i32,
}
layout!(LinkDetach, size 4);

/// `BPF_PROG_BIND_MAP`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct ProgBindMap {
    pub(crate) prog_fd: i32,
    pub(crate) map_fd: i32,
    pub(crate) flags: u32,
}
layout!(ProgBindMap, size 12);

/// The first fields of `struct bpf_map_info`.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct MapInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) name: [u8; NAME_LEN],
}
layout!(MapInfo, size 40, name @ 24);

/// The first fields of `struct bpf_prog_info`, up to the run statistics.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct ProgInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) tag: [u8; 8],
    pub(crate) jited_prog_len: u32,
    pub(crate) xlated_prog_len: u32,
    pub(crate) jited_prog_insns: u64,
    pub(crate) xlated_prog_insns: u64,
    /// Nanoseconds since boot.
    pub(crate) load_time: u64,
    pub(crate) created_by_uid: u32,
    /// In: how many ids fit. Out: how many there are.
    pub(crate) nr_map_ids: u32,
    pub(crate) map_ids: u64,
    pub(crate) name: [u8; NAME_LEN],
    pub(crate) ifindex: u32,
    pub(crate) gpl_compatible: u32,
    pub(crate) netns_dev: u64,
    pub(crate) netns_ino: u64,
    pub(crate) nr_jited_ksyms: u32,
    pub(crate) nr_jited_func_lens: u32,
    pub(crate) jited_ksyms: u64,
    pub(crate) jited_func_lens: u64,
    pub(crate) btf_id: u32,
    pub(crate) func_info_rec_size: u32,
    pub(crate) func_info: u64,
    pub(crate) nr_func_info: u32,
    pub(crate) nr_line_info: u32,
    pub(crate) line_info: u64,
    pub(crate) jited_line_info: u64,
    pub(crate) nr_jited_line_info: u32,
    pub(crate) line_info_rec_size: u32,
    pub(crate) jited_line_info_rec_size: u32,
    pub(crate) nr_prog_tags: u32,
    pub(crate) prog_tags: u64,
    pub(crate) run_time_ns: u64,
    pub(crate) run_cnt: u64,
}
layout!(ProgInfo, size 208, load_time @ 40, map_ids @ 56, name @ 64, btf_id @ 128, run_time_ns @ 192, run_cnt @ 200);

/// The fields of `struct bpf_link_info` that a link on a network namespace has.
#[derive(Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct LinkInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) prog_id: u32,
    pub(crate) zero: u32,
    pub(crate) netns_ino: u32,
    pub(crate) attach_type: u32,
}
layout!(LinkInfo, size 24, prog_id @ 8, netns_ino @ 16, attach_type @ 20);
