// Veth makes a pair of links and moves one end into another network namespace.
package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	outsideLink, outsideAddress = "outside0", "10.0.7.1/30"
	insideLink, insideAddress   = "inside0", "10.0.7.2/30"
)

// eventTimeout is for a kernel that never tells what we wait for.
const eventTimeout = 30 * time.Second

// Requests of rtnetlink go to the network namespace that the socket was made
// in, which is the thread's. So main stays on one.
func init() { runtime.LockOSThread() }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 && args[0] == insideWord {
		return beInside()
	}
	fmt.Println("unshare(CLONE_NEWNET): stands for the host here, whose own links are left alone")
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	fmt.Println("clone(CLONE_NEWNET): a process inside")
	in, err := startInside()
	if err != nil {
		return err
	}
	defer in.end()
	if err := showLinks(in); err != nil {
		return err
	}
	stop := make(chan struct{})
	defer close(stop)
	events := make(chan netlink.LinkUpdate, 64)
	if err := netlink.LinkSubscribe(events, stop); err != nil {
		return fmt.Errorf("subscribe to RTNLGRP_LINK: %w", err)
	}
	if err := makePair(in); err != nil {
		return err
	}
	if err := move(in); err != nil {
		return err
	}
	if err := connect(in, events); err != nil {
		return err
	}
	if err := talk(in); err != nil {
		return err
	}
	return tearDown(in, events)
}

// makePair makes both ends here.
func makePair(in *inside) error {
	fmt.Println("RTM_NEWLINK, IFLA_INFO_KIND veth: two links, and what is sent into one comes out of the other")
	attributes := netlink.NewLinkAttrs()
	attributes.Name = outsideLink
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: insideLink}); err != nil {
		return fmt.Errorf("add veth %s: %w", outsideLink, err)
	}
	return showLinks(in)
}

// move gives one end away. Either way to name a namespace will do: by a process in
// it, or by a descriptor (IFLA_NET_NS_FD).
func move(in *inside) error {
	fmt.Printf("RTM_NEWLINK, IFLA_NET_NS_PID: %s goes to the namespace that the process is in\n", insideLink)
	link, err := netlink.LinkByName(insideLink)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetNsPid(link, in.pid()); err != nil {
		return fmt.Errorf("move %s to process %d: %w", insideLink, in.pid(), err)
	}
	if err := showLinks(in); err != nil {
		return err
	}
	ours, err := netlink.LinkByName(outsideLink)
	if err != nil {
		return err
	}
	if ours.Attrs().ParentIndex != link.Attrs().Index || ours.Attrs().NetNsID < 0 {
		return fmt.Errorf("%s has IFLA_LINK %d and IFLA_LINK_NETNSID %d, want %d and a namespace",
			outsideLink, ours.Attrs().ParentIndex, ours.Attrs().NetNsID, link.Attrs().Index)
	}
	fmt.Printf("  outside: %s still knows its peer: number %d (IFLA_LINK) of namespace %d (IFLA_LINK_NETNSID)\n",
		outsideLink, ours.Attrs().ParentIndex, ours.Attrs().NetNsID)
	return nil
}

// connect gives an address to each end. They are the two ends of a cable: ours
// has no carrier until the other one is up.
func connect(in *inside, events <-chan netlink.LinkUpdate) error {
	fmt.Println("RTM_NEWADDR, RTM_NEWLINK with IFF_UP: an address for each end, by its own side, and up")
	if err := configure(outsideLink, outsideAddress); err != nil {
		return err
	}
	link, err := netlink.LinkByName(outsideLink)
	if err != nil {
		return err
	}
	fmt.Printf("  outside: %s, %s, has a carrier: %t\n",
		outsideLink, outsideAddress, link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0)
	if err := in.ask(askConfigure); err != nil {
		return err
	}
	err = await(events, func(e netlink.LinkUpdate) bool {
		return e.Header.Type == unix.RTM_NEWLINK && e.Attrs().Name == outsideLink && e.Attrs().OperState == netlink.OperUp
	})
	if err != nil {
		return fmt.Errorf("%s comes up: %w", outsideLink, err)
	}
	fmt.Printf("  outside: %s has one now: the other end\n", outsideLink)
	return nil
}

// tearDown deletes nothing: a veth goes with either of its ends, and a link with
// its namespace. (One of hardware would go back to the first namespace.)
func tearDown(in *inside, events <-chan netlink.LinkUpdate) error {
	fmt.Println("exit(): the process inside ends, and was the last in its namespace")
	if err := in.end(); err != nil {
		return err
	}
	err := await(events, func(e netlink.LinkUpdate) bool {
		return e.Header.Type == unix.RTM_DELLINK && e.Attrs().Name == outsideLink
	})
	if err != nil {
		return fmt.Errorf("%s goes: %w", outsideLink, err)
	}
	fmt.Printf("  outside: RTM_DELLINK %s\n", outsideLink)
	return showOurLinks("outside")
}

func await(events <-chan netlink.LinkUpdate, is func(netlink.LinkUpdate) bool) error {
	timeout := time.After(eventTimeout)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return fmt.Errorf("the kernel ended the subscription")
			}
			if is(e) {
				return nil
			}
		case <-timeout:
			return fmt.Errorf("nothing after %v", eventTimeout)
		}
	}
}
