package initramfs

// A Set is a named list of modules. Names are modules or aliases; what is built into a kernel counts as there.
type Set struct {
	Name     string
	Required []string
	Optional []string
}

// Names are all names of the set.
func (s Set) Names() []string {
	return append(append([]string(nil), s.Required...), s.Optional...)
}

// The sets for tandem's own guests, made for distributions' cloud kernels, where each of these may be a module or
// built in. What such a kernel may lack is optional.
var (
	// GuestBoot is what a guest needs to see its devices at all.
	GuestBoot = Set{
		Name:     "guest-boot",
		Required: []string{"virtio_pci", "virtio_mmio"},
	}
	// GuestDevices are the drivers of the devices that tandem offers.
	GuestDevices = Set{
		Name:     "guest-devices",
		Required: []string{"virtio_blk"},
		Optional: []string{
			"virtio_rng", "virtio_net", "af_packet", "virtio_console", "virtio_balloon", "virtio_mem", "virtio_pmem",
			"vmw_vsock_virtio_transport", "vsock_diag", "virtiofs", "9pnet_virtio", "pvpanic_pci", "pvpanic_mmio",
		},
	}
	// GuestFilesystems are what images and layers are mounted with.
	GuestFilesystems = Set{
		Name:     "guest-filesystems",
		Required: []string{"ext4", "overlay"},
		Optional: []string{"erofs", "squashfs", "fuse", "9p", "loop"},
	}
	// GuestNet is what containers in the guest need of the network.
	GuestNet = Set{Name: "guest-net", Required: []string{"bridge", "veth"}, Optional: netOptional}
)

// The sets for the QEMU machine of package lab, made for a distribution's full kernel.
var (
	// LabBoot is what the lab needs to mount its root and to be spoken to.
	LabBoot = Set{
		Name:     "lab-boot",
		Required: []string{"virtio_pci", "9p", "9pnet_virtio", "overlay", "virtio_console"},
		Optional: []string{"virtio_rng", "virtio_net", "virtio_blk"},
	}
	// LabVirt is KVM and what the kernel offers to monitors.
	LabVirt = Set{
		Name:     "lab-virt",
		Required: []string{"kvm_amd", "vhost_net", "vhost_vsock", "tun"},
		Optional: []string{
			"kvm_intel", "macvtap", "ipvtap", "vduse", "vhost_vdpa", "virtio_vdpa", "vsock_loopback", "vsock_diag",
			"vmw_vsock_virtio_transport", "vfio_pci", "msr", "cpuid", "loop", "nbd", "ext4", "erofs", "squashfs", "fuse", "virtiofs",
		},
	}
	// LabNet is the network of containers and VMs.
	LabNet = Set{Name: "lab-net", Required: []string{"bridge", "veth", "nf_tables"}, Optional: netOptional}
)

// netOptional is what a container network may use: links, nftables with all that rule sets usually name, iptables'
// matches by way of nft_compat, queueing with BPF, and packet sockets.
var netOptional = []string{
	"af_packet", "af_packet_diag", "unix_diag", "inet_diag", "tcp_diag", "udp_diag", "netlink_diag",
	"tun", "tap", "macvlan", "ipvlan", "vxlan", "dummy", "ifb", "br_netfilter", "8021q", "vcan", "wireguard",
	"nf_tables", "nfnetlink", "nfnetlink_log", "nfnetlink_queue", "nf_conntrack", "nf_conntrack_netlink", "nf_nat",
	"nft_chain_nat", "nft_compat", "nft_connlimit", "nft_ct", "nft_dup_ipv4", "nft_dup_netdev", "nft_fib",
	"nft_fib_inet", "nft_fib_ipv4", "nft_fib_ipv6", "nft_flow_offload", "nft_fwd_netdev", "nft_hash", "nft_limit", "nft_log",
	"nft_masq", "nft_meta_bridge", "nft_nat", "nft_numgen", "nft_objref", "nft_queue", "nft_quota", "nft_redir",
	"nft_reject", "nft_reject_bridge", "nft_reject_inet", "nft_reject_ipv4", "nft_reject_ipv6", "nft_reject_netdev", "nft_socket", "nft_tproxy",
	"nf_conntrack_bridge", "nf_log_syslog",
	"xt_addrtype", "xt_comment", "xt_conntrack", "xt_mark", "xt_MASQUERADE", "xt_multiport", "xt_nat", "xt_statistic", "xt_tcpudp",
	"sch_ingress", "sch_fq", "sch_fq_codel", "sch_htb", "sch_netem", "sch_tbf", "cls_bpf", "cls_flower", "cls_matchall", "cls_u32", "act_bpf", "act_mirred",
}
