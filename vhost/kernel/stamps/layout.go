package stamps

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// layout is where the kernel at hand keeps the members that programs read.
type layout struct {
	// struct vhost_virtqueue
	pollWork, avail, availIdx, lastAvail, lastUsed, num, heads, callCtx int32
	// struct vhost_net_virtqueue, which begins with the one above
	doneIdx, sockHeader int32
	rings, ringSize     int32 // struct vhost_net.vqs, and the size of one
	// struct tun_msg_ctl
	msgType, msgNum, msgPtr int32
	// struct msghdr, struct xdp_buff
	msgControl, xdpData, xdpEnd, xdpSize int32
	// struct task_struct, struct mm_struct
	taskMM, taskTgid, taskPid, taskComm, mmOwner int32
	// struct sk_buff, struct net_device
	skbDev, skbLen, devIfindex int32
}

// members looks places up, and keeps the first error.
type members struct {
	spec *btf.Spec
	err  error
}

// at is the offset of a path such as "vhost_virtqueue.poll.work".
func (m *members) at(path string) int32 {
	if m.err != nil {
		return 0
	}
	words := strings.Split(path, ".")
	whole, err := m.structure(words[0])
	if err != nil {
		m.err = err
		return 0
	}
	var t btf.Type = whole
	var at uint32
	for _, name := range words[1:] {
		member, offset, ok := find(t, name)
		if !ok {
			m.err = fmt.Errorf("stamps: %s: no such member in this kernel", path)
			return 0
		}
		at, t = at+offset, btf.UnderlyingType(member)
	}
	return int32(at)
}

func (m *members) size(name string) int32 {
	if m.err != nil {
		return 0
	}
	t, err := m.structure(name)
	if err != nil {
		m.err = err
		return 0
	}
	return int32(t.Size)
}

func (m *members) structure(name string) (*btf.Struct, error) {
	var t *btf.Struct
	if err := m.spec.TypeByName(name, &t); err != nil {
		return nil, fmt.Errorf("stamps: struct %s: %w", name, err)
	}
	return t, nil
}

// find looks for a member, also in those without a name.
func find(t btf.Type, name string) (member btf.Type, offset uint32, ok bool) {
	var list []btf.Member
	switch t := t.(type) {
	case *btf.Struct:
		list = t.Members
	case *btf.Union:
		list = t.Members
	}
	for _, m := range list {
		if m.Name == name {
			return m.Type, m.Offset.Bytes(), true
		}
		if m.Name == "" {
			if inner, at, ok := find(btf.UnderlyingType(m.Type), name); ok {
				return inner, m.Offset.Bytes() + at, true
			}
		}
	}
	return nil, 0, false
}

// common finds what all programs need, of the kernel proper.
func (l *layout) common(kernel *btf.Spec) error {
	m := members{spec: kernel}
	l.taskMM, l.taskTgid, l.taskPid = m.at("task_struct.mm"), m.at("task_struct.tgid"), m.at("task_struct.pid")
	l.taskComm, l.mmOwner = m.at("task_struct.comm"), m.at("mm_struct.owner")
	l.skbDev, l.skbLen, l.devIfindex = m.at("sk_buff.dev"), m.at("sk_buff.len"), m.at("net_device.ifindex")
	l.msgControl = m.at("msghdr.msg_control")
	l.xdpData, l.xdpEnd, l.xdpSize = m.at("xdp_buff.data"), m.at("xdp_buff.data_end"), m.size("xdp_buff")
	return m.err
}

// modules finds what is vhost-net's and the tap's.
func (l *layout) modules(types *btf.Cache) error {
	net, err := types.Module("vhost_net")
	if err != nil {
		return fmt.Errorf("stamps: types of vhost_net: %w", err)
	}
	m := members{spec: net}
	l.pollWork, l.avail = m.at("vhost_virtqueue.poll.work"), m.at("vhost_virtqueue.avail")
	l.availIdx, l.lastAvail = m.at("vhost_virtqueue.avail_idx"), m.at("vhost_virtqueue.last_avail_idx")
	l.lastUsed, l.num = m.at("vhost_virtqueue.last_used_idx"), m.at("vhost_virtqueue.num")
	l.heads, l.callCtx = m.at("vhost_virtqueue.heads"), m.at("vhost_virtqueue.call_ctx.ctx")
	l.doneIdx, l.sockHeader = m.at("vhost_net_virtqueue.done_idx"), m.at("vhost_net_virtqueue.sock_hlen")
	l.rings, l.ringSize = m.at("vhost_net.vqs"), m.size("vhost_net_virtqueue")
	l.msgType, l.msgNum, l.msgPtr = m.at("tun_msg_ctl.type"), m.at("tun_msg_ctl.num"), m.at("tun_msg_ctl.ptr")
	return m.err
}
