//! Names of helpers, for listings and the text form.
//!
//! Source: uapi `linux/bpf.h`; the rows are the helpers that an sk_lookup program may call on Linux 6.18, some of them
//! only with CAP_PERFMON, and those of their own that sk_reuseport programs have.

/// The kernel's name of a helper; `None` if no sk_lookup or sk_reuseport program may call it.
pub fn helper_name(number: u32) -> Option<&'static str> {
    let row = HELPERS.binary_search_by_key(&number, |row| row.0).ok()?;
    Some(HELPERS[row].1)
}

/// The number of the helper of this name, which starts with `bpf_`.
pub fn helper_number(name: &str) -> Option<u32> {
    HELPERS.iter().find(|row| row.1 == name).map(|row| row.0)
}

/// Number and name, by number.
const HELPERS: [(u32, &str); 89] = [
    (1, "bpf_map_lookup_elem"),
    (2, "bpf_map_update_elem"),
    (3, "bpf_map_delete_elem"),
    (5, "bpf_ktime_get_ns"),
    (6, "bpf_trace_printk"),
    (7, "bpf_get_prandom_u32"),
    (8, "bpf_get_smp_processor_id"),
    (12, "bpf_tail_call"),
    (14, "bpf_get_current_pid_tgid"),
    (15, "bpf_get_current_uid_gid"),
    (16, "bpf_get_current_comm"),
    (17, "bpf_get_cgroup_classid"),
    (22, "bpf_perf_event_read"),
    (25, "bpf_perf_event_output"),
    (26, "bpf_skb_load_bytes"),
    (35, "bpf_get_current_task"),
    (37, "bpf_current_task_under_cgroup"),
    (42, "bpf_get_numa_node_id"),
    (46, "bpf_get_socket_cookie"),
    (55, "bpf_perf_event_read_value"),
    (68, "bpf_skb_load_bytes_relative"),
    (80, "bpf_get_current_cgroup_id"),
    (82, "bpf_sk_select_reuseport"),
    (86, "bpf_sk_release"),
    (87, "bpf_map_push_elem"),
    (88, "bpf_map_pop_elem"),
    (89, "bpf_map_peek_elem"),
    (93, "bpf_spin_lock"),
    (94, "bpf_spin_unlock"),
    (105, "bpf_strtol"),
    (106, "bpf_strtoul"),
    (109, "bpf_send_signal"),
    (112, "bpf_probe_read_user"),
    (113, "bpf_probe_read_kernel"),
    (114, "bpf_probe_read_user_str"),
    (115, "bpf_probe_read_kernel_str"),
    (117, "bpf_send_signal_thread"),
    (118, "bpf_jiffies64"),
    (120, "bpf_get_ns_current_pid_tgid"),
    (123, "bpf_get_current_ancestor_cgroup_id"),
    (124, "bpf_sk_assign"),
    (125, "bpf_ktime_get_boot_ns"),
    (130, "bpf_ringbuf_output"),
    (131, "bpf_ringbuf_reserve"),
    (132, "bpf_ringbuf_submit"),
    (133, "bpf_ringbuf_discard"),
    (134, "bpf_ringbuf_query"),
    (136, "bpf_skc_to_tcp6_sock"),
    (137, "bpf_skc_to_tcp_sock"),
    (138, "bpf_skc_to_tcp_timewait_sock"),
    (139, "bpf_skc_to_tcp_request_sock"),
    (140, "bpf_skc_to_udp6_sock"),
    (141, "bpf_get_task_stack"),
    (148, "bpf_copy_from_user"),
    (149, "bpf_snprintf_btf"),
    (153, "bpf_per_cpu_ptr"),
    (154, "bpf_this_cpu_ptr"),
    (156, "bpf_task_storage_get"),
    (157, "bpf_task_storage_delete"),
    (158, "bpf_get_current_task_btf"),
    (160, "bpf_ktime_get_coarse_ns"),
    (164, "bpf_for_each_map_elem"),
    (165, "bpf_snprintf"),
    (169, "bpf_timer_init"),
    (170, "bpf_timer_set_callback"),
    (171, "bpf_timer_start"),
    (172, "bpf_timer_cancel"),
    (175, "bpf_task_pt_regs"),
    (176, "bpf_get_branch_snapshot"),
    (177, "bpf_trace_vprintk"),
    (178, "bpf_skc_to_unix_sock"),
    (180, "bpf_find_vma"),
    (181, "bpf_loop"),
    (182, "bpf_strncmp"),
    (191, "bpf_copy_from_user_task"),
    (194, "bpf_kptr_xchg"),
    (195, "bpf_map_lookup_percpu_elem"),
    (196, "bpf_skc_to_mptcp_sock"),
    (197, "bpf_dynptr_from_mem"),
    (198, "bpf_ringbuf_reserve_dynptr"),
    (199, "bpf_ringbuf_submit_dynptr"),
    (200, "bpf_ringbuf_discard_dynptr"),
    (201, "bpf_dynptr_read"),
    (202, "bpf_dynptr_write"),
    (203, "bpf_dynptr_data"),
    (208, "bpf_ktime_get_tai_ns"),
    (209, "bpf_user_ringbuf_drain"),
    (210, "bpf_cgrp_storage_get"),
    (211, "bpf_cgrp_storage_delete"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::helper;

    #[test]
    fn rows_are_sorted_by_number_so_that_they_can_be_found() {
        assert!(HELPERS.is_sorted_by(|a, b| a.0 < b.0));
        for (number, name) in HELPERS {
            assert_eq!(helper_name(number), Some(name));
            assert_eq!(helper_number(name), Some(number));
        }
    }

    #[test]
    fn the_helpers_of_the_abi_bear_their_names() {
        assert_eq!(helper_name(helper::MAP_LOOKUP_ELEM), Some("bpf_map_lookup_elem"));
        assert_eq!(helper_name(helper::GET_SMP_PROCESSOR_ID), Some("bpf_get_smp_processor_id"));
        assert_eq!(helper_name(helper::SK_RELEASE), Some("bpf_sk_release"));
        assert_eq!(helper_name(helper::SK_ASSIGN), Some("bpf_sk_assign"));
        assert_eq!(helper_name(helper::MAP_UPDATE_ELEM), Some("bpf_map_update_elem"));
        assert_eq!(helper_name(helper::MAP_DELETE_ELEM), Some("bpf_map_delete_elem"));
        assert_eq!(helper_name(helper::KTIME_GET_NS), Some("bpf_ktime_get_ns"));
        assert_eq!(helper_name(helper::GET_PRANDOM_U32), Some("bpf_get_prandom_u32"));
        assert_eq!(helper_name(helper::TAIL_CALL), Some("bpf_tail_call"));
        assert_eq!(helper_name(helper::GET_NUMA_NODE_ID), Some("bpf_get_numa_node_id"));
        assert_eq!(helper_name(helper::JIFFIES64), Some("bpf_jiffies64"));
        assert_eq!(helper_name(helper::KTIME_GET_BOOT_NS), Some("bpf_ktime_get_boot_ns"));
        assert_eq!(helper_name(helper::KTIME_GET_COARSE_NS), Some("bpf_ktime_get_coarse_ns"));
        assert_eq!(helper_name(helper::KTIME_GET_TAI_NS), Some("bpf_ktime_get_tai_ns"));
        assert_eq!(helper_name(helper::SK_SELECT_REUSEPORT), Some("bpf_sk_select_reuseport"));
        assert_eq!(helper_name(0), None);
    }
}
