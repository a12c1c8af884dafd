package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tandem/vhost"
	"tandem/vhost/kernel"
	"tandem/virtio"
	"tandem/virtio/net"
)

// The rings of a device of the kernel's. linux/vhost.h.
const (
	receiveRing  = 0 // VHOST_NET_VQ_RX
	transmitRing = 1 // VHOST_NET_VQ_TX
)

var ringNames = []string{receiveRing: "receive", transmitRing: "transmit"}

// tell says all there is to say of memory and rings. After this the kernel reads what the driver writes, as soon as the rings
// have something to do it for.
func tell(dev *kernel.Device, g *guest) error {
	fmt.Printf("  VHOST_SET_OWNER: a thread %s\n", worker())
	features, err := dev.Features()
	if err != nil {
		return err
	}
	fmt.Printf("  VHOST_GET_FEATURES: %#x\n", features)
	const wanted = 1<<virtio.FeatureVersion1 | 1<<virtio.FeatureEventIdx | 1<<net.FeatureMergeable
	if err := dev.SetFeatures(wanted); err != nil {
		return err
	}
	fmt.Printf("  VHOST_SET_FEATURES: VERSION_1, EVENT_IDX, MRG_RXBUF\n")
	if err := dev.SetMemory(g.mem); err != nil {
		return err
	}
	fmt.Printf("  VHOST_SET_MEM_TABLE: guest 0 to %#x are at these addresses of this process\n", memorySize)
	for i, name := range ringNames {
		q := g.queues[i]
		addr := func(gpa uint64) uint64 { return vhost.Address(g.read(gpa, 1)) }
		for _, step := range []func() error{
			func() error { return dev.SetVringNum(i, ringSize) },
			func() error { return dev.SetVringBase(i, 0) },
			func() error {
				return dev.SetVringAddr(kernel.VringAddr{Index: uint32(i), Desc: addr(q.Desc), Avail: addr(q.Avail), Used: addr(q.Used)})
			},
			func() error { return dev.SetVringKick(i, q.kick.Fd()) },
			func() error { return dev.SetVringCall(i, q.call.Fd()) },
		} {
			if err := step(); err != nil {
				return err
			}
		}
		fmt.Printf("  VHOST_SET_VRING_NUM, _BASE, _ADDR %s: %d entries, from 0 on, tables at guest %#x, %#x, %#x\n",
			name, ringSize, q.Desc, q.Avail, q.Used)
		fmt.Printf("  VHOST_SET_VRING_KICK, _CALL %s: an eventfd each\n", name)
	}
	return nil
}

// worker is the thread that the kernel has made. Since Linux 6.4 it is one of the owner's own, before it was the kernel's.
func worker() string {
	name := fmt.Sprintf("vhost-%d", os.Getpid())
	tasks, _ := filepath.Glob("/proc/self/task/*/comm")
	for _, comm := range tasks {
		if b, err := os.ReadFile(comm); err == nil && strings.TrimSpace(string(b)) == name {
			return name + ", a task of this process"
		}
	}
	return name + ", a task of the kernel's"
}
